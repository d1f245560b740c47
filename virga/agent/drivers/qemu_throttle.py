"""Limits on the speed of a disk, in QEMU's words."""

from __future__ import annotations

from collections.abc import Mapping

from virga.agent.drivers.qemu_command import Json, disk_name
from virga.agent.drivers.qemu_machine import Machine
from virga.contract.items import Disk

_WHO = {"total": "", "read": "_rd", "write": "_wr"}
_WHAT = {"bytes": "bps", "iops": "iops"}
BASIC = tuple(f"{what}{who}" for what in _WHAT.values() for who in _WHO.values())
"""QEMU wants all of these to be said; 0 is no limit."""


def arguments(limits: Mapping[str, int]) -> Json:
    """Names as OpenStack has them (``read_iops_sec_max``) to those of ``block_set_io_throttle`` (``iops_rd_max``)."""
    found: Json = dict.fromkeys(BASIC, 0)
    for name, value in limits.items():
        if name == "size_iops_sec":
            found["iops_size"] = value
            continue
        who, what, _, *rest = name.split("_")
        found["_".join([_WHAT[what] + _WHO[who], *rest])] = value
    return found


def limit(machine: Machine, disks: list[Disk]) -> None:
    """Slow down the disks that have limits. Idempotent."""
    for disk in disks:
        if disk.limits:
            machine.execute("block_set_io_throttle", id=_holder(disk), **arguments(disk.limits))


def _holder(disk: Disk) -> str:
    """The device that has the disk: of a virtio one it is the part behind the card."""
    name = disk_name(disk.volume_id)
    return f"/machine/peripheral/{name}/virtio-backend" if disk.disk_bus == "virtio" else name
