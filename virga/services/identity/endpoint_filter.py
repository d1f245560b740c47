"""``/v3/OS-EP-FILTER``: which endpoints a project's catalog shows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select

from virga.api.faults import NotFound
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.services.identity import endpoint, models, project
from virga.services.identity.listing import collection

_T = models.project_endpoint


def _pair(tx: Tx, req: Request) -> tuple[str, str]:
    return project.get(tx, req["project_id"]).id, endpoint.get(tx, req["endpoint_id"]).id


def _is_there(tx: Tx, project_id: str, endpoint_id: str) -> bool:
    same = (_T.c.project_id == project_id, _T.c.endpoint_id == endpoint_id)
    return tx.first(select(_T).where(*same)) is not None


def _require(tx: Tx, req: Request) -> tuple[str, str]:
    project_id, endpoint_id = _pair(tx, req)
    if not _is_there(tx, project_id, endpoint_id):
        raise NotFound(f"Endpoint {endpoint_id} not found in project {project_id}")
    return project_id, endpoint_id


def add(tx: Tx, req: Request) -> Response:
    """Show the endpoint to the project. Idempotent."""
    project_id, endpoint_id = _pair(tx, req)
    if not _is_there(tx, project_id, endpoint_id):
        tx.execute(insert(_T).values(project_id=project_id, endpoint_id=endpoint_id))
    return Response(204)


def check(tx: Tx, req: Request) -> Response:
    """204 when it is so."""
    _require(tx, req)
    return Response(204)


def remove(tx: Tx, req: Request) -> Response:
    """No longer."""
    project_id, endpoint_id = _require(tx, req)
    tx.execute(delete(_T).where(_T.c.project_id == project_id, _T.c.endpoint_id == endpoint_id))
    return Response(204)


def endpoints(tx: Tx, req: Request) -> dict[str, Any]:
    """Endpoints of a project."""
    project.get(tx, req["project_id"])
    table = models.endpoint
    statement = select(table).join(_T, _T.c.endpoint_id == table.c.id)
    found = tx.all(statement.where(_T.c.project_id == req["project_id"]).order_by(table.c.id))
    return collection(req, "endpoints", [endpoint.view(req, row) for row in found])


def projects(tx: Tx, req: Request) -> dict[str, Any]:
    """Projects of an endpoint."""
    endpoint.get(tx, req["endpoint_id"])
    table = models.project
    statement = select(table).join(_T, _T.c.project_id == table.c.id)
    found = tx.all(statement.where(_T.c.endpoint_id == req["endpoint_id"]).order_by(table.c.id))
    return collection(req, "projects", project.views(tx, req, found))
