"""Requests that are right, in an order in which they work: what a busy cloud sees. ``<kind>`` stands for an id of that kind."""

from __future__ import annotations

from typing import Any

Sample = tuple[str, str, Any]
A = "/compute/v2.1/servers/<server>/action"
V = "/volume/v3/volumes/<volume>/action"
_GROUP = {"group": {"name": "g", "group_type": "<group_type>", "volume_types": ["<volume_type>"]}}
_PROVIDER = {"name": "fuzz-provider"}
_ALLOCATION = {"allocations": {"<resource_provider>": {"resources": {"VCPU": 1}}}, "project_id": "<project>",
               "user_id": "<user>", "consumer_generation": None, "consumer_type": "INSTANCE"}  # fmt: skip

COMPUTE: tuple[Sample, ...] = (
    ("POST", "/compute/v2.1/os-keypairs", {"keypair": {"name": "k", "type": "ssh",
                                                     "public_key": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQDx fuzz"}}),
    ("POST", "/compute/v2.1/servers", {"server": {"name": "x", "flavorRef": "<flavor>", "imageRef": "<image>",
                                                  "networks": [{"port": "<port>"}], "metadata": {"a": "b"}}}),
    ("POST", "/compute/v2.1/flavors/<flavor>/os-extra_specs", {"extra_specs": {"hw:cpu_policy": "shared"}}),
    ("PUT", "/compute/v2.1/flavors/<flavor>/os-extra_specs/hw:cpu_policy", {"hw:cpu_policy": "shared"}),
    ("POST", "/compute/v2.1/flavors", {"flavor": {"name": "p", "ram": 64, "vcpus": 1, "disk": 0, "id": "p",
                                                  "os-flavor-access:is_public": False}}),
    ("POST", "/compute/v2.1/flavors/p/action", {"addTenantAccess": {"tenant": "<project>"}}),
    ("POST", "/compute/v2.1/flavors/p/action", {"removeTenantAccess": {"tenant": "<project>"}}),
    ("POST", "/compute/v2.1/os-aggregates/1/action", {"add_host": {"host": "host1"}}),
    ("POST", "/compute/v2.1/os-aggregates/1/action", {"set_metadata": {"metadata": {"a": "b"}}}),
    ("POST", "/compute/v2.1/os-aggregates/1/action", {"remove_host": {"host": "host1"}}),
    ("PUT", "/compute/v2.1/os-aggregates/1", {"aggregate": {"name": "b"}}),
    ("POST", "/compute/v2.1/servers/<server>/metadata", {"metadata": {"a": "b"}}),
    ("PUT", "/compute/v2.1/servers/<server>/metadata/a", {"meta": {"a": "c"}}),
    ("PUT", "/compute/v2.1/servers/<server>/tags", {"tags": ["blue"]}),
    ("POST", "/compute/v2.1/servers/<server>/os-interface", {"interfaceAttachment": {"net_id": "<network>"}}),
    ("POST", "/compute/v2.1/servers/<server>/os-volume_attachments", {"volumeAttachment": {"volumeId": "<volume>"}}),
    ("POST", "/compute/v2.1/servers/<server>/remote-consoles", {"remote_console": {"protocol": "vnc", "type": "novnc"}}),
    *(("POST", A, {key: value}) for key, value in {
        "os-stop": None, "os-start": None, "reboot": {"type": "SOFT"}, "pause": None, "unpause": None, "suspend": None,
        "resume": None, "lock": None, "unlock": None, "createImage": {"name": "snap"}, "os-getConsoleOutput": {},
        "rebuild": {"imageRef": "<image>"}, "resize": {"flavorRef": "<flavor>"}, "confirmResize": None,
        "revertResize": None, "rescue": {"rescue_image_ref": "<image>"}, "unrescue": None, "shelve": None,
        "shelveOffload": None, "unshelve": None, "addSecurityGroup": {"name": "default"}, "migrate": None,
        "removeSecurityGroup": {"name": "default"}, "changePassword": {"adminPass": "fuzz"}, "forceDelete": None,
        "os-migrateLive": {"host": None, "block_migration": "auto"}, "os-resetState": {"state": "active"},
        "createBackup": {"name": "b", "backup_type": "daily", "rotation": 1}, "evacuate": {"host": "host1"},
    }.items()),
)  # fmt: skip
NETWORK: tuple[Sample, ...] = (
    ("POST", "/network/v2.0/segments", {"segment": {"network_id": "<network>", "network_type": "vlan",
                                                    "physical_network": "physnet1", "segmentation_id": 77}}),
    ("POST", "/network/v2.0/network-segment-ranges", {"network_segment_range": {
        "name": "r", "network_type": "vlan", "physical_network": "physnet1", "minimum": 3000, "maximum": 3010,
        "shared": True}}),
    ("POST", "/network/v2.0/ports", {"ports": [{"network_id": "<network>"}, {"network_id": "<network>"}]}),
    ("POST", "/network/v2.0/floatingips/<floatingip>/port_forwardings", {"port_forwarding": {
        "protocol": "tcp", "internal_port_id": "<port>", "internal_port": 22, "external_port": 2222,
        "internal_ip_address": "10.77.1.5"}}),
    ("PUT", "/network/v2.0/floatingips/<floatingip>", {"floatingip": {"port_id": "<port>"}}),
    ("PUT", "/network/v2.0/trunks/<trunk>/add_subports", {"sub_ports": [
        {"port_id": "<port>", "segmentation_type": "vlan", "segmentation_id": 9}]}),
    ("PUT", "/network/v2.0/ports/<port>", {"port": {"name": "n", "allowed_address_pairs": [{"ip_address": "10.0.0.9"}],
                                                    "extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": "1400"}]}}),
    ("PUT", "/network/v2.0/address-groups/<address_group>/add_addresses", {"addresses": ["10.1.0.0/16"]}),
    ("POST", "/network/v2.0/agents/<agent>/dhcp-networks", {"network_id": "<network>"}),
    ("POST", "/network/v2.0/agents/<agent>/l3-routers", {"router_id": "<router>"}),
    ("PUT", "/network/v2.0/subnetpools/<subnetpool>/onboard_network_subnets", {"network_id": "<network>"}),
)  # fmt: skip
VOLUME: tuple[Sample, ...] = (
    ("POST", "/volume/v3/volumes", {"volume": {"size": 1, "volume_type": "<volume_type>", "metadata": {"a": "b"}}}),
    ("POST", "/volume/v3/volumes", {"volume": {"snapshot_id": "<snapshot>"}}),
    ("POST", "/volume/v3/volumes", {"volume": {"size": 1, "imageRef": "<image>"}}),
    ("POST", "/volume/v3/groups", _GROUP),
    ("POST", "/volume/v3/group_snapshots", {"group_snapshot": {"group_id": "<group>"}}),
    ("POST", "/volume/v3/volume-transfers", {"transfer": {"volume_id": "<volume>"}}),
    ("POST", "/volume/v3/attachments", {"attachment": {"volume_uuid": "<volume>", "instance_uuid": "<server>"}}),
    ("POST", "/volume/v3/backups/<backup>/restore", {"restore": {}}),
    ("PUT", "/volume/v3/qos-specs/<qos_spec>", {"qos_specs": {"a": "b"}}),
    ("POST", "/volume/v3/types/<volume_type>/extra_specs", {"extra_specs": {"key": "x"}}),
    ("POST", "/volume/v3/types/<volume_type>/encryption", {"encryption": {
        "provider": "luks", "control_location": "front-end", "key_size": 256, "cipher": "aes-xts-plain64"}}),
    *(("POST", V, {key: value}) for key, value in {
        "os-reserve": {}, "os-unreserve": {}, "os-extend": {"new_size": 2}, "os-set_bootable": {"bootable": True},
        "os-update_readonly_flag": {"readonly": False}, "os-set_image_metadata": {"metadata": {"a": "b"}},
        "os-attach": {"instance_uuid": "<server>", "mountpoint": "/dev/vdb"}, "os-detach": {}, "os-begin_detaching": {},
        "os-roll_detaching": {}, "os-reset_status": {"status": "available"}, "os-force_delete": {},
        "os-retype": {"new_type": "<volume_type>", "migration_policy": "never"},
        "os-volume_upload_image": {"image_name": "i", "disk_format": "raw"}, "revert": {"snapshot_id": "<snapshot>"},
        "os-initialize_connection": {"connector": {"host": "host1", "initiator": "iqn.x"}},
        "os-terminate_connection": {"connector": {"host": "host1"}},
    }.items()),
)  # fmt: skip
REST: tuple[Sample, ...] = (
    ("POST", "/image/v2/images", {"name": "i", "disk_format": "raw", "container_format": "bare", "x": "y"}),
    ("POST", "/image/v2/images/<image>/members", {"member": "<project>"}),
    ("POST", "/image/v2/metadefs/namespaces/OS::Fuzz/objects", {"name": "o", "properties": {}}),
    ("POST", "/image/v2/metadefs/namespaces/OS::Fuzz/properties", {"name": "p", "title": "P", "type": "string"}),
    ("POST", "/image/v2/metadefs/namespaces/OS::Fuzz/tags", {"tags": [{"name": "t"}]}),
    ("POST", "/image/v2/metadefs/namespaces/OS::Fuzz/resource_types", {"name": "OS::Nova::Server"}),
    ("POST", "/placement/resource_providers", _PROVIDER),
    ("PUT", "/placement/resource_providers/<resource_provider>/inventories/VCPU", {
        "resource_provider_generation": 0, "total": 8}),
    ("PUT", "/placement/allocations/7c7c7c7c-0000-4000-8000-000000000001", _ALLOCATION),
    ("POST", "/identity/v3/limits", {"limits": [{"service_id": "<service>", "project_id": "<project>",
                                                 "resource_name": "r", "resource_limit": 5}]}),
    ("POST", "/identity/v3/registered_limits", {"registered_limits": [
        {"service_id": "<service>", "resource_name": "r", "default_limit": 10}]}),
    ("PUT", "/identity/v3/domains/default/config", {"config": {"identity": {"driver": "sql"}}}),
    ("POST", "/identity/v3/users/<user>/credentials/OS-EC2", {"tenant_id": "<project>"}),
    ("PUT", "/identity/v3/groups/<group>/users/<user>", None),
    ("PUT", "/identity/v3/roles/<role>/implies/<role>", None),
    ("PUT", "/identity/v3/projects/<project>/tags", {"tags": ["blue"]}),
    ("POST", "/identity/v3/OS-EP-FILTER/endpoint_groups", {"endpoint_group": {"name": "e", "filters": {
        "interface": "public"}}}),
)  # fmt: skip
EVERY: tuple[Sample, ...] = (*NETWORK, *REST, *VOLUME, *COMPUTE)
STOCK: tuple[Sample, ...] = (
    ("POST", "/compute/v2.1/servers", {"server": {"name": "n", "flavorRef": "f-admin", "imageRef": "<image>",
                                                  "networks": "none"}}),
    ("POST", "/compute/v2.1/servers", {"server": {"name": "n", "flavorRef": "<flavor>", "imageRef": "<image>",
                                                  "networks": [{"uuid": "<network>"}]}}),
    ("POST", "/volume/v3/volumes", {"volume": {"size": 1}}),
    ("POST", "/volume/v3/snapshots", {"snapshot": {"volume_id": "<volume>", "force": True}}),
    ("POST", "/volume/v3/backups", {"backup": {"volume_id": "<volume>", "force": True}}),
    ("POST", "/network/v2.0/networks", {"network": {"name": "n"}}),
    ("POST", "/network/v2.0/subnets", {"subnet": {"network_id": "<network>", "ip_version": 4, "cidr": "10.90.0.0/24"}}),
    ("POST", "/network/v2.0/ports", {"port": {"network_id": "<network>"}}),
    ("POST", "/network/v2.0/routers", {"router": {"name": "n"}}),
    ("POST", "/network/v2.0/security-groups", {"security_group": {"name": "n"}}),
)  # fmt: skip
