"""The durable jobs on volumes and snapshots: each asks the volume's host, and writes down what became of it.

All may run again after a crash: the calls are idempotent, and each looks at the row first.
"""

from __future__ import annotations

from typing import Any

import msgspec

from virga.api.context import AsyncContext, CallError
from virga.contract import calls
from virga.db.tx import Tx
from virga.lib.log import log_for
from virga.services.block_storage import backup_row, backup_work, in_use, message, snapshot, volume
from virga.services.block_storage.jobs_arguments import VolumeJob
from virga.services.image import image as images
from virga.services.image.store import Store

log = log_for(__name__)

CREATE_S = 3600.0
CALL_S = 600.0


async def create(ctx: AsyncContext, job: VolumeJob) -> None:
    """Job ``volume.create``: choose a host, make the bytes."""

    def start(tx: Tx) -> Any:
        row = volume.find(tx, job.volume_id)
        if row is None or row.status not in ("creating", "downloading"):
            return None
        chosen = volume.place(tx, row, ctx.settings)
        if chosen is None:
            volume.fail(tx, row.id, "error", "schedule", "")
            return None
        if row.image_id:
            volume.save(tx, row.id, status="downloading")
        return volume.need(tx, row.id), _source(tx, ctx, row)

    found = await ctx.write(start)
    if found is None:
        return
    row, source = found
    try:
        origin = await ctx.read(lambda tx: volume.find(tx, row.source_volid) if row.source_volid else None)
        if origin is not None and (copy := await in_use.copied(ctx, origin, row.id)):
            source = {**source, "source_copy_path": copy}
        wish = calls.VolumeCreate(volume_id=row.id, size_gb=row.size, **source)
        facts = msgspec.json.decode(
            await ctx.call(row.host, "volume.create", wish, CREATE_S), type=calls.VolumeFacts
        )
    except CallError as problem:
        reason = str(problem)
        log.warning("volume not made", volume_id=row.id, reason=reason)
        event = "copy_image" if row.image_id else "create"
        await ctx.write(lambda tx: _not_made(tx, job.volume_id, event, reason))
        return
    await ctx.write(lambda tx: _made(tx, job.volume_id, facts.path))


def _source(tx: Tx, ctx: AsyncContext, row: Any) -> dict[str, str]:
    if row.snapshot_id:
        return {"source_snapshot_id": row.snapshot_id}
    if row.source_volid:
        return {"source_volume_id": row.source_volid}
    if row.backup_id:
        return {"backup_path": str(backup_work.files_of(ctx.settings, row.backup_id)[0])}
    if row.image_id:
        image = images.find(tx, row.image_id)
        disk_format = (image.disk_format if image else None) or "raw"
        return {
            "image_path": str(Store(ctx.settings).path(row.image_id)),
            "image_format": "raw" if disk_format in ("ami", "ari", "aki", "iso") else disk_format,
        }
    return {}


def _not_made(tx: Tx, volume_id: str, event: str, reason: str) -> None:
    row = volume.find(tx, volume_id)
    volume.fail(tx, volume_id, "error", event, reason)
    _restored(tx, row)


def _restored(tx: Tx, row: Any) -> None:
    """The backup that the volume came from is free again."""
    kept = backup_row.find(tx, row.backup_id) if row is not None and row.backup_id else None
    if kept is not None and kept.status == "restoring":
        backup_row.save(tx, kept.id, status="available")


def _made(tx: Tx, volume_id: str, path: str) -> None:
    row = volume.find(tx, volume_id)
    _restored(tx, row)
    if row is not None and row.status in ("creating", "downloading"):
        volume.save(tx, volume_id, touch=True, status="available", path=path, launched_at=tx.now)


async def delete(ctx: AsyncContext, job: VolumeJob) -> None:
    """Job ``volume.delete``: bytes first, then the row; the target goes before."""

    def start(tx: Tx) -> Any:
        row = volume.find(tx, job.volume_id)
        if row is None or row.status != "deleting":
            return None
        if not row.host:
            volume.forget(tx, row.id)
            return None
        return row, snapshot.ids_of(tx, row.id)

    found = await ctx.write(start)
    if found is None:
        return
    row, taken = found
    try:
        for snapshot_id in taken:
            gone = calls.SnapshotDelete(volume_id=row.id, snapshot_id=snapshot_id)
            await ctx.call(row.host, "volume.delete_snapshot", gone, CALL_S)
        await ctx.call(row.host, "volume.delete", calls.VolumeDelete(volume_id=row.id), CALL_S)
    except CallError as problem:
        reason = str(problem)
        log.warning("volume not deleted", volume_id=row.id, reason=reason)
        await ctx.write(lambda tx: volume.fail(tx, job.volume_id, "error_deleting", "delete", reason))
        return
    await ctx.write(lambda tx: volume.forget(tx, job.volume_id))


