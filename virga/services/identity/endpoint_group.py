"""``/v3/OS-EP-FILTER/endpoint_groups``: endpoints by their properties, shown to projects together."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, update

from virga.api.faults import NotFound
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_hex
from virga.services.identity import endpoint, models, project
from virga.services.identity.faults import ValidationError
from virga.services.identity.listing import collection, rows
from virga.services.identity.resource import body
from virga.services.identity.schema import Checker, wrapped

_T = models.endpoint_group
_P = models.project_endpoint_group
FILTERS = ("service_id", "region_id", "interface")
_PROPERTIES: dict[str, Any] = {
    "name": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": {"type": ["string", "null"]},
    "filters": {"type": "object"},
}
CREATE = Checker(wrapped("endpoint_group", _PROPERTIES, ("name", "filters")))
UPDATE = Checker(wrapped("endpoint_group", _PROPERTIES, minProperties=1))


def _view(req: Request, row: Any) -> dict[str, Any]:
    url = req.url(f"/v3/OS-EP-FILTER/endpoint_groups/{row.id}")
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "filters": row.filters,
        "links": {"self": url},
    }


def _get(tx: Tx, key: str) -> Any:
    row = tx.first(select(_T).where(_T.c.id == key))
    if row is None:
        raise NotFound(f"Could not find Endpoint Group: {key}.")
    return row


def _values(req: Request, checker: Checker) -> dict[str, Any]:
    values = body(req, "endpoint_group", checker)
    for name in values.get("filters", {}):
        if name not in FILTERS:
            raise ValidationError(
                f"Expecting to find one of: {', '.join(FILTERS)} in endpoint group filters. The server could not "
                "comply with the request since it is either malformed or otherwise incorrect. The client is "
                "assumed to be in error."
            )
    return {name: values[name] for name in ("name", "description", "filters") if name in values}


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """All endpoint groups, by name."""
    return collection(req, "endpoint_groups", [_view(req, row) for row in rows(tx, req, _T, ("name",))])


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One of them."""
    return {"endpoint_group": _view(req, _get(tx, req["endpoint_group_id"]))}


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """A new one."""
    values = {"description": None, **_values(req, CREATE), "id": new_hex()}
    tx.execute(insert(_T).values(**values))
    return {"endpoint_group": _view(req, _get(tx, values["id"]))}


def change(tx: Tx, req: Request) -> dict[str, Any]:
    """Change it."""
    row = _get(tx, req["endpoint_group_id"])
    values = _values(req, UPDATE)
    if "filters" in values:
        values["filters"] = {**row.filters, **values["filters"]}
    if values:
        tx.execute(update(_T).where(_T.c.id == row.id).values(**values))
    return show(tx, req)


def remove(tx: Tx, req: Request) -> Response:
    """Delete it."""
    row = _get(tx, req["endpoint_group_id"])
    tx.execute(delete(_P).where(_P.c.endpoint_group_id == row.id))
    tx.execute(delete(_T).where(_T.c.id == row.id))
    return Response(204)


def endpoints(tx: Tx, req: Request) -> dict[str, Any]:
    """The endpoints that fit."""
    row = _get(tx, req["endpoint_group_id"])
    table = models.endpoint
    if not all(isinstance(value, str | bool) for value in row.filters.values()):
        # Filters are kept as they come; no endpoint equals a list.
        return collection(req, "endpoints", [])
    where = [table.c[name] == value for name, value in row.filters.items() if name in FILTERS]
    found = tx.all(select(table).where(*where).order_by(table.c.id))
    return collection(req, "endpoints", [endpoint.view(req, item) for item in found])


def _pair(tx: Tx, req: Request) -> tuple[str, str]:
    return project.get(tx, req["project_id"]).id, _get(tx, req["endpoint_group_id"]).id


def add_project(tx: Tx, req: Request) -> Response:
    """Show the group to the project. Idempotent."""
    project_id, group_id = _pair(tx, req)
    if not _is_there(tx, project_id, group_id):
        tx.execute(insert(_P).values(project_id=project_id, endpoint_group_id=group_id))
    return Response(204)


def _is_there(tx: Tx, project_id: str, group_id: str) -> bool:
    same = (_P.c.project_id == project_id, _P.c.endpoint_group_id == group_id)
    return tx.first(select(_P).where(*same)) is not None


def _require(tx: Tx, req: Request) -> tuple[str, str]:
    project_id, group_id = _pair(tx, req)
    if not _is_there(tx, project_id, group_id):
        raise NotFound("Endpoint Group Project Association not found")
    return project_id, group_id


def show_project(tx: Tx, req: Request) -> dict[str, Any]:
    """The group, when the project sees it."""
    _require(tx, req)
    return show(tx, req)


def remove_project(tx: Tx, req: Request) -> Response:
    """No longer."""
    project_id, group_id = _require(tx, req)
    tx.execute(delete(_P).where(_P.c.project_id == project_id, _P.c.endpoint_group_id == group_id))
    return Response(204)


def projects(tx: Tx, req: Request) -> dict[str, Any]:
    """Projects that see the group."""
    row = _get(tx, req["endpoint_group_id"])
    table = models.project
    statement = select(table).join(_P, _P.c.project_id == table.c.id)
    found = tx.all(statement.where(_P.c.endpoint_group_id == row.id).order_by(table.c.id))
    return collection(req, "projects", project.views(tx, req, found))


def of_project(tx: Tx, req: Request) -> dict[str, Any]:
    """Groups that a project sees."""
    project.get(tx, req["project_id"])
    statement = select(_T).join(_P, _P.c.endpoint_group_id == _T.c.id)
    found = tx.all(statement.where(_P.c.project_id == req["project_id"]).order_by(_T.c.id))
    return collection(req, "endpoint_groups", [_view(req, row) for row in found])
