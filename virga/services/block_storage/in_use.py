"""A volume that a guest writes to can only be copied as of one moment by the machine that has it open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from virga.api.context import AsyncContext, CallError
from virga.contract import calls
from virga.services.block_storage import volume

COPY_S = 3600.0
NOT_OPEN = ("InstanceNotRunning", "NotFound", "DiskNotFound")


async def copied(ctx: AsyncContext, row: Any, purpose: str) -> str | None:
    """Path of a copy, beside the volume, for the pool to take over; None where no machine has the volume open.

    ``purpose`` is an id, so that a job that runs again after a crash leaves no second copy. Raises CallError.
    """
    attached = await ctx.read(lambda tx: volume.attachments(tx, [row.id])[row.id])
    open_in = [one for one in attached if one.status == "attached" and one.server_id and one.host]
    if len(open_in) != 1 or not row.path:
        return None
    path = str(Path(row.path).with_name(f"copy-{purpose}"))
    wish = calls.CopyDisk(instance_id=open_in[0].server_id, volume_id=row.id, path=path)
    try:
        await ctx.call(open_in[0].host, "instance.copy_disk", wish, COPY_S)
    except CallError as problem:
        if problem.kind in NOT_OPEN:
            return None
        raise
    return path
