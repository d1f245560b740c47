"""Live migration: a running (or paused) server goes to another host, disks and memory, while it runs.

accepted -> queued -> (host chosen, claimed) preparing -> (the host waits) running -> post-migrating -> completed
               \\-> no host, or it cannot move: error      \\-> cancelled, error: it stays where it is
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from virga.api.context import AsyncContext, CallError
from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.contract.calls import Layout, Migrate, MigrateCheck
from virga.db.tx import Tx
from virga.services.compute import (
    block_device,
    build,
    host,
    instance_action,
    live_migration_steps,
    migration_row,
    port_allocation,
    scheduler,
    server,
    states,
)
from virga.services.compute.action import action_route
from virga.services.compute.action_power import ready
from virga.services.compute.faults import Invalid
from virga.services.compute.jobs_arguments import ServerJob
from virga.services.compute.schema import (
    BOOLEAN,
    FQDN,
    V21,
    Versioned,
    changed,
    check_body,
    obj,
    truth,
    wrapped,
)
from virga.services.compute.server import Server, check_lock, check_state, on_server, target_of
from virga.services.placement import claim
from virga.settings import Settings

_HOST = FQDN | {"type": ["string", "null"]}
_LIVE = wrapped(
    "os-migrateLive",
    obj(
        {"block_migration": BOOLEAN, "disk_over_commit": BOOLEAN, "host": _HOST},
        ["block_migration", "disk_over_commit", "host"],
    ),
)
_AUTO = BOOLEAN | {"enum": [*BOOLEAN["enum"], "auto"]}
_LIVE_225 = wrapped(
    "os-migrateLive", obj({"block_migration": _AUTO, "host": _HOST}, ["block_migration", "host"])
)
LIVE = Versioned(
    (V21, _LIVE),
    ((2, 25), _LIVE_225),
    ((2, 30), changed(_LIVE_225, "os-migrateLive", force=BOOLEAN)),
    ((2, 68), _LIVE_225),
)
IN_BACKGROUND = (2, 34)
"""From here on only the log of the server says that it could not go."""
PREPARE_S = 600.0
MOVE_S = 24 * 3600.0


def live(tx: Tx, req: Request, row: Server, settings: Settings) -> Any:
    asked = check_body(req, LIVE)["os-migrateLive"]
    to = asked.get("host")
    if to:
        req.enforce("os_compute_api:os-migrate-server:migrate_live:host", target_of(row))
    if truth(asked.get("force", False)) and not to:
        raise Invalid("Can't force to a non-provided destination")
    check_lock(row, req.caller)
    check_state(row, "os-migrateLive", (states.ACTIVE, states.PAUSED))
    ready(tx, row)
    if to and host.service_of(tx, to) is None:
        raise Invalid(f"Compute host {to} could not be found.", type="ComputeHostNotFound")
    if to and to == row.host:
        raise Invalid(f"Unable to migrate instance ({row.id}) to current host ({row.host}).")
    reason = _refusal(tx, row, asked["block_migration"], settings, to)
    if reason is not None and req.microversion < IN_BACKGROUND:
        raise Invalid(reason, type="MigrationPreCheckError")
    instance_action.start(tx, row.id, "live-migration", req.caller)
    instance_action.event(tx, row.id, "conductor_live_migrate_instance", row.host)
    move = migration_row.start(tx, row, migration_row.LIVE, to, None, req.caller)
    migration_row.change(tx, move.id, status="queued")
    server.save(tx, row.id, task_state="migrating", progress=0)
    tx.job("compute.live_migrate", row.id, ServerJob(row.id, {"migration": move.id, "refused": reason}))
    return Response(202)


def _refusal(tx: Tx, row: Server, block: Any, settings: Settings, to: str | None) -> str | None:
    """Why it cannot go, as far as that is known before anybody is asked."""
    kind = row.flavor["extra_specs"].get("virga:kind", settings.instance_kind)
    if kind == "namespace" and settings.dataplane != "fake":
        return f"Migration pre-check error: instance {row.id} is a namespace, which cannot move while it runs"
    local = not block_device.boots_from_volume(tx, row.id)
    local = local or bool(row.flavor["ephemeral_gb"] or row.flavor["swap_mb"])
    if block != "auto" and local and not truth(block):
        return (
            f"{row.host} is not on shared storage: Live migration can not be used without shared storage except "
            "a booted from volume VM which does not have a local disk."
        )
    if block != "auto" and not local and truth(block):
        return f"{row.host} is not on local storage: Block migration can not be used with shared storage."
    try:
        build.choose(tx, row, settings, exclude=[row.host], only=to)
    except build.NoHost:
        return "No valid host was found. There are not enough hosts available."
    return None


# --- the jobs ------------------------------------------------------------------------------------------


async def prepare(ctx: AsyncContext, asked: ServerJob) -> None:
    """Job ``compute.live_migrate``: choose and claim, ask what it is like, let the host wait for it."""
    ident = str(asked.extra["migration"])
    row = await ctx.write(lambda tx: _claim(tx, asked, ctx.settings))
    if row is None:
        return
    try:
        raw = await ctx.call(row.host, "instance.migrate_check", MigrateCheck(instance_id=row.id))
    except CallError as problem:
        reason = str(problem)
        await ctx.write(lambda tx: live_migration_steps.undo(tx, row.id, ident, reason))
        return
    layout = msgspec.json.decode(raw, type=Layout)

    def expect(tx: Tx) -> None:
        move = migration_row.find(tx, ident)
        current = server.find(tx, row.id)
        if move is None or move.status != "preparing" or current is None:
            return
        migration_row.change(tx, ident, layout=msgspec.to_builtins(layout))
        port_allocation.expect(tx, row.id, move.destination_host)
        instance_action.event(tx, row.id, "compute_pre_live_migration", move.destination_host)
        server.save(tx, row.id, touch=True)
        watched = ServerJob(row.id, {"migration": ident})
        tx.job("compute.live_migrate_watch", f"live-{ident}", watched, PREPARE_S)

    await ctx.write(expect)


def _claim(tx: Tx, asked: ServerJob, settings: Settings) -> Server | None:
    ident = str(asked.extra["migration"])
    row, move = server.find(tx, asked.server_id), migration_row.find(tx, ident)
    if row is None or move is None or row.task_state != "migrating" or move.status != "queued":
        return row if move is not None and move.status == "preparing" and move.layout is None else None
    if asked.extra.get("refused"):
        live_migration_steps.undo(tx, row.id, ident, str(asked.extra["refused"]))
        return None
    try:
        chosen = build.choose(tx, row, settings, exclude=[row.host], only=move.destination_host)
    except build.NoHost:
        live_migration_steps.undo(
            tx, row.id, ident, "No valid host was found. There are not enough hosts available."
        )
        return None
    claim.move(tx, row.id, ident, claim.Owner(row.project_id, row.user_id, "MIGRATION"))
    resources = scheduler.resources_of(row.flavor, block_device.boots_from_volume(tx, row.id))
    claim.claim(tx, row.id, chosen.provider_id, resources, claim.Owner(row.project_id, row.user_id))
    migration_row.change(tx, ident, destination_host=chosen.host, status="preparing")
    instance_action.finish(tx, row.id, "conductor_live_migrate_instance")
    return row


async def watch(ctx: AsyncContext, asked: ServerJob) -> None:
    """Job ``compute.live_migrate_watch``: a host that never gets ready is not waited for."""
    ident = str(asked.extra["migration"])

    def step(tx: Tx) -> None:
        move = migration_row.find(tx, ident)
        if move is not None and move.status == "preparing":
            reason = f"Host {move.destination_host} was not ready within {PREPARE_S:.0f} seconds."
            live_migration_steps.undo(tx, asked.server_id, ident, reason)

    await ctx.write(step)


async def carry(ctx: AsyncContext, asked: ServerJob) -> None:
    """Job ``compute.live_migrate_carry``: the host waits, so the other one sends."""
    ident = str(asked.extra["migration"])

    def begin(tx: Tx) -> Server | None:
        row, move = server.find(tx, asked.server_id), migration_row.find(tx, ident)
        if row is None or move is None or move.status not in ("preparing", "running"):
            return None
        if move.status == "preparing":
            migration_row.change(tx, ident, status="running")
            instance_action.finish(tx, row.id, "compute_pre_live_migration")
            instance_action.event(tx, row.id, "compute_live_migration", row.host)
        return row

    row = await ctx.write(begin)
    if row is None:
        return
    send = Migrate(
        instance_id=row.id, memory=str(asked.extra["memory"]), disks=str(asked.extra.get("disks", ""))
    )
    try:
        await ctx.call(row.host, "instance.migrate", send, MOVE_S)
    except CallError as problem:
        reason = str(problem)
        await ctx.write(lambda tx: live_migration_steps.undo(tx, row.id, ident, reason))
    else:
        await ctx.write(lambda tx: live_migration_steps.hand_over(tx, row.id, ident))


def routes(settings: Settings) -> list[Route]:
    verb = on_server("os-migrate-server:migrate_live", partial(live, settings=settings))
    return [action_route("os-migrateLive", verb)]
