"""``/v3/endpoints``: under which URLs the services are reached."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import delete, insert, select, update

from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_hex
from virga.services.identity import models, service
from virga.services.identity.catalog import filled_in
from virga.services.identity.faults import ResourceNotFound, ValidationError
from virga.services.identity.listing import collection, rows
from virga.services.identity.resource import body, require_same_id, row_or_fault, split
from virga.services.identity.schema import URL, Checker, wrapped

_T = models.endpoint
_COLUMNS = ("interface", "region_id", "region", "service_id", "url", "enabled")
_PROPERTIES: dict[str, Any] = {
    "enabled": {"type": "boolean"},
    "interface": {"type": "string", "enum": ["admin", "internal", "public"]},
    "region_id": {"type": ["string", "null"]},
    "region": {"type": ["string", "null"]},
    "service_id": {"type": "string"},
    "url": URL,
    "name": {"type": "string"},
    "description": {"type": ["string", "null"]},
}
CREATE = Checker(wrapped("endpoint", _PROPERTIES, ("interface", "service_id", "url")))
UPDATE = Checker(wrapped("endpoint", _PROPERTIES, minProperties=1))


def view(req: Request, row: Any) -> dict[str, Any]:
    """An endpoint as clients see it."""
    return {
        **row.extra,
        "id": row.id,
        "interface": row.interface,
        "region_id": row.region_id,
        "service_id": row.service_id,
        "url": row.url,
        "enabled": row.enabled,
        "region": row.region_id,
        "links": {"self": req.url(f"/v3/endpoints/{row.id}")},
    }


def get(tx: Tx, endpoint_id: str) -> Any:
    """The endpoint's row. Raises ResourceNotFound."""
    return row_or_fault(tx, _T, endpoint_id, "endpoint")


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """Endpoints, by interface, service and region."""
    found = rows(tx, req, _T, ("interface", "service_id", "region_id"))
    return collection(req, "endpoints", [view(req, row) for row in found])


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One endpoint."""
    return {"endpoint": view(req, get(tx, req["endpoint_id"]))}


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """A new endpoint."""
    known, extra = split(body(req, "endpoint", CREATE), _COLUMNS)
    _check(tx, known)
    endpoint_id = new_hex()
    tx.execute(
        insert(_T).values(
            id=endpoint_id,
            interface=known["interface"],
            region_id=known.get("region_id"),
            service_id=known["service_id"],
            url=known["url"],
            enabled=known.get("enabled", True),
            extra=extra,
        )
    )
    return {"endpoint": view(req, get(tx, endpoint_id))}


def _check(tx: Tx, known: dict[str, Any]) -> None:
    """The service must exist; a region of the old style (by name) is made when missing."""
    if "service_id" in known:
        try:
            service.get(tx, known["service_id"])
        except ResourceNotFound as fault:
            raise ValidationError(fault.message) from None
    region = known.pop("region", None)
    if region is not None and "region_id" not in known:
        known["region_id"] = region
        if tx.first(select(models.region.c.id).where(models.region.c.id == region)) is None:
            tx.execute(insert(models.region).values(id=region, description="", extra={}))
    elif known.get("region_id") is not None:
        table = models.region
        if tx.first(select(table.c.id).where(table.c.id == known["region_id"])) is None:
            raise ValidationError(f"Could not find region: {known['region_id']}.")
    if "url" in known and not _is_usable(known["url"]):
        raise ValidationError(f"Cannot create an endpoint with an invalid URL: {known['url']}.")


def _is_usable(url: str) -> bool:
    names = set(re.findall(r"[$%]\(([^)]*)\)", url))
    known = {"user_id", "project_id", "tenant_id"}
    return names <= known and filled_in(url, "x", "x") is not None


def change(tx: Tx, req: Request) -> dict[str, Any]:
    """Change what is given."""
    endpoint_id = req["endpoint_id"]
    row = get(tx, endpoint_id)
    values = body(req, "endpoint", UPDATE)
    require_same_id(values, endpoint_id)
    known, extra = split(values, _COLUMNS)
    _check(tx, known)
    tx.execute(update(_T).where(_T.c.id == endpoint_id).values(**known, extra={**row.extra, **extra}))
    return {"endpoint": view(req, get(tx, endpoint_id))}


def remove(tx: Tx, req: Request) -> Response:
    """Delete the endpoint."""
    get(tx, req["endpoint_id"])
    associated = models.project_endpoint
    tx.execute(delete(associated).where(associated.c.endpoint_id == req["endpoint_id"]))
    tx.execute(delete(_T).where(_T.c.id == req["endpoint_id"]))
    return Response(204)
