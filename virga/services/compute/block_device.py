"""Block device mappings: what a server boots from and has attached, in both wire formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row

from virga.db.tx import Tx
from virga.lib.ids import is_uuid_like, new_uuid
from virga.services.compute.faults import Invalid
from virga.services.compute.models import block_device as table
from virga.services.compute.schema import truth


@dataclass(frozen=True)
class Device:
    """One device as asked for."""

    source_type: str
    destination_type: str
    image_id: str | None = None
    volume_id: str | None = None
    snapshot_id: str | None = None
    volume_size: int | None = None
    volume_type: str | None = None
    device_name: str | None = None
    boot_index: int | None = None
    delete_on_termination: bool = False
    guest_format: str | None = None
    device_type: str | None = None
    disk_bus: str | None = None
    tag: str | None = None

    @property
    def is_volume(self) -> bool:
        return self.destination_type == "volume"


Devices = list[Device]
_PAIRS = {
    ("image", "local"),
    ("image", "volume"),
    ("volume", "volume"),
    ("snapshot", "volume"),
    ("blank", "local"),
    ("blank", "volume"),
}


def invalid(reason: str) -> Invalid:
    return Invalid(f"Block Device Mapping is Invalid: {reason}", type="InvalidBDM")


def bad_format(reason: str) -> Invalid:
    return Invalid(f"Block Device Mapping is Invalid: {reason}", type="InvalidBDMFormat")


def from_request(server: Mapping[str, Any], image_id: str | None) -> Devices:
    """The devices that a create asks for, the image's own root disk included."""
    old, new = server.get("block_device_mapping"), server.get("block_device_mapping_v2")
    if old and new:
        raise Invalid("Using different block_device_mapping syntaxes is not allowed in the same request.")
    if old:
        devices = [_old(item, index) for index, item in enumerate(old) if "no_device" not in item]
        if image_id and not any(d.boot_index == 0 for d in devices):
            devices.insert(
                0, Device("image", "local", image_id=image_id, boot_index=0, delete_on_termination=True)
            )
    else:
        devices = [_new(item, bool(image_id)) for item in new or [] if not item.get("no_device")]
        if image_id and not any(d.boot_index == 0 for d in devices):
            devices.insert(
                0, Device("image", "local", image_id=image_id, boot_index=0, delete_on_termination=True)
            )
    return devices


def _old(item: Mapping[str, Any], index: int) -> Device:
    name = item.get("device_name")
    if not name:
        raise bad_format("Device name empty or too long.")
    if not item.get("volume_id") and not item.get("snapshot_id"):
        raise bad_format("Unrecognized legacy format.")
    root = str(name).removeprefix("/dev/") in ("vda", "sda", "hda", "xvda")
    return Device(
        source_type="snapshot" if item.get("snapshot_id") else "volume",
        destination_type="volume",
        volume_id=item.get("volume_id"),
        snapshot_id=item.get("snapshot_id"),
        volume_size=_size(item.get("volume_size")),
        device_name=str(name),
        boot_index=0 if root else -1,
        delete_on_termination=truth(item.get("delete_on_termination", False)),
    )


def _size(value: Any) -> int | None:
    return None if value in (None, "") else int(value)


def _new(item: Mapping[str, Any], image_given: bool) -> Device:
    source = item.get("source_type")
    if source is None:
        source = next((k for k in ("volume", "image", "snapshot") if item.get(f"{k}_id")), "blank")
    ident = item.get("uuid") or item.get(f"{source}_id")
    if source != "blank" and not ident:
        raise bad_format("Missing device UUID.")
    boot_index = item.get("boot_index")
    boot_index = None if boot_index is None else int(boot_index)
    destination = item.get("destination_type") or ("volume" if source in ("volume", "snapshot") else "local")
    if source == "image" and destination == "local" and (boot_index != 0 or not image_given):
        raise bad_format("Mapping image to local is not supported.")
    if (source, destination) not in _PAIRS:
        raise invalid(
            f"The combination of source_type {source} and destination_type {destination} is not possible"
        )
    return Device(
        source_type=source,
        destination_type=destination,
        image_id=ident if source == "image" else None,
        volume_id=ident if source == "volume" else None,
        snapshot_id=ident if source == "snapshot" else None,
        volume_size=_size(item.get("volume_size")),
        volume_type=item.get("volume_type"),
        device_name=item.get("device_name"),
        boot_index=boot_index,
        delete_on_termination=truth(item.get("delete_on_termination", False)),
        guest_format=item.get("guest_format"),
        device_type=item.get("device_type"),
        disk_bus=item.get("disk_bus"),
        tag=item.get("tag"),
    )


