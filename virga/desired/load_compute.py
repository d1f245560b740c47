"""Compute's part of the desired state: reads servers with all that hangs on them, hands reports to their verbs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import select

from virga.contract.calls import MetadataAnswer, MetadataRequest
from virga.contract.items import ImageRef, Instance, Nic
from virga.contract.messages import Heartbeat, Report
from virga.db.tx import Tx
from virga.desired import compile_compute
from virga.desired.compile_compute import ServerRows
from virga.desired.registry import Room, Scope
from virga.desired.view import Drop, Operation, Put
from virga.services.compute import host as hosts
from virga.services.compute import imaging, metadata, migration_row, networking, report
from virga.services.compute.models import block_device, server
from virga.services.image.store import Store
from virga.settings import Settings

BATCH = 400


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
                image=None if boots else _image(tx, settings, row.image_id),
                kernel=_image(tx, settings, row.kernel_id),
                ramdisk=_image(tx, settings, row.ramdisk_id),
                rescue_image=_image(tx, settings, row.rescue_image_id),
                migration=moves.get(row.id),
                config_drive_files=metadata.drive(tx, row) if row.config_drive and row.on_host else {},
            )
        )
    return found


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


def _put(found: dict[str, dict[str, Instance]]) -> Iterable[Operation]:
    for by_host in found.values():
        for host, item in by_host.items():
            yield Put(host, item)


def _changed(scope: Scope, ids: frozenset[str]) -> Iterable[Operation]:
    """Servers were touched: the hosts that have a hand in them now learn; those that had one forget."""
    found = instance_items(scope.tx, scope.settings, sorted(ids))
    yield from _put(found)
    for server_id in ids:
        for host in scope.view.holders(Instance, server_id) - found.get(server_id, {}).keys():
            yield Drop(host, "instance", server_id)


def _everything(scope: Scope) -> Iterable[Operation]:
    rows = scope.tx.all(select(server.c.id).where(server.c.deleted.is_(False), server.c.host.is_not(None)))
    yield from _put(instance_items(scope.tx, scope.settings, [row.id for row in rows]))


def _on_report(tx: Tx, settings: Settings, host: str, found: Report) -> None:
    report.report(tx, host, found.key, found.status, found.reason, found.details)


def _on_heartbeat(tx: Tx, settings: Settings, beat: Heartbeat) -> None:
    hosts.heartbeat(tx, beat, settings)


def _metadata(tx: Tx, settings: Settings, host: str, arguments: bytes) -> MetadataAnswer:
    return metadata.answer(tx, settings, msgspec.json.decode(arguments, type=MetadataRequest))


ROOM = Room(
    changed={"server": _changed},
    everything=_everything,
    reports={"instance": _on_report},
    heartbeat=_on_heartbeat,
    answers={"metadata.get": _metadata},
)
