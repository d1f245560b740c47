"""os-migrations and the migrations of one server; live migration, which our hosts cannot do."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import select

from virga.api.request import Request
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.lib.clock import iso_micro, parse_iso
from virga.services.compute import build, scheduler, states
from virga.services.compute.action import action_route
from virga.services.compute.faults import Invalid, NotFoundHere
from virga.services.compute.models import migration as table
from virga.services.compute.page import after_marker, limit_of, next_link
from virga.services.compute.schema import (
    BOOLEAN,
    FQDN,
    NON_NEGATIVE,
    TEXT,
    V21,
    Schema,
    Versioned,
    changed,
    check_body,
    check_query,
    obj,
    several,
    wrapped,
)
from virga.services.compute.server import Server, check_lock, check_state, on_server, target_of
from virga.settings import Settings

_HOST = FQDN | {"type": ["string", "null"]}
_LIVE = wrapped(
    "os-migrateLive",
    obj(
        {"block_migration": BOOLEAN, "disk_over_commit": BOOLEAN, "host": _HOST},
        ["block_migration", "disk_over_commit", "host"],
    ),
)
_AUTO = BOOLEAN | {"enum": [*BOOLEAN["enum"], "auto"]}
_LIVE_225 = wrapped(
    "os-migrateLive", obj({"block_migration": _AUTO, "host": _HOST}, ["block_migration", "host"])
)
LIVE = Versioned(
    (V21, _LIVE),
    ((2, 25), _LIVE_225),
    ((2, 30), changed(_LIVE_225, "os-migrateLive", force=BOOLEAN)),
    ((2, 68), _LIVE_225),
)
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
CANCELLABLE = ("queued", "preparing", "running")


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


# --- of one server -------------------------------------------------------------------------------------


def _live(tx: Tx, row: Server) -> list[Any]:
    return list(
        tx.all(
            select(table).where(
                table.c.server_id == row.id,
                table.c.migration_type == "live-migration",
                table.c.status.in_(CANCELLABLE),
            )
        )
    )


def of_server(tx: Tx, req: Request, row: Server) -> Any:
    return {"migrations": [_view(req, found) for found in _live(tx, row)]}


def one_of_server(tx: Tx, req: Request, row: Server) -> Any:
    raise NotFoundHere(
        f"In-progress live migration with ID {req['migration_id']} was not found for server {row.id}."
    )


def live(tx: Tx, req: Request, row: Server, settings: Settings) -> Any:
    """Refused, and nothing changed: the memory of our guests cannot move while they run."""
    asked = check_body(req, LIVE)["os-migrateLive"]
    if asked.get("host"):
        req.enforce("os_compute_api:os-migrate-server:migrate_live:host", target_of(row))
    check_lock(row, req.caller)
    check_state(row, "os-migrateLive", (states.ACTIVE, states.PAUSED))
    if asked.get("host") and asked["host"] not in {c.host for c in scheduler.candidates(tx)}:
        raise Invalid(f"Compute host {asked['host']} could not be found.", type="ComputeHostNotFound")
    if asked.get("host") == row.host:
        raise Invalid(f"Unable to migrate instance ({row.id}) to current host ({row.host}).")
    try:
        build.choose(tx, row, settings, exclude=[row.host], only=asked.get("host"))
    except build.NoHost:
        raise Invalid("No valid host was found. There are not enough hosts available.") from None
    raise Invalid(
        "Migration pre-check error: the hypervisor of this cloud cannot move the memory of a running server. "
        "Use cold migration.",
        type="MigrationPreCheckError",
    )


def routes(settings: Settings) -> list[Route]:
    at = "/v2.1/servers/{server_id}/migrations"
    one = at + "/{migration_id}"
    rule = "servers:migrations:"
    least = (2, 23)

    def on_live(tx: Tx, req: Request, row: Server) -> Any:
        return live(tx, req, row, settings)

    return [
        Route(
            "GET",
            "/v2.1/os-migrations",
            partial(index, page_limit=settings.page_limit),
            "os_compute_api:os-migrations:index",
        ),
        Route("GET", at, on_server(rule + "index", of_server), AUTHENTICATED, min_version=least),
        Route("GET", one, on_server(rule + "show", one_of_server), AUTHENTICATED, min_version=least),
        Route("DELETE", one, on_server(rule + "delete", one_of_server), AUTHENTICATED, min_version=(2, 24)),
        Route(
            "POST",
            one + "/action",
            on_server(rule + "force_complete", one_of_server),
            AUTHENTICATED,
            min_version=(2, 22),
        ),
        action_route("os-migrateLive", on_server("os-migrate-server:migrate_live", on_live)),
    ]
