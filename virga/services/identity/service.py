"""``/v3/services``: what the cloud offers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, update

from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_hex
from virga.services.identity import models
from virga.services.identity.listing import collection, filtered
from virga.services.identity.resource import body, require_same_id, row_or_fault, split
from virga.services.identity.schema import Checker, wrapped

_T = models.service
_TEXT = {"type": "string", "minLength": 1, "maxLength": 255}
_PROPERTIES: dict[str, Any] = {"enabled": {"type": "boolean"}, "type": _TEXT, "name": _TEXT}
CREATE = Checker(wrapped("service", _PROPERTIES, ("type",)))
UPDATE = Checker(wrapped("service", _PROPERTIES, minProperties=1))


def view(req: Request, row: Any) -> dict[str, Any]:
    """A service as clients see it."""
    shown = {"name": "", **row.extra}
    return {
        **shown,
        "id": row.id,
        "type": row.type,
        "enabled": row.enabled,
        "links": {"self": req.url(f"/v3/services/{row.id}")},
    }


def get(tx: Tx, service_id: str) -> Any:
    """The service's row. Raises ResourceNotFound."""
    return row_or_fault(tx, _T, service_id, "service")


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """All services, by type and name."""
    shown = [view(req, row) for row in tx.all(select(_T).order_by(_T.c.id))]
    return collection(req, "services", filtered(req, shown, ("type", "name")))


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One service."""
    return {"service": view(req, get(tx, req["service_id"]))}


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """A new service."""
    known, extra = split(body(req, "service", CREATE), ("type", "enabled"))
    service_id = new_hex()
    tx.execute(
        insert(_T).values(id=service_id, type=known["type"], enabled=known.get("enabled", True), extra=extra)
    )
    return {"service": view(req, get(tx, service_id))}


def change(tx: Tx, req: Request) -> dict[str, Any]:
    """Rename, describe, enable or disable."""
    service_id = req["service_id"]
    row = get(tx, service_id)
    values = body(req, "service", UPDATE)
    require_same_id(values, service_id)
    known, extra = split(values, ("type", "enabled"))
    tx.execute(update(_T).where(_T.c.id == service_id).values(**known, extra={**row.extra, **extra}))
    return {"service": view(req, get(tx, service_id))}


def remove(tx: Tx, req: Request) -> Response:
    """Delete the service with its endpoints."""
    service_id = req["service_id"]
    get(tx, service_id)
    table = models.endpoint
    ids = [row.id for row in tx.all(select(table.c.id).where(table.c.service_id == service_id))]
    associated = models.project_endpoint
    tx.execute(delete(associated).where(associated.c.endpoint_id.in_(ids)))
    tx.execute(delete(table).where(table.c.service_id == service_id))
    tx.execute(delete(_T).where(_T.c.id == service_id))
    return Response(204)
