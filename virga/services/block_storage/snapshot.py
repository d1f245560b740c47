"""Snapshots: rows, found for a caller, made and given up."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row

from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.block_storage import message, quota
from virga.services.block_storage.faults import invalid_snapshot, invalid_volume, snapshot_not_found
from virga.services.block_storage.jobs_arguments import VolumeJob
from virga.services.block_storage.models import volume_snapshot as table
from virga.services.block_storage.volume import Volume

Snapshot = Row[Any]


def find(tx: Tx, snapshot_id: object) -> Snapshot | None:
    return tx.first(select(table).where(table.c.id == str(snapshot_id)))


def need(tx: Tx, snapshot_id: object) -> Snapshot:
    row = find(tx, snapshot_id)
    if row is None:
        raise snapshot_not_found(snapshot_id)
    return row


def get(tx: Tx, caller: Any, snapshot_id: object) -> Snapshot:
    """The snapshot, if the caller may see it."""
    row = need(tx, snapshot_id)
    if not caller.is_admin and row.project_id != caller.project_id:
        raise snapshot_not_found(snapshot_id)
    return row


def save(tx: Tx, snapshot_id: str, **values: Any) -> Snapshot:
    tx.execute(update(table).where(table.c.id == snapshot_id).values(updated_at=tx.now, **values))
    return need(tx, snapshot_id)


def ids_of(tx: Tx, volume_id: str) -> list[str]:
    """Snapshots of a volume, the newest last."""
    rows = tx.all(select(table.c.id).where(table.c.volume_id == volume_id).order_by(table.c.number))
    return [row.id for row in rows]


def create(
    tx: Tx,
    caller: Any,
    volume: Volume,
    *,
    name: str | None = None,
    description: str | None = None,
    metadata: dict[str, str] | None = None,
    force: bool = False,
) -> str:
    """A row in ``creating`` within the quota; a job does the rest. An attached volume needs ``force``."""
    allowed = ("available", "in-use") if force else ("available",)
    if volume.status not in allowed:
        if force:
            raise invalid_volume(
                f"Volume {volume.id} status must be available or in-use for snapshot, but current status is: "
                f"{volume.status}."
            )
        raise invalid_volume(
            f"Volume {volume.id} status must be available, but current status is: {volume.status}."
        )
    quota.check(tx, volume.project_id, {"snapshots": 1, "gigabytes": volume.size}, volume.volume_type_id)
    snapshot_id = new_uuid()
    tx.execute(
        insert(table).values(
            id=snapshot_id,
            volume_id=volume.id,
            project_id=volume.project_id,
            user_id=caller.user_id,
            name=name,
            description=description,
            size=volume.size,
            status="creating",
            progress="0%",
            volume_type_id=volume.volume_type_id,
            metadata=metadata or {},
            created_at=tx.now,
        )
    )
    tx.job(
        "volume.snapshot_create", f"volume-{volume.id}", VolumeJob(volume.id, {"snapshot_id": snapshot_id})
    )
    return snapshot_id


def delete(tx: Tx, row: Snapshot, force: bool = False) -> None:
    """Into ``deleting``; a job removes what is only its own."""
    if row.status not in ("available", "error") and not force:
        raise invalid_snapshot("Snapshot status must be available or error.")
    save(tx, row.id, status="deleting")
    tx.job(
        "volume.snapshot_delete", f"volume-{row.volume_id}", VolumeJob(row.volume_id, {"snapshot_id": row.id})
    )


def forget(tx: Tx, snapshot_id: str) -> None:
    tx.execute(sql_delete(table).where(table.c.id == snapshot_id))


def tell(tx: Tx, row: Snapshot, event: str, reason: str) -> None:
    """A message for whoever asks why."""
    message.tell(tx, row.project_id, "VOLUME_SNAPSHOT", row.id, event, reason)
