"""``/v3/regions``: where endpoints are, in a hierarchy."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, update

from virga.api.faults import Fault, Forbidden
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_hex
from virga.services.identity import models
from virga.services.identity.faults import ResourceConflict, ValidationError
from virga.services.identity.listing import collection
from virga.services.identity.resource import body, row_or_fault, split
from virga.services.identity.schema import Checker, wrapped

_T = models.region
_COLUMNS = ("description", "parent_region_id")
_ID = {"type": ["string", "null"], "minLength": 1, "maxLength": 255}
_PROPERTIES: dict[str, Any] = {
    "description": {"type": ["string", "null"], "maxLength": 255},
    "parent_region_id": _ID,
}
CREATE = Checker(wrapped("region", {"id": {**_ID, "minLength": 0}, **_PROPERTIES}))
UPDATE = Checker(wrapped("region", {"id": _ID, **_PROPERTIES}, minProperties=1))


def view(req: Request, row: Any) -> dict[str, Any]:
    """A region as clients see it."""
    return {
        **row.extra,
        "id": row.id,
        "description": row.description,
        "parent_region_id": row.parent_region_id,
        "links": {"self": req.url(f"/v3/regions/{row.id}")},
    }


def get(tx: Tx, region_id: str) -> Any:
    """The region's row. Raises ResourceNotFound."""
    return row_or_fault(tx, _T, region_id, "region")


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """All regions, or those under one."""
    statement = select(_T).order_by(_T.c.id)
    parent = req.param("parent_region_id")
    if parent is not None:
        statement = statement.where(_T.c.parent_region_id == parent)
    return collection(req, "regions", [view(req, row) for row in tx.all(statement)])


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One region."""
    return {"region": view(req, get(tx, req["region_id"]))}


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """A new region; the id may be given."""
    values = body(req, "region", CREATE)
    return _create(tx, req, values.get("id") or new_hex(), values)


def create_named(tx: Tx, req: Request) -> dict[str, Any]:
    """The same with the id in the URL."""
    values = body(req, "region", CREATE)
    region_id = req["region_id"]
    if values.get("id") not in (None, "", region_id):
        raise ValidationError(f'Conflicting region IDs specified: "{region_id}" != "{values["id"]}"')
    return _create(tx, req, region_id, values)


def _create(tx: Tx, req: Request, region_id: str, values: dict[str, Any]) -> dict[str, Any]:
    known, extra = split(values, _COLUMNS)
    if tx.first(select(_T.c.id).where(_T.c.id == region_id)) is not None:
        raise ResourceConflict("region", f"Duplicate ID, {region_id}.")
    _check_parent(tx, region_id, known.get("parent_region_id"))
    tx.execute(
        insert(_T).values(
            id=region_id,
            description=known.get("description") or "",
            parent_region_id=known.get("parent_region_id"),
            extra=extra,
        )
    )
    return {"region": view(req, get(tx, region_id))}


def _check_parent(tx: Tx, region_id: str, parent_id: str | None) -> None:
    current = parent_id
    while current is not None:
        if current == region_id:
            raise ValidationError(
                f"The specified parent region {parent_id} would create a circular region hierarchy."
            )
        current = get(tx, current).parent_region_id


def change(tx: Tx, req: Request) -> dict[str, Any]:
    """Describe or move."""
    region_id = req["region_id"]
    row = get(tx, region_id)
    values = body(req, "region", UPDATE)
    if values.get("id", region_id) != region_id:
        raise ValidationError("Cannot change region ID")
    known, extra = split(values, _COLUMNS)
    if "parent_region_id" in known:
        _check_parent(tx, region_id, known["parent_region_id"])
    if "description" in known:
        known["description"] = known["description"] or ""
    if extra:
        known["extra"] = {**row.extra, **extra}
    if known:
        tx.execute(update(_T).where(_T.c.id == region_id).values(**known))
    return {"region": view(req, get(tx, region_id))}


def remove(tx: Tx, req: Request) -> Response:
    """Delete the region and those under it, unless endpoints are there."""
    region_id = req["region_id"]
    get(tx, region_id)
    gone = [region_id]
    for current in gone:
        gone += [row.id for row in tx.all(select(_T.c.id).where(_T.c.parent_region_id == current))]
    table = models.endpoint
    if tx.first(select(table.c.id).where(table.c.region_id.in_(gone))) is not None:
        raise _in_use(region_id)
    tx.execute(delete(_T).where(_T.c.id.in_(gone)))
    return Response(204)


def _in_use(region_id: str) -> Fault:
    return Forbidden(
        f"Unable to delete region {region_id} because it or its child regions have associated endpoints."
    )
