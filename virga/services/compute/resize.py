"""Resize and cold migration: another size, another host, or both; then confirmed or taken back.

resize_prep -> (host chosen, claimed) -> resize_migrating -> resize_finish -> VERIFY_RESIZE -> confirm | revert
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from virga.api.context import AsyncContext, CallError
from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.contract.calls import Reboot, ReleaseDisk
from virga.db.tx import Tx
from virga.services.compute import (
    block_device,
    build,
    flavor,
    host,
    imaging,
    instance_action,
    limit_table,
    migration_row,
    port_allocation,
    resize_steps,
    scheduler,
    server,
    states,
)
from virga.services.compute.action import action_route
from virga.services.compute.action_power import ready
from virga.services.compute.faults import Busy, Invalid
from virga.services.compute.jobs_arguments import ServerJob
from virga.services.compute.schema import (
    DISK_CONFIG,
    FLAVOR_REF,
    FQDN,
    V21,
    Versioned,
    always,
    check_body,
    obj,
    wrapped,
)
from virga.services.compute.server import Server, check_lock, check_state, on_server, target_of
from virga.services.placement import claim
from virga.settings import Settings

RESIZE = always(
    wrapped("resize", obj({"flavorRef": FLAVOR_REF, "OS-DCF:diskConfig": DISK_CONFIG}, ["flavorRef"]))
)
CONFIRM = always(obj({"confirmResize": {}}, ["confirmResize"]))
REVERT = always(obj({"revertResize": {}}, ["revertResize"]))
HOST = FQDN | {"type": ["string", "null"]}
MIGRATE = Versioned(
    (V21, obj({"migrate": {}}, ["migrate"])),
    (
        (2, 56),
        wrapped(
            "migrate",
            {"type": ["object", "null"], "properties": {"host": HOST}, "additionalProperties": False},
        ),
    ),
)
RELEASE_S = 1800.0


def resize(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, RESIZE)["resize"]
    check_lock(row, req.caller)
    check_state(row, "resize", (states.ACTIVE, states.STOPPED))
    ready(tx, row)
    new = flavor.snapshot(flavor.get(tx, req.caller, _flavor_id(asked["flavorRef"]), 400))
    if new["id"] == row.flavor["id"]:
        raise Invalid("When resizing, instances must change flavor!", type="CannotResizeToSameFlavor")
    if new["root_gb"] == 0 and row.flavor["root_gb"] != 0 and not block_device.boots_from_volume(tx, row.id):
        raise Invalid(
            "Server disk was unable to be resized because: Resize to zero disk flavor is not allowed."
        )
    image = imaging.stored(tx, row.image_id) if row.image_id else None
    if image is not None:
        imaging.check_fits(image, new)
    limit_table.check_growth(tx, row.project_id, row.user_id, row.flavor, new)
    values = {}
    if "OS-DCF:diskConfig" in asked:
        values["auto_disk_config"] = asked["OS-DCF:diskConfig"] == "AUTO"
    _begin(tx, req, row, "resize", "resize", new, None, values)
    return Response(202)


def _flavor_id(reference: Any) -> str:
    return str(reference).rstrip("/").rpartition("/")[2]


def _begin(
    tx: Tx,
    req: Request,
    row: Server,
    action: str,
    kind: str,
    new: dict[str, Any],
    to: str | None,
    values: Any,
) -> None:
    instance_action.start(tx, row.id, action, req.caller)
    move = migration_row.start(tx, row, kind, to, new, req.caller)
    server.save(tx, row.id, task_state="resize_prep", other_flavor=new, progress=0, **values)
    tx.job("compute.resize", row.id, ServerJob(row.id, {"migration": move.id, "host": to}))


def migrate(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, MIGRATE)["migrate"]
    to = asked.get("host") if isinstance(asked, dict) and req.microversion >= (2, 56) else None
    if to is not None:
        req.enforce("os_compute_api:os-migrate-server:migrate:host", target_of(row))
        if to == row.host:
            raise Invalid("Unable to migrate instance to the same host.")
        if host.service_of(tx, to) is None:
            raise Invalid(f"Compute host {to} could not be found.", type="ComputeHostNotFound")
    check_lock(row, req.caller)
    check_state(row, "migrate", (states.ACTIVE, states.STOPPED))
    ready(tx, row)
    _begin(tx, req, row, "migrate", "migration", row.flavor, to, {})
    return Response(202)


# --- the job -------------------------------------------------------------------------------------------


async def job(ctx: AsyncContext, asked: ServerJob) -> None:
    """Job ``compute.resize``: choose and claim, carry the disk over, let the new host build."""
    row = await ctx.write(lambda tx: _claim(tx, asked, ctx.settings))
    if row is None:
        return
    move = await ctx.read(lambda tx: migration_row.find(tx, asked.extra["migration"]))
    if move is None:
        return
    if move.destination_host == row.host:
        await _in_place(ctx, row)
        return
    path = Path(ctx.settings.state_dir) / "moves" / f"{row.id}.qcow2"
    await ctx.thread(lambda: path.parent.mkdir(parents=True, exist_ok=True))
    disk = not await ctx.read(lambda tx: block_device.boots_from_volume(tx, row.id))
    try:
        await ctx.call(
            row.host, "instance.release_disk", ReleaseDisk(instance_id=row.id, path=str(path)), RELEASE_S
        )
    except CallError as problem:
        reason = str(problem)
        await ctx.write(lambda tx: undo(tx, row.id, reason))
        return
    await ctx.write(lambda tx: _hand_over(tx, row.id, str(path) if disk else None))


def _claim(tx: Tx, asked: ServerJob, settings: Settings) -> Server | None:
    row = server.find(tx, asked.server_id)
    if row is None or row.task_state not in ("resize_prep", "resize_migrating"):
        return None
    if row.task_state == "resize_migrating":
        return row
    move = asked.extra["migration"]
    chosen = _choose(tx, row, settings, asked.extra.get("host"))
    if chosen is None:
        undo(tx, row.id, build.NO_HOST)
        return None
    claim.move(tx, row.id, move, claim.Owner(row.project_id, row.user_id, "MIGRATION"))
    resources = scheduler.resources_of(row.other_flavor, block_device.boots_from_volume(tx, row.id))
    claim.claim(tx, row.id, chosen.provider_id, resources, claim.Owner(row.project_id, row.user_id))
    instance_action.event(tx, row.id, "compute_prep_resize", chosen.host)
    instance_action.finish(tx, row.id, "compute_prep_resize")
    instance_action.event(tx, row.id, "compute_resize_instance", row.host)
    migration_row.change(tx, move, destination_host=chosen.host, status="migrating")
    return server.save(tx, row.id, task_state="resize_migrating")


def _choose(tx: Tx, row: Server, settings: Settings, to: str | None) -> scheduler.Candidate | None:
    """Another host when there is one; else the same, for a new size needs no new place."""
    for exclude in ([row.host], []):
        try:
            asked: list[str] = exclude if to is None else []
            return build.choose(tx, row, settings, flavor=row.other_flavor, exclude=asked, only=to)
        except build.NoHost:
            continue
    return None


def same_machine(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """A host could not tell the two sizes apart, and so would not build the machine anew."""
    return all(one[name] == other[name] for name in ("vcpus", "memory_mb", "root_gb"))


async def _in_place(ctx: AsyncContext, row: Server) -> None:
    """The same host: it restarts the machine in its new size."""

    def swap(tx: Tx) -> Server:
        instance_action.finish(tx, row.id, "compute_resize_instance")
        instance_action.event(tx, row.id, "compute_finish_resize", row.host)
        return _swapped(tx, server.get(tx, row.id), task_state="resize_finish")

    alike = same_machine(row.flavor, row.other_flavor)
    await ctx.write(swap)
    if not alike:
        return
    if row.wanted_power == "running":
        try:
            await ctx.call(
                row.host, "instance.reboot", Reboot(instance_id=row.id, reboot_type="HARD"), RELEASE_S
            )
        except CallError as problem:
            reason = str(problem)
            await ctx.write(lambda tx: server.fail(tx, row.id, reason, details=reason))
            return
    await ctx.write(lambda tx: _finish_now(tx, row.id))


def _finish_now(tx: Tx, server_id: str) -> None:
    row = server.find(tx, server_id)
    if row is not None and row.task_state == "resize_finish":
        resize_steps.resized(tx, row, row.wanted_power)


def _swapped(tx: Tx, row: Server, **values: Any) -> Server:
    """The new flavor counts; the old one is kept for a revert."""
    return server.save(
        tx,
        row.id,
        touch=True,
        flavor=row.other_flavor,
        flavor_id=row.other_flavor["id"],
        other_flavor=row.flavor,
        realised="",
        **values,
    )


def _hand_over(tx: Tx, server_id: str, path: str | None) -> None:
    row = server.find(tx, server_id)
    if row is None or row.task_state != "resize_migrating":
        return
    move = migration_row.current(tx, row.id)
    if move is None:
        return
    migration_row.change(tx, move.id, status="post-migrating")
    instance_action.finish(tx, row.id, "compute_resize_instance")
    instance_action.event(tx, row.id, "compute_finish_resize", move.destination_host)
    zone = host.zone_of(tx, move.destination_host)
    _swapped(
        tx,
        row,
        task_state="resize_finish",
        host=move.destination_host,
        source_disk=path,
        availability_zone=zone,
    )
    port_allocation.bind(tx, row.id, move.destination_host, zone)


def undo(tx: Tx, server_id: str, reason: str) -> None:
    """It stays what and where it was; the action says why."""
    row = server.find(tx, server_id)
    move = migration_row.current(tx, server_id)
    if row is None or row.task_state == "deleting":
        return
    if move is not None:
        if move.status == "migrating":
            claim.release(tx, row.id)
            claim.move(tx, move.id, row.id, claim.Owner(row.project_id, row.user_id))
        migration_row.change(tx, move.id, status="error")
    instance_action.event(tx, row.id, "conductor_migrate_server", row.host)
    instance_action.finish_all(tx, row.id, reason)
    server.save(tx, row.id, touch=True, task_state=None, other_flavor=None, fault=server.fault(tx, reason))


# --- confirm and revert --------------------------------------------------------------------------------


def _verified(tx: Tx, row: Server, action: str) -> Any:
    check_state(row, action, (states.RESIZED,))
    move = migration_row.current(tx, row.id)
    if move is None:
        raise Busy("Instance has not been resized.", type="MigrationNotFoundByStatus")
    return move


def confirm(tx: Tx, req: Request, row: Server) -> Any:
    check_body(req, CONFIRM)
    check_lock(row, req.caller)
    move = _verified(tx, row, "confirmResize")
    instance_action.start(tx, row.id, "confirmResize", req.caller)
    instance_action.event(tx, row.id, "compute_confirm_resize", move.source_host)
    left = move.source_host != row.host and host.host_is_up(tx, move.source_host)
    migration_row.change(tx, move.id, status="confirming" if left else "confirmed")
    if not left:
        claim.release(tx, move.id)
    instance_action.finish(tx, row.id, "compute_confirm_resize")
    vm_state = states.STOPPED if row.wanted_power == "shutdown" else states.ACTIVE
    server.save(tx, row.id, touch=True, vm_state=vm_state, other_flavor=None, task_state=None)
    return Response(204)


def revert(tx: Tx, req: Request, row: Server) -> Any:
    check_body(req, REVERT)
    check_lock(row, req.caller)
    move = _verified(tx, row, "revertResize")
    instance_action.start(tx, row.id, "revertResize", req.caller)
    instance_action.event(tx, row.id, "compute_finish_revert_resize", move.source_host)
    migration_row.change(tx, move.id, status="reverting")
    claim.release(tx, row.id)
    claim.move(tx, move.id, row.id, claim.Owner(row.project_id, row.user_id))
    alike = same_machine(row.flavor, row.other_flavor) and move.source_host == row.host
    row = _swapped(tx, row, task_state="resize_reverting", host=move.source_host, source_disk=None)
    port_allocation.bind(tx, row.id, move.source_host, host.zone_of(tx, move.source_host))
    if alike or row.wanted_power == "shutdown":
        resize_steps.revert_done(tx, row, row.wanted_power)
    return Response(202)


def routes(settings: Settings) -> list[Route]:
    return [
        action_route("resize", on_server("servers:resize", resize)),
        action_route("confirmResize", on_server("servers:confirm_resize", confirm), status=204),
        action_route("revertResize", on_server("servers:revert_resize", revert)),
        action_route("migrate", on_server("os-migrate-server:migrate", migrate)),
    ]
