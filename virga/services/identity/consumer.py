"""``/v3/OS-OAUTH1/consumers``: programs that are registered by name; they cannot log in by that alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, update

from virga.api.faults import NotFound
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_hex
from virga.services.identity.faults import ValidationError
from virga.services.identity.listing import collection
from virga.services.identity.models import consumer as table
from virga.services.identity.resource import require_same_id, split
from virga.services.identity.schema import Checker

_COLUMNS = ("description",)
CREATE = Checker(
    {"type": "object", "properties": {"description": {"type": ["string", "null"]}}}, verbose=True
)
UPDATE = Checker(
    {
        "type": "object",
        "properties": {"description": {"type": ["string", "null"]}},
        "not": {"required": ["secret"]},
        "minProperties": 1,
    },
    verbose=True,
)


def _view(req: Request, row: Any) -> dict[str, Any]:
    url = req.url(f"/v3/OS-OAUTH1/consumers/{row.id}")
    return {**row.extra, "id": row.id, "description": row.description, "links": {"self": url}}


def _get(tx: Tx, key: str) -> Any:
    row = tx.first(select(table).where(table.c.id == key))
    if row is None:
        raise NotFound(f"Could not find Consumer: {key}.")
    return row


def _body(req: Request, checker: Checker) -> dict[str, Any]:
    inner = req.body.get("consumer") if isinstance(req.body, dict) else None
    checker.check(inner if inner is not None else {})
    if inner is None:
        raise ValidationError("{} does not have enough properties")
    return dict(inner)


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """All consumers."""
    found = tx.all(select(table).order_by(table.c.id))
    return collection(req, "consumers", [_view(req, row) for row in found])


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One of them."""
    return {"consumer": _view(req, _get(tx, req["consumer_id"]))}


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """A new one; the answer is the only place where its secret is seen."""
    known, extra = split(_body(req, CREATE), _COLUMNS)
    extra.pop("secret", None)
    consumer_id, secret = new_hex(), new_hex()
    values = {"id": consumer_id, "secret": secret, "description": known.get("description"), "extra": extra}
    tx.execute(insert(table).values(**values))
    return {"consumer": {**_view(req, _get(tx, consumer_id)), "secret": secret}}


def change(tx: Tx, req: Request) -> dict[str, Any]:
    """Describe it."""
    row = _get(tx, req["consumer_id"])
    values = _body(req, UPDATE)
    require_same_id(values, row.id)
    known, extra = split(values, _COLUMNS)
    tx.execute(update(table).where(table.c.id == row.id).values(**known, extra={**row.extra, **extra}))
    return show(tx, req)


def remove(tx: Tx, req: Request) -> Response:
    """Delete it."""
    row = _get(tx, req["consumer_id"])
    tx.execute(delete(table).where(table.c.id == row.id))
    return Response(204)
