"""os-migrations: all moves of servers, over and under way."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import select

from virga.api.request import Request
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.lib.clock import iso_micro, parse_iso
from virga.services.compute import migration_row
from virga.services.compute.faults import Invalid
from virga.services.compute.models import migration as table
from virga.services.compute.page import after_marker, limit_of, links, next_link
from virga.services.compute.schema import (
    NON_NEGATIVE,
    TEXT,
    V21,
    Schema,
    Versioned,
    check_query,
    obj,
    several,
)
from virga.settings import Settings

_FILTERS = ("hidden", "host", "instance_uuid", "source_compute", "status", "migration_type")
_TIME = several({"type": "string", "format": "date-time"})
_OLD: Schema = dict.fromkeys(_FILTERS, several(TEXT))
_PAGED = _OLD | {"limit": several(NON_NEGATIVE), "marker": several(TEXT), "changes-since": _TIME}
_NEWEST = _PAGED | {"changes-before": _TIME, "user_id": several(TEXT), "project_id": several(TEXT)}
LIST = Versioned(
    (V21, obj(_OLD, extra=True)),
    ((2, 59), obj(_PAGED)),
    ((2, 66), obj(_PAGED | {"changes-before": _TIME})),
    ((2, 80), obj(_NEWEST)),
)


def _view(req: Request, row: Any) -> dict[str, Any]:
    version = req.microversion
    body: dict[str, Any] = {
        "id": row.number,
        "instance_uuid": row.server_id,
        "source_compute": row.source_host,
        "source_node": row.source_host,
        "dest_compute": row.destination_host,
        "dest_node": row.destination_host,
        "dest_host": None,
        "status": row.status,
        "old_instance_type_id": row.old_flavor_number,
        "new_instance_type_id": row.new_flavor_number,
        "created_at": iso_micro(row.created_at, ""),
        "updated_at": iso_micro(row.updated_at, ""),
    }
    if version >= (2, 23):
        body["migration_type"] = row.migration_type
        if row.migration_type == migration_row.LIVE and row.status in migration_row.IN_PROGRESS:
            body["links"] = links(req, f"servers/{row.server_id}/migrations", str(row.number))
    if version >= (2, 59):
        body["uuid"] = row.id
    if version >= (2, 80):
        body |= {"user_id": row.user_id, "project_id": row.project_id}
    return body


def index(tx: Tx, req: Request, *, page_limit: int) -> Any:
    asked = {name: values[-1] for name, values in check_query(req, LIST).items()}
    statement = select(table).order_by(table.c.number.desc())
    if not req.allows("os_compute_api:os-migrations:index:all_projects"):
        statement = statement.where(table.c.project_id == req.caller.project_id)
    for name, column in (
        ("instance_uuid", table.c.server_id),
        ("source_compute", table.c.source_host),
        ("status", table.c.status),
        ("migration_type", table.c.migration_type),
        ("user_id", table.c.user_id),
        ("project_id", table.c.project_id),
    ):
        if name in asked:
            statement = statement.where(column == asked[name])
    if "host" in asked:
        statement = statement.where(
            (table.c.source_host == asked["host"]) | (table.c.destination_host == asked["host"])
        )
    since, before = asked.get("changes-since"), asked.get("changes-before")
    if since and before and parse_iso(before) < parse_iso(since):
        raise Invalid("The value of changes-since must be less than or equal to changes-before.")
    if since:
        statement = statement.where(table.c.updated_at >= parse_iso(since))
    if before:
        statement = statement.where(table.c.updated_at <= parse_iso(before))
    rows = list(tx.all(statement))
    body: dict[str, Any] = {}
    if req.microversion >= (2, 59):
        rows = after_marker(rows, asked.get("marker"), limit_of(req, page_limit))
        if more := next_link(req, "/v2.1/os-migrations", [r.id for r in rows], page_limit):
            body["migrations_links"] = more
    return {"migrations": [_view(req, row) for row in rows]} | body


def routes(settings: Settings) -> list[Route]:
    return [
        Route(
            "GET",
            "/v2.1/os-migrations",
            partial(index, page_limit=settings.page_limit),
            "os_compute_api:os-migrations:index",
        )
    ]
