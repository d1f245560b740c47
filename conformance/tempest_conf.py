"""Writes the tempest.conf for a cloud, from what the cloud itself answers."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

from conformance.cloud import Admin

Sections = dict[str, dict[str, Any]]


def write(
    path: Path, admin: Admin, workspace: Path, hosts: int, validation: bool, local_volumes: bool = False
) -> None:
    """Ask the cloud for images, flavors, networks and extensions and write ``path``."""
    parser = configparser.RawConfigParser()
    parser.read_dict(
        {
            name: {k: _text(v) for k, v in options.items()}
            for name, options in _sections(admin, workspace, hosts, validation, local_volumes).items()
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        parser.write(stream)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).replace("$", "$$")


def _sections(admin: Admin, workspace: Path, hosts: int, validation: bool, local_volumes: bool) -> Sections:
    return {
        "DEFAULT": {"log_dir": workspace / "logs", "log_file": "tempest.log", "debug": True},
        "oslo_concurrency": {"lock_path": workspace / "lock"},
        "auth": {
            "use_dynamic_credentials": True,
            "admin_username": "admin",
            "admin_password": admin.password,
            "admin_project_name": "admin",
            "admin_domain_name": "Default",
            "default_credentials_domain_name": "Default",
            "tempest_roles": "member",
            "create_isolated_networks": True,
        },
        **_identity(admin),
        "service_available": {
            "nova": True, "neutron": True, "glance": True, "swift": False, "horizon": False,
            "cinder": _has(admin, "block-storage"),
        },
        **_compute(admin, hosts, workspace),
        **_image(),
        **_network(admin),
        **_volume(admin, local_volumes),
        **_validation(validation),
        **_scenario(admin, workspace),
    }  # fmt: skip


def _identity(admin: Admin) -> Sections:
    return {
        "identity": {
            "auth_version": "v3",
            "uri_v3": f"{admin.endpoint}/identity/v3",
            "region": "RegionOne",
            "default_domain_id": "default",
            "user_lockout_failure_attempts": 2,
            "user_lockout_duration": 5,
            "user_unique_last_password_count": 2,
        },
        "identity-feature-enabled": {
            "api_v2": False,
            "security_compliance": True,
            "access_rules": True,
            "trust": True,
            "domain_specific_drivers": False,
        },
    }


def _compute(admin: Admin, hosts: int, workspace: Path) -> Sections:
    images = admin.get("/image/v2/images?name=tiny")["images"] or admin.get("/image/v2/images")["images"]
    first, second = _flavors(admin)
    several = hosts > 1
    features = (
        "resize console_output vnc_console pause suspend shelve rescue snapshot interface_attach "
        "config_drive metadata_service enable_instance_password hostname_fqdn_sanitization"
    )
    return {
        "compute": {
            "image_ref": images[0]["id"],
            "image_ref_alt": _second_image(admin, images[0], workspace),
            "flavor_ref": first,
            "flavor_ref_alt": second,
            "min_microversion": "2.1",
            "max_microversion": "latest",
            "build_timeout": 300,
            "build_interval": 1,
            "volume_device_name": "vdb",
            "min_compute_nodes": hosts,
            "hypervisor_type": admin.get("/compute/v2.1/os-hypervisors/detail")["hypervisors"][0][
                "hypervisor_type"
            ],
            **({"migration_source_host": "host1", "migration_dest_host": "host2"} if several else {}),
        },
        "compute-feature-enabled": {
            **dict.fromkeys(features.split(), True),
            "cold_migration": several,
            "live_migration": several,
            "block_migration_for_live_migration": several,
            "volume_backed_live_migration": several,
            "change_password": False,
            "personality": False,
            "attach_encrypted_volume": False,
            "spice_console": False,
            "serial_console": False,
            "swap_volume": False,
            "volume_multiattach": True,
            "scheduler_enabled_filters": "ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,"
            "ServerGroupAntiAffinityFilter,ServerGroupAffinityFilter,DifferentHostFilter,SameHostFilter",
        },
    }


def _second_image(admin: Admin, first: dict[str, Any], workspace: Path) -> str:
    """Another image, so that a rebuild changes something; made from the first one's bytes where there is none."""
    for image in admin.get(f"/image/v2/images?disk_format={first['disk_format']}")["images"]:
        if image["id"] != first["id"] and image["status"] == "active":
            return str(image["id"])
    bytes_of_first = admin.download(f"/image/v2/images/{first['id']}/file", workspace / "image")
    wanted = {
        "name": "conformance-alt",
        "visibility": "public",
        **{key: first[key] for key in ("disk_format", "container_format", "min_disk", "min_ram")},
    }
    second = admin.post("/image/v2/images", wanted)
    admin.upload(f"/image/v2/images/{second['id']}/file", bytes_of_first)
    return str(second["id"])


