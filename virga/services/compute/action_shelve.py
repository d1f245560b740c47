"""Shelve, offload, unshelve: a server leaves its host and comes back, perhaps elsewhere."""

from __future__ import annotations

from typing import Any

from virga.api.context import AsyncContext
from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.services.compute import (
    block_device,
    build,
    host,
    instance_action,
    port_allocation,
    server,
    snapshot,
    states,
)
from virga.services.compute.action import action_route
from virga.services.compute.faults import Busy, Invalid
from virga.services.compute.jobs_arguments import ServerJob
from virga.services.compute.schema import NAME, TEXT, V21, Versioned, always, check_body, obj, wrapped
from virga.services.compute.server import Server, check_lock, check_state, on_server, target_of
from virga.services.compute.shelve_steps import offloaded
from virga.settings import Settings

SHELVE = always(obj({"shelve": {}}, ["shelve"]))
OFFLOAD = always(obj({"shelveOffload": {}}, ["shelveOffload"]))
_ZONE = {
    "type": ["object", "null"],
    "properties": {"availability_zone": NAME},
    "required": ["availability_zone"],
    "additionalProperties": False,
}
_ZONE_OR_HOST = {
    "type": ["object", "null"],
    "properties": {"availability_zone": {"type": ["string", "null"]}, "host": TEXT},
    "additionalProperties": False,
}
UNSHELVE = Versioned(
    (V21, obj({"unshelve": {}}, ["unshelve"])),
    ((2, 77), wrapped("unshelve", _ZONE)),
    ((2, 91), wrapped("unshelve", _ZONE_OR_HOST)),
)


def shelve(tx: Tx, req: Request, row: Server) -> Any:
    check_body(req, SHELVE)
    check_lock(row, req.caller)
    check_state(row, "shelve", snapshot.STATES)
    instance_action.start(tx, row.id, "shelve", req.caller)
    instance_action.event(tx, row.id, "compute_shelve_instance", row.host)
    if block_device.boots_from_volume(tx, row.id):
        begin_offload(tx, row)
        return Response(202)
    image = snapshot.new_image(tx, row, req.caller, f"{row.name}-shelved", {})
    server.save(tx, row.id, task_state="shelving")
    tx.job("compute.snapshot", row.id, ServerJob(row.id, {"image_id": image.id, "then": "offload"}))
    return Response(202)


def begin_offload(tx: Tx, row: Server) -> None:
    """Let the host forget it; when the host is dead it is forgotten at once."""
    instance_action.event(tx, row.id, "compute_shelve_offload_instance", row.host)
    if not row.on_host or not host.host_is_up(tx, row.host):
        offloaded(tx, row)
        tx.touch("server", row.id)
        return
    server.save(
        tx, row.id, touch=True, task_state="shelving_offloading", vm_state=states.SHELVED, on_host=False
    )


def offload(tx: Tx, req: Request, row: Server) -> Any:
    check_body(req, OFFLOAD)
    check_lock(row, req.caller)
    check_state(row, "shelveOffload", (states.SHELVED,))
    instance_action.start(tx, row.id, "shelveOffload", req.caller)
    begin_offload(tx, row)
    return Response(202)


def unshelve(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, UNSHELVE)["unshelve"]
    asked = asked if isinstance(asked, dict) and req.microversion >= (2, 77) else None
    check_lock(row, req.caller)
    check_state(row, "unshelve", (states.SHELVED, states.OFFLOADED))
    values: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    if asked is not None:
        if not asked:
            raise Invalid(
                f"Invalid input for field/attribute unshelve. Value: {asked}. {asked} does not have enough properties"
            )
        if row.vm_state != states.OFFLOADED:
            raise Busy(
                "The server status must be SHELVED_OFFLOADED to unshelve it with an availability zone or a host."
            )
        values, extra = _where(tx, req, row, asked)
    instance_action.start(tx, row.id, "unshelve", req.caller)
    server.save(tx, row.id, task_state="unshelving", **values)
    tx.job("compute.unshelve", row.id, ServerJob(row.id, extra))
    return Response(202)


def _where(tx: Tx, req: Request, row: Server, asked: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    values: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    if "availability_zone" in asked:
        zone = asked["availability_zone"]
        if zone is not None and zone not in {host.DEFAULT_ZONE, *host.zones_by_host(tx).values()}:
            raise Invalid("The requested availability zone is not available")
        values["pinned_availability_zone"] = zone
    if asked.get("host"):
        req.enforce("os_compute_api:os-shelve:unshelve_to_host", target_of(row))
        if host.service_of(tx, asked["host"]) is None:
            raise Invalid(f"Compute host {asked['host']} could not be found.", type="ComputeHostNotFound")
        zone = values.get("pinned_availability_zone", row.pinned_availability_zone)
        if zone is not None and host.zone_of(tx, asked["host"]) != zone:
            raise Busy(f"Host '{asked['host']}' is not in the availability zone '{zone}'.")
        extra["host"] = asked["host"]
    return values, extra


async def unshelve_job(ctx: AsyncContext, job: ServerJob) -> None:
    """Job ``compute.unshelve``: a host is chosen and claimed, the ports follow, the host learns."""
    await ctx.write(lambda tx: _unshelve(tx, job, ctx.settings))


def _unshelve(tx: Tx, job: ServerJob, settings: Settings) -> None:
    row = server.find(tx, job.server_id)
    if row is None or row.task_state != "unshelving":
        return
    try:
        chosen = build.choose(tx, row, settings, only=job.extra.get("host"))
    except build.NoHost:
        instance_action.event(tx, row.id, "conductor_unshelve_instance", None)
        instance_action.finish(tx, row.id, "conductor_unshelve_instance", build.NO_HOST)
        server.save(tx, row.id, task_state=None, fault=server.fault(tx, build.NO_HOST))
        return
    build.claim_on(tx, row, chosen.provider_id)
    instance_action.event(tx, row.id, "compute_unshelve_instance", chosen.host)
    row = server.save(
        tx,
        row.id,
        touch=True,
        host=chosen.host,
        availability_zone=chosen.zone,
        on_host=True,
        task_state="spawning",
        wanted_power="running",
        realised="",
        build=row.build + 1,
    )
    port_allocation.bind(tx, row.id, chosen.host, chosen.zone)


def routes(settings: Settings) -> list[Route]:
    return [
        action_route("shelve", on_server("os-shelve:shelve", shelve)),
        action_route("shelveOffload", on_server("os-shelve:shelve_offload", offload)),
        action_route("unshelve", on_server("os-shelve:unshelve", unshelve)),
    ]
