"""Compute's part of the desired state: reads servers with all that hangs on them, hands reports to their verbs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import select

from virga.contract.calls import MetadataAnswer, MetadataRequest
from virga.contract.items import ImageRef, Instance, Item, Nic
from virga.contract.messages import Report
from virga.db.tx import Tx
from virga.desired import compile_compute
from virga.desired.compile_compute import ServerRows
from virga.desired.source import RowSource
from virga.services.block_storage.models import volume_attachment
from virga.services.compute import imaging, metadata, migration_row, networking, report
from virga.services.compute.models import block_device, server
from virga.services.image.store import Store
from virga.settings import Settings

BATCH = 400
Placed = tuple[str, str, Item]
"""Server id, host, item."""


def instance_items(tx: Tx, settings: Settings, server_ids: Sequence[str]) -> dict[str, dict[str, Instance]]:
    """Server id to host to item. A server that no host is to run maps to nothing."""
    found: dict[str, dict[str, Instance]] = {}
    for start in range(0, len(server_ids), BATCH):
        for rows in load(tx, settings, server_ids[start : start + BATCH]):
            found[rows.server.id] = compile_compute.items(rows, settings.instance_kind)
    return found


def load(tx: Tx, settings: Settings, server_ids: Sequence[str]) -> list[ServerRows]:
    """Everything about these servers, as it is at this moment."""
    devices: dict[str, list[Any]] = defaultdict(list)
    for row in tx.all(select(block_device).where(block_device.c.server_id.in_(server_ids))):
        devices[row.server_id].append(row)
    _without_lost(tx, devices)
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
                image=None if boots else _image(tx, settings, row.shelved_image_id or row.image_id),
                kernel=_image(tx, settings, row.kernel_id),
                ramdisk=_image(tx, settings, row.ramdisk_id),
                rescue_image=_image(tx, settings, row.rescue_image_id),
                migration=moves.get(row.id),
                config_drive_files=metadata.drive(tx, row, settings)
                if row.config_drive and row.on_host
                else {},
            )
        )
    return found


def _without_lost(tx: Tx, devices: dict[str, list[Any]]) -> None:
    """A volume whose attachment was taken away (by force) must not stay open in a guest: another may get it."""
    named = {d.attachment_id for many in devices.values() for d in many if d.attachment_id}
    if not named:
        return
    known = tx.all(select(volume_attachment.c.id).where(volume_attachment.c.id.in_(named)))
    lost = named - {row.id for row in known}
    for server_id, many in devices.items() if lost else ():
        devices[server_id] = [d for d in many if d.attachment_id not in lost]


def _image(tx: Tx, settings: Settings, image_id: str | None) -> ImageRef | None:
    found = imaging.stored(tx, image_id) if image_id else None
    if found is None:
        return None
    return ImageRef(
        id=found.id,
        path=str(Store(settings).path(found.id)),
        disk_format=found.disk_format,
        size=found.size,
        checksum=found.checksum,
    )


def everything(settings: Settings) -> Callable[[Tx], Iterable[Placed]]:
    """Reads all servers that a host runs."""

    def read(tx: Tx) -> Iterable[Placed]:
        rows = tx.all(select(server.c.id).where(server.c.deleted.is_(False), server.c.host.is_not(None)))
        return _placed(instance_items(tx, settings, [row.id for row in rows]))

    return read


def one(settings: Settings) -> Callable[[Tx, str, str], Iterable[Placed]]:
    """Reads one server again."""

    def read(tx: Tx, kind: str, server_id: str) -> Iterable[Placed]:
        return _placed(instance_items(tx, settings, [server_id]))

    return read


def _placed(found: dict[str, dict[str, Instance]]) -> Iterable[Placed]:
    for server_id, by_host in found.items():
        for host, item in by_host.items():
            yield server_id, host, item


def source(settings: Settings) -> RowSource:
    """Instances, each by its own rows."""
    return RowSource({"server"}, everything(settings), one(settings))


def instance_report(tx: Tx, host: str, found: Report) -> None:
    """What became of an instance."""
    report.report(tx, host, found.key, found.status, found.reason, found.details)


def answer_metadata(tx: Tx, settings: Settings, arguments: bytes) -> MetadataAnswer:
    """``metadata.get``."""
    return metadata.answer(tx, settings, msgspec.json.decode(arguments, type=MetadataRequest))
