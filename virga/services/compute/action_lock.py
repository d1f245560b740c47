"""Lock and unlock; reset of states by admins; the actions that went away."""

from __future__ import annotations

from typing import Any

from virga.api.faults import Fault
from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.services.compute import instance_action, server, states
from virga.services.compute.action import action_route
from virga.services.compute.faults import Refused, removed
from virga.services.compute.schema import V21, Versioned, always, check_body, obj, wrapped
from virga.services.compute.server import Server, on_server, target_of
from virga.settings import Settings

_REASON = {"locked_reason": {"type": "string", "minLength": 1, "maxLength": 255}}
LOCK = Versioned(
    (V21, obj({"lock": {}}, ["lock"])),
    (
        (2, 73),
        wrapped("lock", {"type": ["object", "null"], "properties": _REASON, "additionalProperties": False}),
    ),
)
UNLOCK = always(obj({"unlock": {}}, ["unlock"]))
RESET = always(
    wrapped("os-resetState", obj({"state": {"type": "string", "enum": ["active", "error"]}}, ["state"]))
)
INJECT = always(obj({"injectNetworkInfo": {}}, ["injectNetworkInfo"]))


def lock(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, LOCK)["lock"]
    reason = asked.get("locked_reason") if isinstance(asked, dict) and req.microversion >= (2, 73) else None
    instance_action.start(tx, row.id, "lock", req.caller)
    # An owner's own lock, put on again by an admin, stays the owner's.
    owner = row.project_id == req.caller.project_id and not req.caller.is_admin
    by = "owner" if owner else "admin"
    if not owner and row.locked_by == "owner":
        by = "owner"
    server.save(tx, row.id, locked_by=by, locked_reason=reason)
    return Response(202)


def unlock(tx: Tx, req: Request, row: Server) -> Any:
    check_body(req, UNLOCK)
    if row.locked_by == "admin":
        try:
            req.enforce("os_compute_api:os-lock-server:unlock:unlock_override", target_of(row))
        except Fault as refusal:
            raise Refused(refusal.message) from None
    instance_action.start(tx, row.id, "unlock", req.caller)
    server.save(tx, row.id, locked_by=None, locked_reason=None)
    return Response(202)


def reset(tx: Tx, req: Request, row: Server) -> Any:
    """Believe the admin: the state is this, and nothing is under way."""
    state = check_body(req, RESET)["os-resetState"]["state"]
    instance_action.start(tx, row.id, "os-resetState", req.caller)
    vm_state = states.ACTIVE if state == "active" else states.ERROR
    wanted = {"wanted_power": "running"} if state == "active" and row.on_host else {}
    server.save(tx, row.id, touch=bool(wanted), vm_state=vm_state, task_state=None, **wanted)
    return Response(202)


def inject(tx: Tx, req: Request, row: Server) -> Any:
    """The network information of a server needs no injection: hosts are told all the time."""
    check_body(req, INJECT)
    instance_action.start(tx, row.id, "injectNetworkInfo", req.caller)
    return Response(202)


def gone(tx: Tx, req: Request) -> Any:
    raise removed()


def routes(settings: Settings) -> list[Route]:
    return [
        action_route("lock", on_server("os-lock-server:lock", lock)),
        action_route("unlock", on_server("os-lock-server:unlock", unlock)),
        action_route("os-resetState", on_server("os-admin-actions:reset_state", reset)),
        action_route(
            "injectNetworkInfo", on_server("os-admin-actions:inject_network_info", inject, lock=True)
        ),
        action_route("resetNetwork", gone),
        action_route("os-getRDPConsole", gone),
    ]
