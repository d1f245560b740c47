"""``/v3/policies``: texts that are kept for others; they decide nothing here."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, update

from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_hex
from virga.services.identity import models
from virga.services.identity.listing import collection, rows
from virga.services.identity.resource import require_same_id, row_or_fault, split
from virga.services.identity.schema import Checker

_T = models.policy
_PROPERTIES: dict[str, Any] = {"blob": {"type": "string"}, "type": {"type": "string", "maxLength": 255}}
CREATE = Checker(
    {"type": "object", "properties": _PROPERTIES, "required": ["blob", "type"], "additionalProperties": True},
    verbose=True,
)
UPDATE = Checker(
    {"type": "object", "properties": _PROPERTIES, "minProperties": 1, "additionalProperties": True},
    verbose=True,
)


def view(req: Request, row: Any) -> dict[str, Any]:
    """A policy as clients see it."""
    return {
        **row.extra,
        "id": row.id,
        "blob": row.blob,
        "type": row.type,
        "links": {"self": req.url(f"/v3/policies/{row.id}")},
    }


def _get(tx: Tx, req: Request) -> Any:
    return row_or_fault(tx, _T, req["policy_id"], "policy")


def _body(req: Request, checker: Checker) -> dict[str, Any]:
    inner = req.body.get("policy") if isinstance(req.body, dict) else None
    checker.check(inner if inner is not None else {})
    assert isinstance(inner, dict)
    return dict(inner)


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """All policies, by type."""
    return collection(req, "policies", [view(req, row) for row in rows(tx, req, _T, ("type",))])


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One policy."""
    return {"policy": view(req, _get(tx, req))}


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """Keep a text."""
    known, extra = split(_body(req, CREATE), ("blob", "type"))
    policy_id = new_hex()
    tx.execute(insert(_T).values(id=policy_id, blob=known["blob"], type=known["type"], extra=extra))
    return {"policy": view(req, row_or_fault(tx, _T, policy_id, "policy"))}


def change(tx: Tx, req: Request) -> dict[str, Any]:
    """Change it."""
    row = _get(tx, req)
    values = _body(req, UPDATE)
    require_same_id(values, row.id)
    known, extra = split(values, ("blob", "type"))
    tx.execute(update(_T).where(_T.c.id == row.id).values(**known, extra={**row.extra, **extra}))
    return {"policy": view(req, _get(tx, req))}


def remove(tx: Tx, req: Request) -> Response:
    """Forget it."""
    row = _get(tx, req)
    tx.execute(delete(_T).where(_T.c.id == row.id))
    return Response(204)
