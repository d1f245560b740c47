"""DELETE /servers: in any state, also while it is being built, also when its host is gone."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import delete as sql_delete

from virga.api.context import AsyncContext, CallError
from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.contract.calls import IsKnown
from virga.db.tx import Tx
from virga.services.compute import (
    host,
    instance_action,
    migration_row,
    port_allocation,
    server,
    server_group,
    states,
    volumes,
)
from virga.services.compute.jobs_arguments import ServerJob
from virga.services.compute.models import console_token, server_tag
from virga.services.compute.server import Server, check_lock, on_server
from virga.services.placement import claim
from virga.settings import Settings

RETRY_S = 10.0


def delete(tx: Tx, req: Request, row: Server) -> Any:
    check_lock(row, req.caller)
    begin(tx, row, req.caller)
    return Response(204)


def begin(tx: Tx, row: Server, caller: Any, action: str = "delete") -> None:
    """Ask the host to let go; when there is none, or it is down, the server is gone at once."""
    if row.task_state == "deleting" and host.host_is_up(tx, row.host):
        return
    instance_action.start(tx, row.id, action, caller)
    instance_action.event(tx, row.id, "compute_terminate_instance", row.host)
    migration_row.abandon(tx, row.id)
    if not row.on_host or not host.host_is_up(tx, row.host):
        finish(tx, row)
        return
    server.save(tx, row.id, touch=True, task_state="deleting", progress=0)
    tx.job("compute.delete", f"delete-{row.id}", ServerJob(row.id), RETRY_S)


def finish(tx: Tx, row: Server) -> None:
    """Nothing of it is left on a host: give back all that it had."""
    claim.release(tx, row.id)
    port_allocation.release(tx, row.id)
    volumes.release_all(tx, row.id)
    server_group.leave(tx, row.id)
    tx.execute(sql_delete(server_tag).where(server_tag.c.server_id == row.id))
    tx.execute(sql_delete(console_token).where(console_token.c.server_id == row.id))
    instance_action.finish_all(tx, row.id)
    server.save(
        tx,
        row.id,
        touch=True,
        vm_state=states.DELETED,
        task_state=None,
        power_state=states.NOSTATE,
        on_host=False,
        deleted=True,
        deleted_at=tx.now,
        terminated_at=tx.now,
        admin_password=None,
    )


async def watch(ctx: AsyncContext, job: ServerJob) -> None:
    """Job ``compute.delete``: do not wait for a host that died, nor for one that has nothing to let go of.

    A host that never heard of the server (its agent was away meanwhile) has nothing to report either.
    """

    def step(tx: Tx, known: bool) -> str:
        row = server.find(tx, job.server_id)
        if row is None or row.task_state != "deleting":
            return ""
        if known and row.on_host and host.host_is_up(tx, row.host):
            return str(row.host)
        finish(tx, row)
        return ""

    waits_for = await ctx.write(lambda tx: step(tx, known=True))
    if not waits_for:
        return
    try:
        asked = IsKnown(instance_id=job.server_id)
        known = msgspec.json.decode(await ctx.call(waits_for, "instance.is_known", asked, 10.0), type=bool)
    except CallError:
        known = True
    if not known:
        await ctx.write(lambda tx: step(tx, known=False))
        return
    await ctx.write(lambda tx: tx.job("compute.delete", f"delete-{job.server_id}", job, RETRY_S))


def routes(settings: Settings) -> list[Route]:
    return [Route("DELETE", "/v2.1/servers/{server_id}", on_server("servers:delete", delete), AUTHENTICATED)]
