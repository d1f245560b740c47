"""The log of what was done to a server: actions by request id, and their events."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

from sqlalchemy import insert, select, update

from virga.api.request import Request
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.lib.clock import iso_micro, parse_iso
from virga.services.compute.faults import Invalid, NotFoundHere, server_not_found
from virga.services.compute.models import instance_action as table
from virga.services.compute.models import instance_action_event as events
from virga.services.compute.models import server
from virga.services.compute.page import limit_of, marker_not_found, next_link
from virga.services.compute.schema import NON_NEGATIVE, TEXT, V21, Versioned, check_query, obj, single
from virga.settings import Settings

_TIME = single({"type": "string", "format": "date-time"})
_QUERY = {"limit": single(NON_NEGATIVE), "marker": single(TEXT), "changes-since": _TIME}
LIST = Versioned(
    (V21, obj({}, extra=True)),
    ((2, 58), obj(_QUERY)),
    ((2, 66), obj(_QUERY | {"changes-before": _TIME})),
)


def start(tx: Tx, server_id: str, action: str, caller: Any, message: str | None = None) -> None:
    """Note that ``action`` was asked for."""
    tx.execute(
        insert(table).values(
            server_id=server_id,
            request_id=tx.request_id,
            action=action,
            user_id=caller.user_id,
            project_id=caller.project_id or "",
            message=message,
            started_at=tx.now,
            updated_at=tx.now,
        )
    )
    tx.execute(update(server).where(server.c.id == server_id).values(action_request_id=tx.request_id))


def _latest(tx: Tx, server_id: str, request_id: str) -> Any:
    statement = select(table).where(table.c.server_id == server_id).order_by(table.c.number.desc())
    if request_id:
        found = tx.first(statement.where(table.c.request_id == request_id))
        if found is not None:
            return found
    return tx.first(statement)


def event(tx: Tx, server_id: str, name: str, host: str | None, request_id: str = "") -> None:
    """Note that a part of the latest action began."""
    row = _latest(tx, server_id, request_id)
    if row is None:
        return
    tx.execute(insert(events).values(action_number=row.number, event=name, host=host, started_at=tx.now))
    tx.execute(update(table).where(table.c.number == row.number).values(updated_at=tx.now))


def finish(tx: Tx, server_id: str, name: str, error: str | None = None) -> None:
    """Note how the event ended; an error also marks the action."""
    statement = (
        select(events.c.number, events.c.action_number)
        .join(table, table.c.number == events.c.action_number)
        .where(table.c.server_id == server_id, events.c.event == name, events.c.finished_at.is_(None))
        .order_by(events.c.number.desc())
    )
    row = tx.first(statement)
    if row is None:
        return
    result = "Success" if error is None else "Error"
    tx.execute(
        update(events)
        .where(events.c.number == row.number)
        .values(finished_at=tx.now, result=result, details=error)
    )
    values: dict[str, Any] = {"updated_at": tx.now}
    if error is not None:
        values["message"] = "Error"
    tx.execute(update(table).where(table.c.number == row.action_number).values(**values))


def finish_all(tx: Tx, server_id: str, error: str | None = None) -> None:
    """End every event that is still open."""
    names = tx.all(
        select(events.c.event)
        .join(table, table.c.number == events.c.action_number)
        .where(table.c.server_id == server_id, events.c.finished_at.is_(None))
    )
    for row in names:
        finish(tx, server_id, row.event, error)


# --- URLs ----------------------------------------------------------------------------------------------


def _server(tx: Tx, req: Request, rule: str) -> Any:
    """Deleted servers keep their log from 2.21 on."""
    row = tx.first(select(server).where(server.c.id == req["server_id"]))
    if row is None or (row.deleted and req.microversion < (2, 21)):
        raise server_not_found(req["server_id"])
    if not req.caller.is_admin and row.project_id != req.caller.project_id:
        raise server_not_found(req["server_id"])
    req.enforce(f"os_compute_api:os-instance-actions:{rule}", {"project_id": row.project_id})
    return row


def _view(req: Request, row: Any) -> dict[str, Any]:
    body = {
        "action": row.action,
        "instance_uuid": row.server_id,
        "request_id": row.request_id,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "start_time": iso_micro(row.started_at, ""),
        "message": row.message,
    }
    if req.microversion >= (2, 58):
        body["updated_at"] = iso_micro(row.updated_at, "")
    return body


def _event_view(req: Request, row: Any, project_id: str) -> dict[str, Any]:
    body = {
        "event": row.event,
        "start_time": iso_micro(row.started_at, ""),
        "finish_time": iso_micro(row.finished_at, ""),
        "result": row.result,
    }
    version = req.microversion
    admin = req.allows("os_compute_api:os-instance-actions:events", {"project_id": project_id})
    if version < (2, 51) or admin:
        body["traceback"] = row.details
    if version >= (2, 62):
        body["hostId"] = hashlib.sha224((project_id + row.host).encode()).hexdigest() if row.host else ""
        if admin:
            body["host"] = row.host
    if version >= (2, 84):
        body["details"] = row.details
    return body


def index(tx: Tx, req: Request, *, page_limit: int) -> Any:
    row = _server(tx, req, "list")
    asked = check_query(req, LIST)
    statement = select(table).where(table.c.server_id == row.id)
    paged = req.microversion >= (2, 58)
    since, before = asked.get("changes-since"), asked.get("changes-before")
    if since and before and parse_iso(before[0]) < parse_iso(since[0]):
        raise Invalid("The value of changes-since must be less than or equal to changes-before.")
    if since:
        statement = statement.where(table.c.updated_at >= parse_iso(since[0]))
    if before:
        statement = statement.where(table.c.updated_at <= parse_iso(before[0]))
    if paged and (marker := req.param("marker")):
        at = tx.first(select(table.c.number).where(table.c.server_id == row.id, table.c.request_id == marker))
        if at is None:
            raise marker_not_found(marker)
        statement = statement.where(table.c.number < at.number)
    statement = statement.order_by(table.c.number.desc())
    found = tx.all(statement.limit(limit_of(req, page_limit)) if paged else statement)
    body: dict[str, Any] = {"instanceActions": [_view(req, r) for r in found]}
    path = f"/v2.1/servers/{row.id}/os-instance-actions"
    if paged and (more := next_link(req, path, [r.request_id for r in found], page_limit)):
        body["links"] = more
    return body


def show(tx: Tx, req: Request) -> Any:
    owner = _server(tx, req, "show")
    row = tx.first(
        select(table).where(table.c.server_id == owner.id, table.c.request_id == req["request_id"])
    )
    if row is None:
        raise NotFoundHere(f"Action {req['request_id']} not found")
    body = _view(req, row)
    target = {"project_id": owner.project_id}
    if req.microversion >= (2, 51) or req.allows("os_compute_api:os-instance-actions:events", target):
        found = tx.all(
            select(events).where(events.c.action_number == row.number).order_by(events.c.number.desc())
        )
        body["events"] = [_event_view(req, e, owner.project_id) for e in found]
    return {"instanceAction": body}


def routes(settings: Settings) -> list[Route]:
    at = "/v2.1/servers/{server_id}/os-instance-actions"
    return [
        Route("GET", at, partial(index, page_limit=settings.page_limit), AUTHENTICATED),
        Route("GET", at + "/{request_id}", show, AUTHENTICATED),
    ]
