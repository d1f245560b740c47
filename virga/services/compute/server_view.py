"""How a server is shown: one list of fields for each microversion, filled for a whole page at once.

What hangs on servers (addresses, groups, volumes, tags, hosts) is read once for all rows of a page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from virga.api.request import Request
from virga.db.tx import Tx
from virga.db.within import within
from virga.lib.clock import iso_micro, iso_seconds
from virga.services.compute import networking, states
from virga.services.compute.host import DEFAULT_ZONE, host_statuses, zones_by_host
from virga.services.compute.models import block_device, server_group_member, server_tag
from virga.services.compute.networking import Vif
from virga.services.compute.page import bookmark, links
from virga.services.compute.server import Server, host_id, instance_name

_DEVICES = select(
    block_device.c.server_id, block_device.c.volume_id, block_device.c.delete_on_termination
).where(within(block_device.c.server_id), block_device.c.volume_id.is_not(None))
_TAGS = select(server_tag).where(within(server_tag.c.server_id))
_GROUPS = select(server_group_member).where(within(server_group_member.c.server_id))


@dataclass(frozen=True)
class Look:
    """What this request may see of servers; decided once."""

    version: tuple[int, int]
    extended: bool
    extra_specs: bool
    host_status: bool
    unknown_only: bool
    admin: bool

    @classmethod
    def of(cls, req: Request, target: dict[str, Any] | None = None) -> Look:
        policy = "os_compute_api:"
        full = req.microversion >= (2, 16) and req.allows(policy + "servers:show:host_status", target)
        return cls(
            version=req.microversion,
            extended=req.allows(policy + "os-extended-server-attributes", target),
            extra_specs=req.microversion >= (2, 47)
            and req.allows(policy + "servers:show:flavor-extra-specs", target),
            host_status=req.microversion >= (2, 16)
            and (full or req.allows(policy + "servers:show:host_status:unknown-only", target)),
            unknown_only=not full,
            admin=req.caller.is_admin,
        )


@dataclass
class Belongings:
    """What hangs on the servers of a page, by server id."""

    vifs: dict[str, list[Vif]] = field(default_factory=dict)
    tags: dict[str, list[str]] = field(default_factory=dict)
    volumes: dict[str, list[Any]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    zones: dict[str, str] = field(default_factory=dict)


def belongings(tx: Tx, rows: Sequence[Server], version: tuple[int, int], groups: bool = False) -> Belongings:
    """Read what the rows' views need, in a few statements whatever their number."""
    ids = [row.id for row in rows]
    found = Belongings(vifs=networking.vifs_of(tx, ids), zones=zones_by_host(tx))
    found.volumes = _collect(tx, _DEVICES, ids, lambda r: r)
    if version >= (2, 26):
        found.tags = _collect(tx, _TAGS, ids, lambda r: r.tag)
    if groups:
        found.groups = _collect(tx, _GROUPS, ids, lambda r: r.group_id)
    if version >= (2, 16):
        found.statuses = host_statuses(tx)
    return found


def _collect(tx: Tx, statement: Any, ids: Sequence[str], pick: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in tx.all(statement, {"ids": ids}):
        found[row.server_id].append(pick(row))
    return found


def brief(req: Request, row: Server) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "links": links(req, "servers", row.id)}


def one(tx: Tx, req: Request, row: Server) -> dict[str, Any]:
    """GET /servers/{id}."""
    version = req.microversion
    look = Look.of(req, {"project_id": row.project_id, "user_id": row.user_id})
    found = belongings(tx, [row], version, groups=version >= (2, 71))
    body = full(req, row, found, look)
    if version >= (2, 71):
        body["server_groups"] = found.groups.get(row.id, [])
    return body


