"""``/v2/tasks``: what is going on in the background, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from sqlalchemy import insert, select, update

from virga.api.faults import BadRequest, NotFound
from virga.api.request import Request
from virga.db.tx import Tx
from virga.lib.ids import is_uuid_like, new_uuid
from virga.services.image import access
from virga.services.image.fetch import is_fetchable
from virga.services.image.limits import PAGE_DEFAULT, PAGE_MAX
from virga.services.image.models import image_task as table
from virga.services.image.view import task_view

STATUSES = ("pending", "processing", "success", "failure")
TYPES = ("import", "api_image_import", "location_import")
KEPT_US = 48 * 3600 * 1_000_000
"""How long a finished task can still be looked at."""
JOB = "image.task"


class TaskArguments(msgspec.Struct):
    """What the job of a task of type ``import`` is told."""

    task_id: str


def add(tx: Tx, req: Request, kind: str, image_id: str | None, given: Mapping[str, Any]) -> str:
    """A pending task; returns its id."""
    task_id = new_uuid()
    tx.execute(
        insert(table).values(
            id=task_id,
            type=kind,
            status="pending",
            owner=req.caller.project_id,
            user_id=req.caller.user_id,
            image_id=image_id,
            request_id=req.request_id,
            input=dict(given),
            result=None,
            message="",
            created_at=tx.now,
            updated_at=tx.now,
        )
    )
    return task_id


def begin(tx: Tx, task_id: str) -> None:
    """The job has started."""
    tx.execute(update(table).where(table.c.id == task_id).values(status="processing", updated_at=tx.now))


def finish(tx: Tx, task_id: str, image_id: str | None, problem: str | None) -> None:
    """The job has ended: ``problem`` says how it failed, None that it did not."""
    values: dict[str, Any] = {"updated_at": tx.now, "expires_at": tx.now + KEPT_US}
    if problem is None:
        values |= {"status": "success", "result": {"image_id": image_id}, "message": ""}
    else:
        values |= {"status": "failure", "message": problem}
    tx.execute(update(table).where(table.c.id == task_id).values(**values))


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """Leave a task of type ``import``: an image made from a URL."""
    body = req.body
    if not isinstance(body, Mapping):
        raise BadRequest("Body expected in request.")
    for name in ("type", "input"):
        if name not in body:
            raise BadRequest(f"Task '{name}' is required")
    kind, given = body["type"], body["input"]
    if kind not in TYPES:
        raise BadRequest(f"Provided type of task is unsupported: {kind}")
    if not isinstance(given, Mapping):
        raise BadRequest(f"Provided object does not match schema 'task': {given!r} is not of type 'object'")
    if kind == "import":
        for name in ("import_from", "import_from_format", "image_properties"):
            if name not in given:
                raise BadRequest(f"Input does not contain '{name}' field")
        if not is_fetchable(str(given["import_from"])):
            raise BadRequest(f"URI for import does not pass filtering: {given['import_from']}")
    task_id = add(tx, req, kind, given.get("image_id"), given)
    tx.job(JOB, f"task:{task_id}", TaskArguments(task_id))
    row = tx.first(select(table).where(table.c.id == task_id))
    assert row is not None
    req.response_headers["location"] = req.url(f"/v2/tasks/{task_id}")
    return task_view(row)


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One task."""
    row = tx.first(select(table).where(table.c.id == req["task_id"]))
    if row is None or not (req.caller.is_admin or row.owner == req.caller.project_id):
        raise NotFound(f"Task with the given id {req['task_id']} was not found")
    return task_view(row)


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """A page of tasks."""
    values = dict(req.query)
    limit = _limit(values.get("limit"))
    key, direction = values.get("sort_key", "created_at"), values.get("sort_dir", "desc")
    if direction not in ("asc", "desc"):
        raise BadRequest(f"Invalid sort direction: {direction}")
    if key not in ("id", "type", "status", "owner", "created_at", "updated_at", "expires_at"):
        raise BadRequest(f"Sort key supplied was not valid: {key}")
    where = []
    if "status" in values:
        if values["status"] not in STATUSES:
            raise BadRequest(f"Invalid status value: {values['status']}")
        where.append(table.c.status == values["status"])
    if "type" in values:
        if values["type"] not in TYPES:
            raise BadRequest(f"Invalid type value: {values['type']}")
        where.append(table.c.type == values["type"])
    if not req.caller.is_admin:
        where.append(table.c.owner == req.caller.project_id)
    column = table.c[key]
    order = (column.desc(), table.c.id.desc()) if direction == "desc" else (column.asc(), table.c.id.asc())
    rows = list(tx.all(select(table).where(*where).order_by(*order)))
    rows = _after(rows, values.get("marker"))
    shown = rows[:limit]
    query = {name: value for name, value in values.items() if name != "marker"}
    body: dict[str, Any] = {
        "tasks": [task_view(row, with_details=False) for row in shown],
        "first": "/v2/tasks" + (f"?{urlencode(query)}" if query else ""),
        "schema": "/v2/schemas/tasks",
    }
    if shown and len(shown) == limit:
        body["next"] = "/v2/tasks?" + urlencode({**query, "marker": shown[-1].id})
    return body


def _after(rows: list[Any], marker: str | None) -> list[Any]:
    if marker is None:
        return rows
    if not is_uuid_like(marker):
        raise BadRequest("Invalid marker format")
    positions = [number for number, row in enumerate(rows) if row.id == marker]
    if not positions:
        raise BadRequest(f"Task with the given id {marker} was not found")
    return rows[positions[0] + 1 :]


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE_DEFAULT
    try:
        value = int(text)
    except ValueError:
        raise BadRequest("limit param must be an integer") from None
    if value < 0:
        raise BadRequest("limit param must be positive")
    return min(value, PAGE_MAX)


def index_of_image(tx: Tx, req: Request) -> dict[str, Any]:
    """Tasks about one image."""
    image = access.visible(tx, req)
    rows = tx.all(select(table).where(table.c.image_id == image.id).order_by(table.c.created_at.desc()))
    return {"tasks": [task_view(row) for row in rows]}
