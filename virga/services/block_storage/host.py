"""Hosts that serve volumes, as their agents' heartbeats tell, and the choice among them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Row

from virga.contract.messages import Heartbeat
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.block_storage.models import volume
from virga.services.block_storage.models import volume_service as table

ZONE = "nova"
BACKEND = "file"
DOWN_AFTER_US = 60 * 1_000_000
OVERSUBSCRIPTION = 20.0
BINARIES = ("cinder-volume", "cinder-scheduler", "cinder-backup")


def heartbeat(tx: Tx, beat: Heartbeat) -> None:
    """A host that serves volumes lives; its pool is as large as its disk."""
    if "volume" not in beat.roles or beat.resources is None:
        return
    total = float(beat.resources.disk_gb)
    facts = {
        "total_gb": total,
        "free_gb": max(0.0, total - beat.resources.disk_gb_used),
        "seen_at": tx.now,
    }
    for binary in BINARIES:
        found = tx.first(select(table.c.number).where(table.c.host == beat.host, table.c.binary == binary))
        if found is None:
            tx.execute(
                insert(table).values(
                    id=new_uuid(), host=beat.host, binary=binary, disabled=False, created_at=tx.now, **facts
                )
            )
        else:
            tx.execute(update(table).where(table.c.number == found.number).values(**facts))


def is_up(row: Row[Any], now: int) -> bool:
    return bool(now - row.seen_at <= DOWN_AFTER_US)


def services(tx: Tx, binary: str | None = None) -> list[Row[Any]]:
    statement = select(table).order_by(table.c.number)
    if binary:
        statement = statement.where(table.c.binary == binary)
    return list(tx.all(statement))


def service_of(tx: Tx, host: str, binary: str = "cinder-volume") -> Row[Any] | None:
    return tx.first(select(table).where(table.c.host == host, table.c.binary == binary))


def backend(host: str) -> str:
    """``host1@file``: what Cinder calls the host of a volume service."""
    return f"{host}@{BACKEND}"


def pool(host: str) -> str:
    """``host1@file#file``: what Cinder calls the place of a volume."""
    return f"{host}@{BACKEND}#{BACKEND}"


def provisioned(tx: Tx, host: str) -> int:
    """GiB promised to volumes of a host."""
    return int(tx.scalar(select(func.coalesce(func.sum(volume.c.size), 0)).where(volume.c.host == host)) or 0)


def choose(tx: Tx, size: int, specs: dict[str, Any] | None = None, only: str | None = None) -> str | None:
    """The host for a new volume: filters, then the one with most room. None when no host passes."""
    ranked = []
    for row in services(tx, "cinder-volume"):
        if row.disabled or not is_up(row, tx.now) or (only is not None and row.host != only):
            continue
        if not _offers(specs or {}):
            continue
        room = row.total_gb * OVERSUBSCRIPTION - provisioned(tx, row.host)
        if size <= room and size <= row.total_gb * OVERSUBSCRIPTION:
            ranked.append((-room, row.host))
    return min(ranked)[1] if ranked else None


def _offers(specs: dict[str, Any]) -> bool:
    """Whether the backend has the capabilities that a type's extra specs ask for."""
    wanted = {
        key.removeprefix("capabilities:"): value
        for key, value in specs.items()
        if ":" not in key or key.startswith("capabilities:")
    }
    offered = {"volume_backend_name": BACKEND, "storage_protocol": "iSCSI", "vendor_name": "Open Source"}
    ours = {key: value for key, value in wanted.items() if key in offered}
    return not any(str(value).lower() != str(offered[key]).lower() for key, value in ours.items())