def check(devices: Devices, flavor: Mapping[str, Any]) -> Devices:
    """What holds of all devices together; names are given to those that have none."""
    _check_boot_order(devices)
    for device in devices:
        if device.source_type in ("image", "blank") and device.is_volume and not device.volume_size:
            raise Invalid(
                "Block Device Mapping is Invalid: Blank volumes (source: 'blank', dest: 'volume') need to have "
                "non-zero size"
                if device.source_type == "blank"
                else "Images with destination_type 'volume' need to have a non-zero size specified",
                type="InvalidBDM",
            )
        for ident in (device.volume_id, device.snapshot_id, device.image_id):
            if ident is not None and not is_uuid_like(ident):
                raise _lost(device, ident)
    swap = [d for d in devices if d.source_type == "blank" and not d.is_volume and d.guest_format == "swap"]
    if len(swap) > 1 or any((d.volume_size or 0) > max(flavor["swap_mb"], 0) for d in swap):
        raise Invalid("Swap drive requested is larger than instance type allows.", type="InvalidBDMSwapSize")
    local = [d for d in devices if d.source_type == "blank" and not d.is_volume and d.guest_format != "swap"]
    if sum(d.volume_size or 0 for d in local) > flavor["ephemeral_gb"]:
        raise Invalid(
            "Ephemeral disks requested are larger than the instance type allows. If no size is given in one "
            "block device mapping, flavor ephemeral size will be used.",
            type="InvalidBDMEphemeralSize",
        )
    return _name(devices)


def _lost(device: Device, ident: str) -> Invalid:
    kind = "volume" if device.volume_id else "snapshot" if device.snapshot_id else "image"
    return invalid(f"failed to get {kind} {ident}.")


def _check_boot_order(devices: Devices) -> None:
    indexes = sorted(d.boot_index for d in devices if d.boot_index is not None and d.boot_index >= 0)
    if indexes != list(range(len(indexes))) or not indexes:
        raise Invalid(
            "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping "
            "combination is not valid.",
            type="InvalidBDMBootSequence",
        )


def _name(devices: Devices) -> Devices:
    """vda for the root, the next free letters for the others."""
    taken = {d.device_name.removeprefix("/dev/") for d in devices if d.device_name and d.boot_index != 0}
    named: Devices = []
    for device in devices:
        name = device.device_name
        if device.boot_index == 0:
            name = name or "/dev/vda"
        elif name is None:
            name = next_device(
                taken | {"vda"} | {n.device_name.removeprefix("/dev/") for n in named if n.device_name}
            )
        if not str(name).startswith("/dev/"):
            name = f"/dev/{name}"
        named.append(dataclasses.replace(device, device_name=name))
    return named


def next_device(taken: set[str] | frozenset[str]) -> str:
    """The first free ``/dev/vdX``."""
    for letter in "abcdefghijklmnopqrstuvwxyz":
        if f"vd{letter}" not in taken:
            return f"/dev/vd{letter}"
    raise Invalid(
        "The maximum allowed number of disk devices (26) to attach to a single instance has been exceeded."
    )


# --- rows ----------------------------------------------------------------------------------------------


def add(tx: Tx, server_id: str, device: Device) -> str:
    """Keep a device; its id."""
    ident = new_uuid()
    tx.execute(
        insert(table).values(id=ident, server_id=server_id, attached=False, **dataclasses.asdict(device))
    )
    return ident


def of_server(tx: Tx, server_id: str) -> Sequence[Row[Any]]:
    return tx.all(select(table).where(table.c.server_id == server_id).order_by(table.c.number))


def volumes_of(tx: Tx, server_id: str) -> list[Row[Any]]:
    return [row for row in of_server(tx, server_id) if row.volume_id]


def find_volume(tx: Tx, server_id: str, volume_id: str) -> Row[Any] | None:
    return tx.first(select(table).where(table.c.server_id == server_id, table.c.volume_id == volume_id))


def change(tx: Tx, ident: str, **values: Any) -> None:
    tx.execute(update(table).where(table.c.id == ident).values(**values))


def remove(tx: Tx, ident: str) -> None:
    tx.execute(sql_delete(table).where(table.c.id == ident))


def remove_all(tx: Tx, server_id: str) -> None:
    tx.execute(sql_delete(table).where(table.c.server_id == server_id))


def boots_from_volume(tx: Tx, server_id: str) -> bool:
    """Whether the root disk is a volume."""
    return any(row.boot_index == 0 and row.destination_type == "volume" for row in of_server(tx, server_id))
