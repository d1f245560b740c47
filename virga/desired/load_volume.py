"""Volume rows become what their hosts must serve: one item for each volume that is there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select

from virga.contract.items import Volume
from virga.contract.messages import Report
from virga.db.tx import Tx
from virga.desired.source import RowSource
from virga.services.block_storage import volume as volumes
from virga.services.block_storage.models import volume as table
from virga.services.compute import volumes as compute_volumes

Placed = tuple[str, str, Volume]


def item(row: Any) -> Volume:
    """What a host must know of one volume."""
    return Volume(
        key=row.id,
        size_gb=row.size,
        export=row.export,
        iqn=volumes.iqn(row.id),
        user=row.auth_user,
        password=row.auth_password,
    )


def everything(tx: Tx) -> Iterable[Placed]:
    for row in tx.all(select(table).where(table.c.export.is_(True), table.c.host.is_not(None))):
        yield row.id, row.host, item(row)


def one(tx: Tx, kind: str, volume_id: str) -> Iterable[Placed]:
    row = volumes.find(tx, volume_id)
    if row is not None and row.export and row.host:
        yield volume_id, row.host, item(row)


def source() -> RowSource:
    """Volumes that are to be reached over the storage network, each by its own row."""
    return RowSource({"volume"}, everything, one)


def volume_report(tx: Tx, host: str, found: Report) -> None:
    """What became of a target; whoever waits for it goes on."""
    if volumes.report(tx, host, found.key, found.status, found.reason, dict(found.details)):
        compute_volumes.reachable(tx, found.key)
    elif found.status == "error":
        compute_volumes.unreachable(tx, found.key, found.reason)
