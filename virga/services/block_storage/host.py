"""Hosts that serve volumes, as their agents' heartbeats tell, and the choice among them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Row

from virga.contract.messages import Heartbeat
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.block_storage import scheduler
from virga.services.block_storage.models import volume
from virga.services.block_storage.models import volume_service as table
from virga.services.block_storage.scheduler import Backend, Wish
from virga.settings import Settings

ZONE = "nova"
BACKEND = "file"
DOWN_AFTER_US = 60 * 1_000_000
BINARIES = ("cinder-volume", "cinder-scheduler", "cinder-backup")


def heartbeat(tx: Tx, beat: Heartbeat) -> None:
    """A host that serves volumes lives; how large its pool is, and how full."""
    if "volume" not in beat.roles or beat.resources is None:
        return
    facts = {
        "total_gb": beat.resources.pool_total_gb,
        "free_gb": beat.resources.pool_free_gb,
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


def backends(tx: Tx) -> list[Backend]:
    """All hosts that serve volumes, as the scheduler sees them."""
    counted = tx.all(
        select(volume.c.host, func.count().label("volumes"), func.sum(volume.c.size).label("gb"))
        .where(volume.c.host.is_not(None))
        .group_by(volume.c.host)
    )
    held = {row.host: row for row in counted}
    return [
        Backend(
            host=row.host,
            zone=ZONE,
            total_gb=row.total_gb,
            free_gb=row.free_gb,
            provisioned_gb=float(held[row.host].gb) if row.host in held else 0.0,
            volumes=held[row.host].volumes if row.host in held else 0,
            up=not row.disabled and is_up(row, tx.now),
            capabilities=capabilities(row),
        )
        for row in services(tx, "cinder-volume")
    ]


def capabilities(row: Row[Any]) -> dict[str, Any]:
    """What a backend says that it can."""
    return {
        "volume_backend_name": BACKEND,
        "vendor_name": "Open Source",
        "driver_version": "1.0",
        "storage_protocol": "iSCSI",
        "thin_provisioning_support": True,
        "thick_provisioning_support": False,
        "reserved_percentage": 0,
        "QoS_support": False,
        "multiattach": True,
        "total_capacity_gb": row.total_gb,
        "free_capacity_gb": row.free_gb,
    }


def choose(tx: Tx, wish: Wish, settings: Settings) -> str | None:
    """The best host for a volume. None when no host passes."""
    found = scheduler.rank(backends(tx), replace(wish, overcommit=settings.volume_overcommit), settings)
    return found[0] if found else None
