"""Reads what ``compile_compute`` turns into items: servers with all that hangs on them, in a few statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select

from virga.contract.items import ImageRef, Instance, Nic
from virga.db.tx import Tx
from virga.desired import compile_compute
from virga.desired.compile_compute import ServerRows
from virga.services.compute import imaging, metadata, migration_row, networking
from virga.services.compute.models import block_device, migration, server

BATCH = 400


def servers_of_host(tx: Tx, host: str) -> list[str]:
    """Servers of which the host runs, or keeps, an instance."""
    moved = select(migration.c.server_id).where(
        migration.c.source_host == host, migration.c.status.in_(migration_row.OPEN)
    )
    rows = tx.all(
        select(server.c.id).where(
            server.c.deleted.is_(False), or_(server.c.host == host, server.c.id.in_(moved))
        )
    )
    return [row.id for row in rows]


def instance_items(
    tx: Tx, server_ids: Sequence[str], default_driver: str = "qemu"
) -> dict[str, dict[str, Instance]]:
    """Server id to host to item. A server that no host is to run maps to nothing."""
    found: dict[str, dict[str, Instance]] = {}
    for start in range(0, len(server_ids), BATCH):
        for rows in load(tx, server_ids[start : start + BATCH]):
            found[rows.server.id] = compile_compute.items(rows, default_driver)
    return found


def load(tx: Tx, server_ids: Sequence[str]) -> list[ServerRows]:
    """Everything about these servers, as it is at this moment."""
    devices: dict[str, list[Any]] = defaultdict(list)
    for row in tx.all(select(block_device).where(block_device.c.server_id.in_(server_ids))):
        devices[row.server_id].append(row)
    moves = migration_row.of_servers(tx, server_ids)
    nics = networking.nics_of(tx, server_ids)
    found = []
    for row in tx.all(select(server).where(server.c.id.in_(server_ids), server.c.deleted.is_(False))):
        boots = any(d.boot_index == 0 and d.destination_type == "volume" for d in devices[row.id])
        found.append(
            ServerRows(
                server=row,
                nics=[Nic(**nic) for nic in nics.get(row.id, [])],
                devices=devices[row.id],
                image=None if boots else _image(tx, row.image_id),
                kernel=_image(tx, row.kernel_id),
                ramdisk=_image(tx, row.ramdisk_id),
                rescue_image=_image(tx, row.rescue_image_id),
                migration=moves.get(row.id),
                config_drive_files=metadata.drive(tx, row) if row.config_drive and row.on_host else {},
            )
        )
    return found


def _image(tx: Tx, image_id: str | None) -> ImageRef | None:
    found = imaging.stored(tx, image_id) if image_id else None
    if found is None:
        return None
    return ImageRef(
        id=found.id, path=found.path, disk_format=found.disk_format, size=found.size, checksum=found.checksum
    )
