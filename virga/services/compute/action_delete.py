"""forceDelete and restore: deferred deletes, which this cloud does not keep."""

from __future__ import annotations

from typing import Any

from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.services.compute import server_delete, states
from virga.services.compute.action import action_route
from virga.services.compute.schema import always, check_body, obj
from virga.services.compute.server import Server, check_lock, check_state, on_server
from virga.settings import Settings

FORCE = always(obj({"forceDelete": {}}, ["forceDelete"]))
RESTORE = always(obj({"restore": {}}, ["restore"]))


def force(tx: Tx, req: Request, row: Server) -> Any:
    check_body(req, FORCE)
    check_lock(row, req.caller)
    server_delete.begin(tx, row, req.caller, "forceDelete")
    return Response(202)


def restore(tx: Tx, req: Request, row: Server) -> Any:
    """Servers are deleted at once, so there is never one to restore."""
    check_body(req, RESTORE)
    check_state(row, "restore", (states.SOFT_DELETED,), None, False)
    return Response(202)


def routes(settings: Settings) -> list[Route]:
    return [
        action_route("forceDelete", on_server("os-deferred-delete:force", force)),
        action_route("restore", on_server("os-deferred-delete:restore", restore)),
    ]
