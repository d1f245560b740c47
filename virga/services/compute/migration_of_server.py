"""The live migrations of one server while they are under way: how far they are, hurry them, give them up."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select

from virga.api.context import AsyncContext, CallError
from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.contract.calls import MigrateAbort, MigrateForce, MigrateProgress, Progress
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.services.compute import instance_action, live_migration_steps, migration_row, server, states
from virga.services.compute.faults import Invalid, NotFoundHere
from virga.services.compute.models import migration as table
from virga.services.compute.schema import always, check_body, obj
from virga.services.compute.server import Server, check_lock, check_state
from virga.settings import Settings

FORCE = always(obj({"force_complete": {"type": "null"}}, ["force_complete"]))
QUEUED = ("queued", "preparing")
RULE = "os_compute_api:servers:migrations:"


def _view(req: Request, row: Any, seen: Progress) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": row.number,
        "server_uuid": row.server_id,
        "source_compute": row.source_host,
        "source_node": row.source_host,
        "dest_compute": row.destination_host,
        "dest_node": row.destination_host,
        "dest_host": None,
        "status": row.status,
        "created_at": iso_micro(row.created_at, ""),
        "updated_at": iso_micro(row.updated_at, ""),
        "memory_total_bytes": seen.memory_total,
        "memory_processed_bytes": seen.memory_processed,
        "memory_remaining_bytes": seen.memory_remaining,
        "disk_total_bytes": seen.disk_total,
        "disk_processed_bytes": seen.disk_processed,
        "disk_remaining_bytes": seen.disk_remaining,
    }
    if req.microversion >= (2, 59):
        body["uuid"] = row.id
    if req.microversion >= (2, 80):
        body |= {"user_id": row.user_id, "project_id": row.project_id}
    return body


async def _progress(ctx: AsyncContext, row: Any) -> Progress:
    """As the host sees it now; nothing while nothing goes, or when the host is silent."""
    if row.status != "running":
        return Progress()
    try:
        asked = MigrateProgress(instance_id=row.server_id)
        raw = await ctx.call(row.source_host, "instance.migrate_progress", asked)
    except CallError:
        return Progress()
    return msgspec.json.decode(raw, type=Progress)


async def index(ctx: AsyncContext, req: Request) -> Any:
    def read(tx: Tx) -> list[Any]:
        row = server.for_request(tx, req, RULE + "index")
        return list(
            tx.all(
                select(table)
                .where(
                    table.c.server_id == row.id,
                    table.c.migration_type == migration_row.LIVE,
                    table.c.status.in_(migration_row.IN_PROGRESS),
                )
                .order_by(table.c.number.desc())
            )
        )

    rows = await ctx.read(read)
    return {"migrations": [_view(req, row, await _progress(ctx, row)) for row in rows]}


def _find(tx: Tx, req: Request, row: Server) -> Any:
    ident = req["migration_id"]
    found = None
    if ident.isdigit():
        found = tx.first(select(table).where(table.c.server_id == row.id, table.c.number == int(ident[:18])))
    if found is None:
        raise NotFoundHere(
            f"Migration {ident} not found for instance {row.id}", type="MigrationNotFoundForInstance"
        )
    return found


async def show(ctx: AsyncContext, req: Request) -> Any:
    def read(tx: Tx) -> Any:
        row = server.for_request(tx, req, RULE + "show")
        found = _find(tx, req, row)
        if found.migration_type != migration_row.LIVE:
            raise NotFoundHere(f"Migration {found.number} for server {row.id} is not live-migration.")
        if found.status not in migration_row.IN_PROGRESS:
            raise NotFoundHere(f"Live migration {found.number} for server {row.id} is not in progress.")
        return found

    row = await ctx.read(read)
    return {"migration": _view(req, row, await _progress(ctx, row))}


def _wrong_state(found: Any, row: Server, method: str) -> Invalid:
    return Invalid(
        f"Migration {found.number} state of instance {row.id} is {found.status}. "
        f"Cannot {method} while the migration is in this state.",
        type="InvalidMigrationState",
    )


async def abort(ctx: AsyncContext, req: Request) -> Any:
    """A migration that nobody works on yet ends at once; one that runs ends when its host gave it up."""

    def begin(tx: Tx) -> Any:
        row = server.for_request(tx, req, RULE + "delete")
        check_lock(row, req.caller)
        check_state(row, "abort live migration", None, ("migrating",), launched=False)
        found = _find(tx, req, row)
        allowed = ("running", *QUEUED) if req.microversion >= (2, 65) else ("running",)
        if found.migration_type != migration_row.LIVE or found.status not in allowed:
            raise _wrong_state(found, row, "abort live migration")
        instance_action.start(tx, row.id, "live_migration_cancel", req.caller)
        if found.status in QUEUED:
            live_migration_steps.undo(tx, row.id, found.id, "", "cancelled")
            return None
        migration_row.change(tx, found.id, status="cancelling")
        return found

    found = await ctx.write(begin)
    if found is not None:
        try:
            await ctx.call(
                found.source_host, "instance.migrate_abort", MigrateAbort(instance_id=found.server_id)
            )
        except CallError:
            # It was faster, or is not heard of: then it goes on as if nobody had asked.
            await ctx.write(lambda tx: _not_cancelled(tx, found.id))
    return Response(202)


def _not_cancelled(tx: Tx, ident: str) -> None:
    move = migration_row.find(tx, ident)
    if move is not None and move.status == "cancelling":
        migration_row.change(tx, ident, status="running")


async def force(ctx: AsyncContext, req: Request) -> Any:
    def begin(tx: Tx) -> Any:
        row = server.for_request(tx, req, RULE + "force_complete")
        check_body(req, FORCE)
        check_lock(row, req.caller)
        check_state(row, "force_complete", (states.ACTIVE,), ("migrating",))
        found = _find(tx, req, row)
        if found.migration_type != migration_row.LIVE or found.status != "running":
            raise _wrong_state(found, row, "force complete")
        instance_action.start(tx, row.id, "live_migration_force_complete", req.caller)
        instance_action.event(tx, row.id, "compute_live_migration_force_complete", row.host)
        return found

    found = await ctx.write(begin)
    problem: str | None = None
    try:
        await ctx.call(found.source_host, "instance.migrate_force", MigrateForce(instance_id=found.server_id))
    except CallError as error:
        problem = str(error)
    event = "compute_live_migration_force_complete"
    await ctx.write(lambda tx: instance_action.finish(tx, found.server_id, event, problem))
    return Response(202)


def routes(settings: Settings) -> list[Route]:
    at = "/v2.1/servers/{server_id}/migrations"
    one = at + "/{migration_id}"
    return [
        Route("GET", at, index, AUTHENTICATED, min_version=(2, 23)),
        Route("GET", one, show, AUTHENTICATED, min_version=(2, 23)),
        Route("DELETE", one, abort, AUTHENTICATED, min_version=(2, 24)),
        Route("POST", one + "/action", force, AUTHENTICATED, min_version=(2, 22), action="force_complete"),
    ]
