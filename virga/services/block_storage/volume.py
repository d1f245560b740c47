"""Volumes: rows, found for a caller, made, changed, given up. The bytes are a host's business, by jobs.

creating -> available <-> reserved -> attaching -> in-use -> detaching -> available
    \\-> error            extending, uploading, backing-up, restoring-backup, reverting, retyping
deleting -> (no row), or error_deleting
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Row

from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.block_storage import host, message, quota, volume_type
from virga.services.block_storage.faults import invalid_volume, need_project, volume_not_found
from virga.services.block_storage.jobs_arguments import VolumeJob
from virga.services.block_storage.models import volume as table
from virga.services.block_storage.models import volume_attachment, volume_snapshot, volume_transfer
from virga.services.block_storage.scheduler import Wish as Placement
from virga.settings import Settings

Volume = Row[Any]
DELETABLE = ("available", "error", "error_restoring", "error_extending", "error_managing")


@dataclass(frozen=True)
class Wish:
    """A volume to be made; references are resolved and seen by the caller."""

    size: int
    name: str | None = None
    description: str | None = None
    volume_type_id: str | None = None
    availability_zone: str = host.ZONE
    metadata: dict[str, str] = field(default_factory=dict)
    snapshot_id: str | None = None
    source_volid: str | None = None
    image_id: str | None = None
    backup_id: str | None = None
    image_metadata: dict[str, Any] | None = None
    bootable: bool = False
    multiattach: bool = False
    group_id: str | None = None


def find(tx: Tx, volume_id: object) -> Volume | None:
    return tx.first(select(table).where(table.c.id == str(volume_id)))


def need(tx: Tx, volume_id: object) -> Volume:
    row = find(tx, volume_id)
    if row is None:
        raise volume_not_found(volume_id)
    return row


def get(tx: Tx, caller: Any, volume_id: object) -> Volume:
    """The volume, if the caller may see it; a foreign one is as good as none."""
    row = need(tx, volume_id)
    if not caller.is_admin and row.project_id != caller.project_id:
        raise volume_not_found(volume_id)
    return row


def target(row: Row[Any]) -> dict[str, Any]:
    """What policies compare the caller with."""
    return {"project_id": row.project_id, "user_id": row.user_id, "tenant_id": row.project_id}


def save(tx: Tx, volume_id: str, *, touch: bool = False, **values: Any) -> Volume:
    """Write; hosts learn when ``touch``. The row as it is now."""
    tx.execute(update(table).where(table.c.id == volume_id).values(updated_at=tx.now, **values))
    if touch:
        tx.touch("volume", volume_id)
    return need(tx, volume_id)


def create(tx: Tx, caller: Any, wish: Wish, *, queue: bool = True) -> str:
    """A row in ``creating`` within the quota; a job does the rest (the caller's own, unless ``queue``)."""
    project_id = need_project(caller.project_id)
    quota.check_single(tx, project_id, wish.size)
    quota.check(tx, project_id, {"volumes": 1, "gigabytes": wish.size}, wish.volume_type_id)
    volume_id = new_uuid()
    tx.execute(
        insert(table).values(
            id=volume_id,
            project_id=project_id,
            user_id=caller.user_id,
            name=wish.name,
            description=wish.description,
            size=wish.size,
            status="creating",
            availability_zone=wish.availability_zone,
            host=None,
            volume_type_id=wish.volume_type_id,
            snapshot_id=wish.snapshot_id,
            source_volid=wish.source_volid,
            image_id=wish.image_id,
            backup_id=wish.backup_id,
            group_id=wish.group_id,
            bootable=wish.bootable,
            multiattach=wish.multiattach,
            metadata=wish.metadata,
            image_metadata=wish.image_metadata,
            auth_user=secrets.token_hex(10),
            auth_password=secrets.token_hex(8),
            export=False,
            exported=False,
            created_at=tx.now,
        )
    )
    if queue:
        tx.job("volume.create", f"volume-{volume_id}", VolumeJob(volume_id))
    return volume_id


def place(tx: Tx, row: Volume, settings: Settings) -> str | None:
    """The host for a new volume, noted in its row; that of its source when it has one."""
    if row.host:
        return str(row.host)
    source_id = row.source_volid
    if row.snapshot_id:
        source_id = tx.scalar(
            select(volume_snapshot.c.volume_id).where(volume_snapshot.c.id == row.snapshot_id)
        )
    only = tx.scalar(select(table.c.host).where(table.c.id == source_id)) if source_id else None
    chosen = host.choose(tx, _placement(tx, row, row.size, only), settings)
    if chosen is not None:
        save(tx, row.id, host=chosen)
    return chosen


def has_room(tx: Tx, row: Volume, more_gb: int, settings: Settings) -> bool:
    """Whether the host of a volume may promise it so much more."""
    return host.choose(tx, _placement(tx, row, more_gb, row.host), settings) is not None


def _placement(tx: Tx, row: Volume, size_gb: int, only: str | None) -> Placement:
    kind = volume_type.find(tx, row.volume_type_id) if row.volume_type_id else None
    specs = kind.extra_specs if kind else {}
    return Placement(size_gb, row.availability_zone, specs, only)


def fail(tx: Tx, volume_id: str, status: str, event: str, detail: str) -> None:
    """Into an error status, with a message for whoever asks why."""
    row = find(tx, volume_id)
    if row is not None:
        save(tx, volume_id, status=status)
        message.tell(tx, row.project_id, "VOLUME", volume_id, event, detail)


def attachments(tx: Tx, volume_ids: list[str]) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = {volume_id: [] for volume_id in volume_ids}
    if volume_ids:
        rows = tx.all(
            select(volume_attachment)
            .where(volume_attachment.c.volume_id.in_(volume_ids))
            .order_by(volume_attachment.c.number)
        )
        for row in rows:
            found[row.volume_id].append(row)
    return found


def snapshots_of(tx: Tx, volume_id: str) -> int:
    statement = select(func.count()).select_from(volume_snapshot)
    return int(tx.scalar(statement.where(volume_snapshot.c.volume_id == volume_id)) or 0)


def delete(tx: Tx, row: Volume, *, force: bool = False, cascade: bool = False) -> None:
    """Into ``deleting``; a job removes the bytes and then the row."""
    if row.status == "deleting" and not force:
        raise _undeletable()
    attached = [a for a in attachments(tx, [row.id])[row.id] if a.status in ("attached", "attaching")]
    if attached and not force:
        raise _undeletable()
    if not force and row.status not in DELETABLE:
        raise _undeletable()
    if tx.first(select(volume_transfer.c.id).where(volume_transfer.c.volume_id == row.id)) and not force:
        raise _undeletable()
    if row.group_id and not force:
        raise _undeletable()
    if snapshots_of(tx, row.id) and not cascade:
        raise _undeletable()
    if cascade:
        busy = tx.first(
            select(volume_snapshot.c.id).where(
                volume_snapshot.c.volume_id == row.id,
                volume_snapshot.c.status.not_in(("available", "error", "deleting")),
            )
        )
        if busy:
            raise _undeletable()
        tx.execute(
            update(volume_snapshot)
            .where(volume_snapshot.c.volume_id == row.id)
            .values(status="deleting", updated_at=tx.now)
        )
    tx.execute(sql_delete(volume_attachment).where(volume_attachment.c.volume_id == row.id))
    save(tx, row.id, touch=True, status="deleting", previous_status=row.status, export=False, exported=False)
    tx.job("volume.delete", f"volume-{row.id}", VolumeJob(row.id))


def _undeletable() -> Exception:
    return invalid_volume(
        "Volume status must be available or error or error_restoring or error_extending or error_managing and must "
        "not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated "
        "from snapshots after volume transfer."
    )


def forget(tx: Tx, volume_id: str) -> None:
    """No bytes are left."""
    tx.execute(sql_delete(volume_snapshot).where(volume_snapshot.c.volume_id == volume_id))
    tx.execute(sql_delete(volume_attachment).where(volume_attachment.c.volume_id == volume_id))
    tx.execute(sql_delete(volume_transfer).where(volume_transfer.c.volume_id == volume_id))
    tx.execute(sql_delete(table).where(table.c.id == volume_id))
    tx.touch("volume", volume_id)


def iqn(volume_id: str) -> str:
    return f"iqn.2010-10.org.openstack:volume-{volume_id}"


def report(tx: Tx, host_name: str, volume_id: str, status: str, reason: str, details: dict[str, Any]) -> bool:
    """What a host says of a volume's target. True when the volume can be reached now, and could not before."""
    row = find(tx, volume_id)
    if row is None or row.host != host_name:
        return False
    exported = bool(details.get("exported")) and status != "error"
    portal = str(details.get("portal") or "") or row.portal
    if row.export and exported and not row.exported:
        save(tx, volume_id, exported=True, portal=portal)
        return True
    if status == "error" and row.export and not row.exported:
        message.tell(tx, row.project_id, "VOLUME", volume_id, "unknown", reason)
    return False