def full(req: Request, row: Server, found: Belongings, look: Look) -> dict[str, Any]:
    """All that GET shows, but server_groups, which lists do not have."""
    body = core(req, row, found, look, extended=True)
    body["OS-EXT-AZ:availability_zone"] = _zone(row, found)
    body["config_drive"] = row.config_drive
    body["key_name"] = row.key_name
    body["OS-SRV-USG:launched_at"] = iso_micro(row.launched_at, "")
    body["OS-SRV-USG:terminated_at"] = iso_micro(row.terminated_at, "")
    groups = security_groups(row, found)
    if groups:
        body["security_groups"] = groups
    if look.extended:
        _extended(body, row, look.version)
    elif look.version >= (2, 90):
        body["OS-EXT-SRV-ATTR:hostname"] = row.hostname
    body["OS-EXT-STS:task_state"] = row.task_state
    body["OS-EXT-STS:vm_state"] = row.vm_state
    body["OS-EXT-STS:power_state"] = row.power_state
    body["os-extended-volumes:volumes_attached"] = _volumes(found.volumes.get(row.id, ()), look.version)
    if look.host_status:
        status = found.statuses.get(row.host, "UNKNOWN") if row.host else ""
        if not look.unknown_only or status == "UNKNOWN":
            body["host_status"] = status
    if look.version >= (2, 96):
        body["pinned_availability_zone"] = row.pinned_availability_zone
    if look.version >= (2, 100):
        body["scheduler_hints"] = row.scheduler_hints
    return body


def core(
    req: Request, row: Server, found: Belongings, look: Look, *, extended: bool = False
) -> dict[str, Any]:
    """The fields that the answers to update and rebuild have as well."""
    version = look.version
    status = states.status_of(row.vm_state, row.task_state, row.deleted)
    body: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "status": status,
        "tenant_id": row.project_id,
        "user_id": row.user_id,
        "metadata": row.metadata,
        "hostId": host_id(row.project_id, row.host),
        "image": image(req, row, version),
        "flavor": flavor(req, row, look),
        "created": iso_seconds(row.created_at),
        "updated": iso_seconds(row.updated_at or row.created_at),
        "addresses": {}
        if row.vm_state == states.BUILDING
        else addresses(found.vifs.get(row.id, ()), extended),
        "accessIPv4": row.access_ip_v4 or "",
        "accessIPv6": row.access_ip_v6 or "",
        "links": links(req, "servers", row.id),
        "OS-DCF:diskConfig": "AUTO" if row.auto_disk_config else "MANUAL",
    }
    if status in states.SHOWS_FAULT and row.fault:
        body["fault"] = _fault(row.fault, look.admin)
    if status in states.SHOWS_PROGRESS:
        body["progress"] = row.progress
    if version >= (2, 9):
        body["locked"] = row.locked_by is not None
    if version >= (2, 19):
        body["description"] = row.description
    if version >= (2, 26):
        body["tags"] = found.tags.get(row.id, [])
    if version >= (2, 63):
        body["trusted_image_certificates"] = row.trusted_certs
    if version >= (2, 73):
        body["locked_reason"] = row.locked_reason
    return body


def _fault(stored: dict[str, Any], admin: bool) -> dict[str, Any]:
    shown = {name: stored[name] for name in ("code", "created", "message")}
    if stored.get("details") and (admin or stored["code"] != 500):
        shown["details"] = stored["details"]
    return shown


def _zone(row: Server, found: Belongings) -> str:
    if row.host:
        return found.zones.get(row.host, DEFAULT_ZONE)
    return row.availability_zone or ""


def image(req: Request, row: Server, version: tuple[int, int]) -> Any:
    if not row.image_id:
        return ""
    shown: dict[str, Any] = {"id": row.image_id, "links": bookmark(req, "images", row.image_id)}
    if version >= (2, 98):
        shown["properties"] = {k: v for k, v in row.image_properties.items() if k in IMAGE_PROPERTIES}
    return shown


