"""``/v3/projects/{id}/tags``: words put on projects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, insert, select

from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.services.identity import models
from virga.services.identity.faults import ResourceNotFound
from virga.services.identity.resource import row_or_fault
from virga.services.identity.schema import Checker

_T = models.project_tag
NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^,/]*$"}
LIST: dict[str, Any] = {"type": "array", "items": NAME, "maxItems": 80, "uniqueItems": True}
BODY = Checker(
    {
        "type": "object",
        "properties": {"tags": LIST},
        "required": ["tags"],
        "additionalProperties": False,
    }
)
ONE = Checker(NAME, verbose=True)
ALL = Checker(LIST, verbose=True)


def tags_of(tx: Tx, project_ids: list[str]) -> dict[str, list[str]]:
    """Tags by project: one query for each five hundred."""
    found: dict[str, list[str]] = {}
    for start in range(0, len(project_ids), 500):
        part = project_ids[start : start + 500]
        for row in tx.all(select(_T).where(_T.c.project_id.in_(part)).order_by(_T.c.name)):
            found.setdefault(row.project_id, []).append(row.name)
    return found


def replace_tags(tx: Tx, project_id: str, tags: Iterable[str]) -> None:
    """Set the tags to exactly these."""
    tx.execute(delete(_T).where(_T.c.project_id == project_id))
    rows = [{"project_id": project_id, "name": name} for name in dict.fromkeys(tags)]
    if rows:
        tx.execute(insert(_T), rows)


def _tags(tx: Tx, req: Request) -> list[str]:
    project_id = req["project_id"]
    row_or_fault(tx, models.project, project_id, "project")
    return tags_of(tx, [project_id]).get(project_id, [])


def _body(req: Request, tags: list[str]) -> dict[str, Any]:
    return {"links": {"self": req.url(req.path)}, "tags": tags}


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """All tags of the project."""
    return _body(req, _tags(tx, req))


def put_all(tx: Tx, req: Request) -> dict[str, Any]:
    """Replace them."""
    _tags(tx, req)
    BODY.check(req.body if req.body is not None else {})
    replace_tags(tx, req["project_id"], req.body["tags"])
    return _body(req, _tags(tx, req))


def remove_all(tx: Tx, req: Request) -> Response:
    """Take them all off."""
    _tags(tx, req)
    replace_tags(tx, req["project_id"], [])
    return Response(204)


def show(tx: Tx, req: Request) -> Response:
    """Whether the tag is there."""
    if req["tag"] not in _tags(tx, req):
        raise ResourceNotFound("project tag", req["tag"])
    return Response(204)


def put(tx: Tx, req: Request) -> Response:
    """Put one on."""
    tags = _tags(tx, req)
    ONE.check(req["tag"])
    wanted = [*tags, req["tag"]] if req["tag"] not in tags else tags
    ALL.check(wanted)
    replace_tags(tx, req["project_id"], wanted)
    return Response(201, None, {"location": req.url(req.path)})


def remove(tx: Tx, req: Request) -> Response:
    """Take one off."""
    tags = _tags(tx, req)
    if req["tag"] not in tags:
        raise ResourceNotFound("project tag", req["tag"])
    replace_tags(tx, req["project_id"], [tag for tag in tags if tag != req["tag"]])
    return Response(204)
