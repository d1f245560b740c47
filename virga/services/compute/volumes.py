"""What Compute asks of Block Storage. The room may be absent; then no server has volumes."""

from __future__ import annotations

from typing import Any

from virga.api.context import AsyncContext
from virga.db.tx import Tx
from virga.services.compute import block_device
from virga.services.compute.block_device import Device
from virga.services.compute.faults import Invalid


def check_new(tx: Tx, caller: Any, devices: list[Device], count: int) -> list[Device]:
    """Volumes and snapshots that a create names exist and are free."""
    for device in devices:
        if device.is_volume and device.boot_index == 0 and count > 1 and device.volume_id:
            raise Invalid("Block Device Mapping is Invalid: multi-create is not possible with one volume")
    return devices


def reserve_all(tx: Tx, server_id: str) -> None:
    """Nobody else takes the volumes that the server is about to have."""


async def attach_all(ctx: AsyncContext, server_id: str) -> bool:
    """Make and connect the volumes of a new server. False when the server was given up."""
    return True


def snapshot_all(tx: Tx, caller: Any, row: Any, image: Any, name: str) -> None:
    """An image of a volume-backed server: snapshots of its volumes, named by the image."""


def release_all(tx: Tx, server_id: str) -> None:
    """The server goes: detach its volumes, delete those that were to go with it."""
    block_device.remove_all(tx, server_id)