async def extend(ctx: AsyncContext, job: VolumeJob) -> None:
    """Job ``volume.extend``: from ``extending`` to what it was, larger."""
    size = int(job.extra["size"])
    row = await ctx.read(lambda tx: volume.find(tx, job.volume_id))
    if row is None or row.status != "extending":
        return
    if not await ctx.read(lambda tx: volume.has_room(tx, row, size - row.size, ctx.settings)):
        # Nothing was changed, so the volume is what it was, and a message says why.
        before = row.previous_status or "available"
        await ctx.write(lambda tx: volume.fail(tx, row.id, before, "schedule_extend", ""))
        return
    try:
        await ctx.call(row.host, "volume.extend", calls.VolumeExtend(volume_id=row.id, size_gb=size), CALL_S)
        await _show_size(ctx, row, size)
    except CallError as problem:
        reason = str(problem)
        await ctx.write(lambda tx: volume.fail(tx, job.volume_id, "error_extending", "extend", reason))
        return

    def done(tx: Tx) -> None:
        if volume.find(tx, job.volume_id) is not None:
            volume.save(tx, job.volume_id, status=row.previous_status or "available", size=size, touch=True)

    await ctx.write(done)


async def _show_size(ctx: AsyncContext, row: Any, size: int) -> None:
    """The guests that have the volume see it grow."""
    attached = await ctx.read(lambda tx: volume.attachments(tx, [row.id])[row.id])
    for one in attached:
        if one.status == "attached" and one.server_id and one.host and row.previous_status == "in-use":
            wish = calls.ResizeDisk(instance_id=one.server_id, volume_id=row.id, size_gb=size)
            await ctx.call(one.host, "instance.resize_disk", wish, CALL_S)


async def snapshot_create(ctx: AsyncContext, job: VolumeJob) -> None:
    """Job ``volume.snapshot_create``."""
    snapshot_id = str(job.extra["snapshot_id"])
    row, taken = await ctx.read(lambda tx: (volume.find(tx, job.volume_id), snapshot.find(tx, snapshot_id)))
    if row is None or taken is None or taken.status != "creating":
        return
    try:
        copy = await in_use.copied(ctx, row, snapshot_id)
        wish = calls.SnapshotCreate(volume_id=row.id, snapshot_id=snapshot_id, copy_path=copy)
        await ctx.call(row.host, "volume.create_snapshot", wish, CREATE_S)
    except CallError as problem:
        reason = str(problem)

        def failed(tx: Tx) -> None:
            if snapshot.find(tx, snapshot_id) is not None:
                snapshot.save(tx, snapshot_id, status="error")
                message.tell(tx, row.project_id, "VOLUME_SNAPSHOT", snapshot_id, "snapshot", reason)

        await ctx.write(failed)
        return

    def done(tx: Tx) -> None:
        found = snapshot.find(tx, snapshot_id)
        if found is not None and found.status == "creating":
            snapshot.save(tx, snapshot_id, status="available", progress="100%")

    await ctx.write(done)


async def snapshot_delete(ctx: AsyncContext, job: VolumeJob) -> None:
    """Job ``volume.snapshot_delete``."""
    snapshot_id = str(job.extra["snapshot_id"])
    row, taken = await ctx.read(lambda tx: (volume.find(tx, job.volume_id), snapshot.find(tx, snapshot_id)))
    if taken is None or taken.status != "deleting":
        return
    if row is not None and row.host:
        try:
            gone = calls.SnapshotDelete(volume_id=row.id, snapshot_id=snapshot_id)
            await ctx.call(row.host, "volume.delete_snapshot", gone, CALL_S)
        except CallError as problem:
            log.warning("snapshot not deleted", snapshot_id=snapshot_id, reason=str(problem))
            await ctx.write(lambda tx: snapshot.save(tx, snapshot_id, status="error_deleting") and None)
            return
    await ctx.write(lambda tx: snapshot.forget(tx, snapshot_id))


async def revert(ctx: AsyncContext, job: VolumeJob) -> None:
    """Job ``volume.revert``: from ``reverting`` to ``available``."""
    snapshot_id = str(job.extra["snapshot_id"])
    row = await ctx.read(lambda tx: volume.find(tx, job.volume_id))
    if row is None or row.status != "reverting":
        return
    status = "available"
    try:
        wish = calls.SnapshotRevert(volume_id=row.id, snapshot_id=snapshot_id)
        await ctx.call(row.host, "volume.revert_to_snapshot", wish, CALL_S)
    except CallError as problem:
        log.warning("volume not reverted", volume_id=row.id, reason=str(problem))
        status = "error"

    def done(tx: Tx) -> None:
        if volume.find(tx, job.volume_id) is None:
            return
        volume.save(tx, job.volume_id, status=status)
        if snapshot.find(tx, snapshot_id) is not None:
            snapshot.save(tx, snapshot_id, status="available")

    await ctx.write(done)
