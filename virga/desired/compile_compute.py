"""Server rows become what their hosts must run: one Instance item for each host that has a hand in a server."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from virga.contract.items import Arrival, Disk, ImageRef, Instance, Nic
from virga.services.compute.migration_row import LIVE
from virga.services.compute.server import instance_name


@dataclass(frozen=True)
class ServerRows:
    """All that is known about one server, read in one moment."""

    server: Any
    nics: Sequence[Nic] = ()
    """In the order of attachment."""
    devices: Sequence[Any] = ()
    image: ImageRef | None = None
    kernel: ImageRef | None = None
    ramdisk: ImageRef | None = None
    rescue_image: ImageRef | None = None
    migration: Any = None
    """The move under way or waiting for confirmation, if there is one."""
    config_drive_files: Mapping[str, bytes] = field(default_factory=dict)


def items(rows: ServerRows, default_driver: str = "qemu") -> dict[str, Instance]:
    """Host to item. Empty when no host is to run it."""
    server = rows.server
    found: dict[str, Instance] = {}
    if server.deleted or not server.on_host or server.task_state == "deleting" or not server.host:
        return found
    found[server.host] = here = instance(rows, default_driver)
    if _travels(rows.migration):
        move = rows.migration
        found[server.host] = msgspec.structs.replace(here, departing=True)
        if move.layout is not None:
            arrival = Arrival(**move.layout)
            found[move.destination_host] = msgspec.structs.replace(here, arrival=arrival)
    source = _left_behind(rows)
    if source is not None:
        found[source] = kept(rows, default_driver)
    return found


def _travels(move: Any) -> bool:
    """It runs on one host and comes to another."""
    return (
        move is not None
        and move.migration_type == LIVE
        and move.status in ("preparing", "running", "cancelling")
        and bool(move.destination_host)
    )


def _left_behind(rows: ServerRows) -> str | None:
    """The host that a server has left, but that must keep its disk until the move is confirmed."""
    move = rows.migration
    if move is None or move.source_host in (None, rows.server.host) or move.migration_type == LIVE:
        return None
    return str(move.source_host) if move.status in ("post-migrating", "finished") else None


def instance(rows: ServerRows, default_driver: str) -> Instance:
    """The server as its host must run it."""
    server, flavor = rows.server, rows.server.flavor
    specs, properties = flavor["extra_specs"], server.image_properties
    return Instance(
        key=server.id,
        name=instance_name(server),
        hostname=server.hostname,
        driver=specs.get("virga:kind", default_driver),
        vcpus=flavor["vcpus"],
        memory_mb=flavor["memory_mb"],
        root_gb=flavor["root_gb"],
        ephemeral_gb=flavor["ephemeral_gb"],
        swap_mb=flavor["swap_mb"],
        image=rows.image,
        kernel=rows.kernel,
        ramdisk=rows.ramdisk,
        kernel_arguments=str(properties.get("os_command_line", "")),
        rescue_image=rows.rescue_image,
        nics=list(rows.nics),
        disks=disks(rows.devices),
        config_drive=bool(server.config_drive),
        config_drive_files={
            path: base64.b64encode(content).decode() for path, content in rows.config_drive_files.items()
        },
        power_state=server.wanted_power,
        build=server.build,
        starts=server.starts,
        source_disk=server.source_disk,
        disk_bus=properties.get("hw_disk_bus", "virtio"),
        nic_model=properties.get("hw_vif_model", "virtio"),
    )


def kept(rows: ServerRows, default_driver: str) -> Instance:
    """The server at the host that it left: shut down, without ports, in its old size."""
    server = rows.server
    flavor = server.other_flavor or server.flavor
    return Instance(
        key=server.id,
        name=instance_name(server),
        hostname=server.hostname,
        driver=flavor["extra_specs"].get("virga:kind", default_driver),
        vcpus=flavor["vcpus"],
        memory_mb=flavor["memory_mb"],
        root_gb=flavor["root_gb"],
        ephemeral_gb=flavor["ephemeral_gb"],
        swap_mb=flavor["swap_mb"],
        image=rows.image,
        kernel=rows.kernel,
        ramdisk=rows.ramdisk,
        power_state="shutdown",
        build=server.build,
    )


def disks(devices: Sequence[Any]) -> list[Disk]:
    """Attached volumes, by how QEMU reaches them."""
    return [
        Disk(
            volume_id=device.volume_id,
            device=device.device_name or "/dev/vdb",
            connection={k: v for k, v in device.connection.items() if k not in ("limits", "read_only")},
            attachment_id=device.attachment_id or "",
            boot_index=-1 if device.boot_index is None else device.boot_index,
            disk_bus=device.disk_bus or "virtio",
            read_only=bool(device.connection.get("read_only")),
            limits=device.connection.get("limits") or {},
        )
        for device in devices
        if device.volume_id and device.attached and device.connection
    ]