IMAGE_PROPERTIES = frozenset(
    [
        "hw_architecture",
        "hw_auto_disk_config",
        "hw_boot_menu",
        "hw_cdrom_bus",
        "hw_cpu_cores",
        "hw_cpu_sockets",
        "hw_cpu_threads",
        "hw_cpu_policy",
        "hw_disk_bus",
        "hw_disk_type",
        "hw_firmware_type",
        "hw_machine_type",
        "hw_mem_page_size",
        "hw_numa_nodes",
        "hw_pointer_model",
        "hw_qemu_guest_agent",
        "hw_rescue_bus",
        "hw_rescue_device",
        "hw_rng_model",
        "hw_scsi_model",
        "hw_serial_port_count",
        "hw_video_model",
        "hw_video_ram",
        "hw_vif_model",
        "hw_vif_multiqueue_enabled",
        "hw_vm_mode",
        "hw_watchdog_action",
        "img_config_drive",
        "img_hide_hypervisor_id",
        "img_hv_type",
        "img_block_device_mapping",
        "img_root_device_name",
        "img_signature",
        "img_use_agent",
        "os_admin_user",
        "os_command_line",
        "os_distro",
        "os_require_quiesce",
        "os_secure_boot",
        "os_skip_agent_inject_files_at_boot",
        "os_skip_agent_inject_ssh",
        "os_type",
        "architecture",
        "hw_cpu_max_cores",
        "hw_ephemeral_encryption",
        "hw_input_bus",
        "hw_tpm_model",
        "hw_tpm_version",
        "img_bdm_v2",
        "img_bittorrent",
        "img_compression_level",
        "img_linked_clone",
        "img_mappings",
        "img_owner_id",
        "img_version",
    ]
)


def flavor(req: Request, row: Server, look: Look) -> dict[str, Any]:
    kept = row.flavor
    if look.version < (2, 47):
        return {"id": row.flavor_id, "links": bookmark(req, "flavors", row.flavor_id)}
    shown = {
        "vcpus": kept["vcpus"],
        "ram": kept["memory_mb"],
        "disk": kept["root_gb"],
        "ephemeral": kept["ephemeral_gb"],
        "swap": kept["swap_mb"],
        "original_name": kept["name"],
    }
    if look.extra_specs:
        shown["extra_specs"] = kept["extra_specs"]
    return shown


def addresses(vifs: Sequence[Vif], extended: bool) -> dict[str, list[dict[str, Any]]]:
    """Network name to addresses, fixed ones and the floating ones that lead to them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for vif in vifs:
        entries = found.setdefault(vif.network_name, [])
        for fixed in vif.fixed_ips:
            for address, kind in (
                (fixed.ip_address, "fixed"),
                *((f, "floating") for f in fixed.floating_ips),
            ):
                entry: dict[str, Any] = {"version": 6 if ":" in address else 4, "addr": address}
                if extended:
                    entry["OS-EXT-IPS:type"] = kind
                    entry["OS-EXT-IPS-MAC:mac_addr"] = vif.mac_address
                entries.append(entry)
    return found


def security_groups(row: Server, found: Belongings) -> list[dict[str, str]]:
    """Names of the groups of all ports; a server that has no port yet shows what was asked for."""
    vifs = found.vifs.get(row.id, ())
    if not vifs and row.vm_state == states.BUILDING:
        return [{"name": name} for name in row.security_groups]
    seen: dict[str, str] = {}
    for vif in vifs:
        seen |= vif.security_groups
    return [{"name": name} for name in seen.values()]


def _extended(body: dict[str, Any], row: Server, version: tuple[int, int]) -> None:
    prefix = "OS-EXT-SRV-ATTR:"
    body[prefix + "host"] = row.host
    body[prefix + "hypervisor_hostname"] = row.host
    body[prefix + "instance_name"] = instance_name(row)
    if version >= (2, 3):
        body[prefix + "reservation_id"] = row.reservation_id
        body[prefix + "launch_index"] = row.launch_index
        body[prefix + "hostname"] = row.hostname
        body[prefix + "kernel_id"] = row.kernel_id
        body[prefix + "ramdisk_id"] = row.ramdisk_id
        body[prefix + "root_device_name"] = row.root_device_name
        body[prefix + "user_data"] = row.user_data


def _volumes(rows: Sequence[Any], version: tuple[int, int]) -> list[dict[str, Any]]:
    if version < (2, 3):
        return [{"id": row.volume_id} for row in rows]
    return [{"id": row.volume_id, "delete_on_termination": row.delete_on_termination} for row in rows]
