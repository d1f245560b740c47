"""The durable jobs on backups: the host of the volume writes the file; the store keeps it.

A backup is two files of the store, the blocks and their map; an incremental one names its parent in the map.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select

from virga.api.context import AsyncContext, CallError
from virga.contract import calls
from virga.db.tx import Tx
from virga.lib.log import log_for
from virga.services.block_storage import backup_row, in_use, message, snapshot, volume
from virga.services.block_storage.jobs_arguments import VolumeJob
from virga.services.block_storage.models import volume_backup as table
from virga.settings import Settings

log = log_for(__name__)

COPY_S = 3600.0
FILES = 2
"""Blocks and map."""


def store(settings: Settings) -> Path:
    return settings.state_dir / "backups"


def files_of(settings: Settings, backup_id: str) -> tuple[Path, Path]:
    """The blocks of a backup, and their map."""
    path = store(settings) / backup_id
    return path, path.with_name(f"{backup_id}.map")


async def make(ctx: AsyncContext, job: VolumeJob) -> None:
    """Job ``volume.backup``: the host writes the files; the volume, or the snapshot, is free again."""
    backup_id = str(job.extra["backup_id"])
    row, kept = await ctx.read(lambda tx: (volume.find(tx, job.volume_id), backup_row.find(tx, backup_id)))
    if kept is None or kept.status != "creating":
        return
    status, reason = "available", None
    if row is None:
        status, reason = "error", f"Volume {job.volume_id} is gone."
    else:
        try:
            await _write(ctx, row, kept)
        except (CallError, OSError) as problem:
            log.warning("backup failed", backup_id=backup_id, reason=str(problem))
            status, reason = "error", str(problem)
    await ctx.write(lambda tx: _written(tx, job.volume_id, kept, status, reason))


async def _write(ctx: AsyncContext, row: Any, kept: Any) -> None:
    path, _ = files_of(ctx.settings, kept.id)
    await ctx.thread(lambda: path.parent.mkdir(mode=0o700, parents=True, exist_ok=True))
    copy = None if kept.snapshot_id else await in_use.copied(ctx, row, kept.id)
    wish = calls.VolumeBackUp(
        volume_id=row.id,
        snapshot_id=kept.snapshot_id,
        copy_path=copy,
        path=str(path),
        parent_path=str(path.with_name(kept.parent_id)) if kept.parent_id else None,
    )
    await ctx.call(row.host, "volume.back_up", wish, COPY_S)


def _written(tx: Tx, volume_id: str, kept: Any, status: str, reason: str | None) -> None:
    found = volume.find(tx, volume_id)
    if backup_row.find(tx, kept.id) is not None:
        backup_row.save(tx, kept.id, status=status, fail_reason=reason, object_count=FILES)
        if reason is not None:
            message.tell(tx, kept.project_id, "VOLUME_BACKUP", kept.id, "backup", reason)
    if found is not None and found.status == "backing-up":
        volume.save(tx, found.id, status=found.previous_status or "available")
    if kept.snapshot_id and snapshot.find(tx, kept.snapshot_id) is not None:
        snapshot.save(tx, kept.snapshot_id, status="available")


async def drop(ctx: AsyncContext, job: VolumeJob) -> None:
    """Job ``volume.backup_delete``."""
    backup_id = str(job.extra["backup_id"])
    for path in files_of(ctx.settings, backup_id):
        await ctx.thread(lambda p=path: p.unlink(missing_ok=True))  # type: ignore[misc]
    await ctx.write(lambda tx: tx.execute(sql_delete(table).where(table.c.id == backup_id)) and None)


def dependents(tx: Tx, backup_id: str) -> int:
    """Backups that hold only what this one does not have."""
    statement = select(func.count()).select_from(table).where(table.c.parent_id == backup_id)
    return int(tx.scalar(statement) or 0)


async def restore(ctx: AsyncContext, job: VolumeJob) -> None:
    """Job ``volume.restore``: a volume that is there becomes what a backup holds; on failure it is what it was."""
    backup_id = str(job.extra["backup_id"])
    row, kept = await ctx.read(lambda tx: (volume.find(tx, job.volume_id), backup_row.find(tx, backup_id)))
    if row is None or kept is None or row.status != "restoring-backup":
        return
    path, problem = row.path, ""
    try:
        wish = calls.VolumeRestore(volume_id=row.id, backup_path=str(files_of(ctx.settings, backup_id)[0]))
        answer = await ctx.call(row.host, "volume.restore", wish, COPY_S)
        path = msgspec.json.decode(answer, type=calls.VolumeFacts).path
    except CallError as error:
        problem = str(error)
        log.warning("volume not restored", volume_id=row.id, reason=problem)

    def done(tx: Tx) -> None:
        if volume.find(tx, row.id) is not None:
            if problem:
                volume.fail(tx, row.id, "error_restoring", "restore", problem)
            else:
                facts = kept.volume_facts or {}
                known = {k: v for k, v in facts.items() if k in ("metadata", "image_metadata", "bootable")}
                volume.save(tx, row.id, status="available", path=path, **known)
        if backup_row.find(tx, backup_id) is not None:
            backup_row.save(tx, backup_id, status="available")

    await ctx.write(done)