def _flavors(admin: Admin) -> tuple[str, str]:
    """The two smallest flavors with a disk that QEMU machines of the guest image fit in; the second is larger."""
    flavors = [f for f in admin.get("/compute/v2.1/flavors/detail")["flavors"] if f["disk"] > 0]
    named = {f["name"]: f["id"] for f in flavors}
    if "m1.nano" in named and "m1.micro" in named:
        return named["m1.nano"], named["m1.micro"]
    ordered = sorted(flavors, key=lambda f: (f["ram"], f["disk"], f["vcpus"]))
    return ordered[0]["id"], ordered[1]["id"]


def _image() -> Sections:
    return {
        "image": {
            "disk_formats": "qcow2,raw,ami,ari,aki,vhd,vmdk,vdi,iso,vhdx",
            "container_formats": "bare,ami,ari,aki,ovf,ova",
        },
        "image-feature-enabled": {
            "import_image": True,
            "os_glance_reserved": True,
            "do_secure_hash": True,
            "image_format_enforcement": False,
            "manage_locations": False,
        },
    }


def _network(admin: Admin) -> Sections:
    public = admin.get("/network/v2.0/networks?router:external=true")["networks"][0]
    aliases = sorted(e["alias"] for e in admin.get("/network/v2.0/extensions")["extensions"])
    return {
        "network": {
            "public_network_id": public["id"],
            "floating_network_name": public["name"],
            "project_network_cidr": "10.100.0.0/16",
            "project_network_mask_bits": 28,
            "project_network_v6_cidr": "2001:db8::/48",
            "project_networks_reachable": False,
            "build_timeout": 300,
        },
        "network-feature-enabled": {
            "api_extensions": ",".join(aliases),
            "ipv6": True,
            "ipv6_subnet_attributes": True,
            "port_security": True,
            "port_admin_state_change": True,
            "floating_ips": True,
        },
        "neutron_plugin_options": {
            "agent_availability_zone": "nova",
            "available_type_drivers": "flat,vlan,local",
            "provider_vlans": "physnet1,",
            "firewall_driver": "openvswitch",
            "l3_agent_mode": "legacy",
            "default_image_is_advanced": False,
            "create_shared_resources": True,
            "dns_domain": "openstacklocal",
            "snat_rules_apply_to_nested_networks": True,
        },
    }


def _has(admin: Admin, service_type: str) -> bool:
    services = admin.get("/identity/v3/auth/catalog")["catalog"]
    return any(service["type"] == service_type for service in services)


def _volume(admin: Admin, local: bool) -> Sections:
    return {
        "volume": {
            "volume_type_multiattach": _multiattach_type(admin),
            "catalog_type": "block-storage",
            "min_microversion": "3.0",
            "max_microversion": "latest",
            "storage_protocol": "iSCSI",
            "volume_size": 1,
            "build_timeout": 300,
            "disk_format": "raw",
            "manage_volume_ref": "source-name,volume-%s",
            "manage_snapshot_ref": "source-name,snapshot-%s",
        },
        "volume-feature-enabled": {
            "backup": True,
            "snapshot": True,
            "clone": True,
            "multi_backend": False,
            # What is exported over iSCSI cannot grow while it is attached.
            "extend_attached_volume": local,
            "manage_volume": True,
            "manage_snapshot": True,
        },
    }


def _multiattach_type(admin: Admin) -> str:
    """A type whose volumes several servers may have at once; made where there is none."""
    name = "multiattach"
    if name not in [one["name"] for one in admin.get("/volume/v3/types")["volume_types"]]:
        specs = {"multiattach": "<is> True"}
        admin.post("/volume/v3/types", {"volume_type": {"name": name, "extra_specs": specs}})
    return name


def _validation(enabled: bool) -> Sections:
    return {
        "validation": {
            "run_validation": enabled,
            "connect_method": "floating",
            "auth_method": "keypair",
            "ip_version_for_ssh": 4,
            "image_ssh_user": "cirros",
            "image_ssh_password": "gocubsgo",
            "image_alt_ssh_user": "cirros",
            "ssh_key_type": "ecdsa",
            "network_for_ssh": "public",
            "ssh_timeout": 300,
            "connect_timeout": 60,
            "ping_timeout": 120,
            "security_group": True,
            "security_group_rules": True,
            "ssh_shell_prologue": "set -eu -o pipefail; PATH=$PATH:/sbin:/usr/sbin;",
        },
    }


def _scenario(admin: Admin, workspace: Path) -> Sections:
    """Scenarios upload an image of their own: the cloud's first one, taken from it."""
    images = admin.get("/image/v2/images?name=tiny")["images"] or admin.get("/image/v2/images")["images"]
    file = admin.download(f"/image/v2/images/{images[0]['id']}/file", workspace / "image")
    return {
        "scenario": {
            "dhcp_client": "udhcpc",
            "img_file": str(file),
            "img_disk_format": images[0]["disk_format"],
            "img_container_format": "bare",
        }
    }
