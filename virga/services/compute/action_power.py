"""Start, stop, reboot, pause, suspend and back: the row says what must be, the host's report says that it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from virga.api.context import AsyncContext, CallError
from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.contract.calls import InjectNmi, Reboot
from virga.db.tx import Tx
from virga.services.compute import host, instance_action, server, states
from virga.services.compute.action import action_route
from virga.services.compute.faults import Busy, NotFoundHere
from virga.services.compute.jobs_arguments import ServerJob
from virga.services.compute.schema import NULL, always, check_body, obj, wrapped
from virga.services.compute.server import Server, check_lock, check_state, on_server
from virga.settings import Settings

REBOOT = always(
    wrapped(
        "reboot",
        obj({"type": {"type": "string", "enum": ["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]}}, ["type"]),
    )
)
CRASH = always(wrapped("trigger_crash_dump", NULL))
HARD_STATES = (states.ACTIVE, states.STOPPED, states.PAUSED, states.SUSPENDED, states.ERROR)
HARD_TASKS = (
    *(None, "rebooting", "reboot_pending", "reboot_started", "rebooting_hard", "resuming", "unpausing"),
    *("pausing", "suspending", "reboot_pending_hard", "reboot_started_hard"),
)
REBOOT_S = 240.0


def ready(tx: Tx, row: Server) -> None:
    """The host can be asked."""
    if row.host is None or not row.on_host:
        raise Busy(f"Instance {row.id} is not ready", type="InstanceNotReady")


def wish(
    key: str, name: str, event: str, allowed: tuple[str, ...], task: str, power: str
) -> Callable[[Tx, Request, Server], Any]:
    """An action that is nothing but another power state to be wished for."""
    schema = always(obj({key: {}}, [key]))

    def verb(tx: Tx, req: Request, row: Server) -> Any:
        check_body(req, schema)
        check_lock(row, req.caller)
        check_state(row, name, allowed)
        ready(tx, row)
        instance_action.start(tx, row.id, name, req.caller)
        instance_action.event(tx, row.id, event, row.host)
        # Between a guest's own end and this a host may have heard nothing: the number tells that a start is asked for.
        starts = row.starts + (name == "start")
        server.save(tx, row.id, touch=True, task_state=task, wanted_power=power, starts=starts)
        return Response(202)

    return verb


start = wish("os-start", "start", "compute_start_instance", (states.STOPPED,), "powering-on", "running")
stop = wish(
    "os-stop", "stop", "compute_stop_instance", (states.ACTIVE, states.ERROR), "powering-off", "shutdown"
)
pause = wish("pause", "pause", "compute_pause_instance", (states.ACTIVE,), "pausing", "paused")
unpause = wish("unpause", "unpause", "compute_unpause_instance", (states.PAUSED,), "unpausing", "running")
suspend = wish("suspend", "suspend", "compute_suspend_instance", (states.ACTIVE,), "suspending", "suspended")
resume = wish("resume", "resume", "compute_resume_instance", (states.SUSPENDED,), "resuming", "running")


def reboot(tx: Tx, req: Request, row: Server) -> Any:
    kind = check_body(req, REBOOT)["reboot"]["type"].upper()
    check_lock(row, req.caller)
    if kind == "SOFT":
        check_state(row, "reboot", (states.ACTIVE,))
    else:
        check_state(row, "reboot", HARD_STATES, HARD_TASKS)
    ready(tx, row)
    instance_action.start(tx, row.id, "reboot", req.caller)
    instance_action.event(tx, row.id, "compute_reboot_instance", row.host)
    task = "rebooting" if kind == "SOFT" else "rebooting_hard"
    up = row.wanted_power == "running" and row.realised in ("running", "")
    server.save(tx, row.id, touch=not up, task_state=task, wanted_power="running", rescue_image_id=None)
    if up:
        tx.job("compute.reboot", row.id, ServerJob(row.id, {"type": kind}))
    return Response(202)


async def reboot_job(ctx: AsyncContext, job: ServerJob) -> None:
    """Job ``compute.reboot``: down and up again, asked of the host."""
    kind = str(job.extra["type"])

    def begin(tx: Tx) -> Server | None:
        row = server.find(tx, job.server_id)
        if row is None or row.task_state not in (
            "rebooting",
            "rebooting_hard",
            "reboot_started",
            "reboot_started_hard",
        ):
            return None
        return server.save(
            tx, row.id, task_state="reboot_started" if kind == "SOFT" else "reboot_started_hard"
        )

    row = await ctx.write(begin)
    if row is None:
        return
    try:
        await ctx.call(row.host, "instance.reboot", Reboot(instance_id=row.id, reboot_type=kind), REBOOT_S)
    except CallError as problem:
        reason = str(problem)
        await ctx.write(lambda tx: _rebooted(tx, job.server_id, reason))
    else:
        await ctx.write(lambda tx: _rebooted(tx, job.server_id, None))


def _rebooted(tx: Tx, server_id: str, error: str | None) -> None:
    row = server.find(tx, server_id)
    if row is None or not (row.task_state or "").startswith("reboot"):
        return
    instance_action.finish(tx, row.id, "compute_reboot_instance", error)
    if error is not None and host.host_is_up(tx, row.host):
        server.fail(tx, row.id, error, details=error)
    else:
        server.save(tx, row.id, task_state=None, vm_state=row.vm_state if error else states.ACTIVE)


async def crash_dump(ctx: AsyncContext, req: Request) -> Any:
    """Inject an NMI, so that the guest dumps its memory."""

    def begin(tx: Tx) -> Server:
        row = server.for_request(tx, req, "os_compute_api:servers:trigger_crash_dump")
        check_body(req, CRASH)
        check_lock(row, req.caller)
        check_state(
            row,
            "trigger_crash_dump",
            (states.ACTIVE, states.PAUSED, states.RESCUED, states.RESIZED, states.ERROR),
        )
        ready(tx, row)
        return row

    row = await ctx.read(begin)
    try:
        await ctx.call(row.host, "instance.trigger_crash_dump", InjectNmi(instance_id=row.id))
    except CallError as problem:
        raise Busy(f"Instance {row.id} cannot dump: {problem}") from None
    # Told afterwards: a refused request leaves no trace.
    await ctx.write(lambda tx: instance_action.start(tx, row.id, "trigger_crash_dump", req.caller))
    return Response(202)


def _of_a_cell(handler: Callable[[Tx, Request], Any]) -> Callable[[Tx, Request], Any]:
    """Nova looks for the cell of a server that is to stop before it looks for the server, and says so."""

    def verb(tx: Tx, req: Request) -> Any:
        if server.find(tx, req["server_id"]) is None:
            message = f"Instance {req['server_id']} has no mapping to a cell."
            raise NotFoundHere(message, type="InstanceMappingNotFound")
        return handler(tx, req)

    return verb


def routes(settings: Settings) -> list[Route]:
    return [
        action_route("os-start", on_server("servers:start", start)),
        action_route("os-stop", _of_a_cell(on_server("servers:stop", stop))),
        action_route("reboot", on_server("servers:reboot", reboot)),
        action_route("pause", on_server("os-pause-server:pause", pause)),
        action_route("unpause", on_server("os-pause-server:unpause", unpause)),
        action_route("suspend", on_server("os-suspend-server:suspend", suspend)),
        action_route("resume", on_server("os-suspend-server:resume", resume)),
        action_route("trigger_crash_dump", crash_dump, least=(2, 17)),
    ]
