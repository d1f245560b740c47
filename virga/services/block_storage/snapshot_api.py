"""Snapshots over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.services.block_storage import schema, snapshot, volume, volume_list
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Invalid, snapshot_not_found
from virga.services.block_storage.metadata import MetadataOf
from virga.services.block_storage.models import volume_snapshot as table
from virga.services.block_storage.schema import Body, obj, truth
from virga.services.block_storage.snapshot import Snapshot
from virga.settings import Settings

CREATE = Body(
    schema.wrapped(
        "snapshot",
        obj(
            {
                "name": schema.NAME,
                "display_name": schema.NAME,
                "description": schema.DESCRIPTION,
                "display_description": schema.DESCRIPTION,
                "volume_id": {"type": ["string", "null"]},
                "force": {
                    "type": ["boolean", "string", "integer", "null"],
                    "enum": [*schema.TRUE, *schema.FALSE, None],
                },
                "metadata": schema.METADATA_OR_NULL,
            },
            ["volume_id"],
            extra=True,
        ),
        extra=True,
    )
)
UPDATE = Body(
    schema.wrapped(
        "snapshot",
        obj(
            {
                "name": schema.NAME,
                "display_name": schema.NAME,
                "description": schema.DESCRIPTION,
                "display_description": schema.DESCRIPTION,
            }
        ),
    )
)
RESET = Body(schema.wrapped("os-reset_status", obj({"status": schema.TEXT}, ["status"])))
UPDATE_STATUS = Body(
    schema.wrapped(
        "os-update_snapshot_status",
        obj({"status": schema.TEXT, "progress": {"type": ["string", "null"]}}, ["status"], extra=True),
    )
)
STATUSES = (
    "available",
    "creating",
    "deleting",
    "error",
    "error_deleting",
    "restoring",
    "backing-up",
    "unmanaging",
)
KEYS = {
    "id": "id",
    "name": "name",
    "display_name": "name",
    "status": "status",
    "volume_id": "volume_id",
    "size": "size",
    "volume_size": "size",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "user_id": "user_id",
}
FOR_ALL = {
    "name",
    "display_name",
    "status",
    "volume_id",
    "metadata",
    "availability_zone",
    "created_at",
    "updated_at",
    "name~",
    "consumes_quota",
}


def view(req: Request, row: Any, shown: bool = True, whole: bool = True) -> dict[str, Any]:
    """A snapshot as this microversion shows it."""
    version = req.microversion
    body = {
        "id": row.id,
        "created_at": iso_micro(row.created_at, ""),
        "updated_at": iso_micro(row.updated_at, ""),
        "name": row.name,
        "description": row.description,
        "volume_id": row.volume_id,
        "status": row.status,
        "size": row.size,
        "metadata": dict(row.metadata),
    }
    if version >= (3, 65):
        body["consumes_quota"] = True
    if not whole:
        return body
    if version >= (3, 14):
        body["group_snapshot_id"] = row.group_snapshot_id
    if version >= (3, 41):
        body["user_id"] = row.user_id
    if shown and req.allows("volume_extension:extended_snapshot_attributes", {"project_id": row.project_id}):
        body["os-extended-snapshot-attributes:project_id"] = row.project_id
        body["os-extended-snapshot-attributes:progress"] = row.progress
    return body


def on_snapshot(rule: str, verb: Callable[[Tx, Request, Snapshot], Any]) -> Callable[[Tx, Request], Any]:
    def handler(tx: Tx, req: Request) -> Any:
        row = snapshot.get(tx, req.caller, req["snapshot_id"])
        req.enforce(rule, {"project_id": row.project_id, "user_id": row.user_id})
        return verb(tx, req, row)

    return handler


def _rows(tx: Tx, req: Request) -> Any:
    statement = select(table)
    asked = volume_list.filters(req, FOR_ALL)
    if not volume_list.all_tenants(req):
        statement = statement.where(table.c.project_id == req.caller.project_id)
    tests: list[Callable[[Any], bool]] = []
    for name, value in asked.items():
        column = {"display_name": "name", "tenant_id": "project_id", "volume_size": "size"}.get(name, name)
        if name == "metadata":
            wanted = volume_list.parsed_metadata(value)
            tests.append(lambda row, wanted=wanted: wanted.items() <= row.metadata.items())  # type: ignore[misc]
        elif name == "name~":
            statement = statement.where(table.c.name.contains(value, autoescape=True))
        elif name in ("created_at", "updated_at"):
            statement = volume_list.by_time(statement, table.c[name], value)
        elif column in table.c:
            statement = statement.where(table.c[column] == value)
    counted = volume_list.wants_count(req)
    return volume_list.run(tx, req, table, KEYS, statement, tests, snapshot_not_found, counted)


def index(tx: Tx, req: Request) -> Any:
    rows, wanted, count = _rows(tx, req)
    return wanted.listed("snapshots", "/v3/snapshots", rows, [view(req, r, whole=False) for r in rows], count)


def detail(tx: Tx, req: Request) -> Any:
    rows, wanted, count = _rows(tx, req)
    return wanted.listed("snapshots", "/v3/snapshots/detail", rows, [view(req, r) for r in rows], count)


def show(tx: Tx, req: Request, row: Snapshot) -> Any:
    return {"snapshot": view(req, row)}


def create(tx: Tx, req: Request) -> Any:
    asked = CREATE.check(req)["snapshot"]
    source = volume.get(tx, req.caller, asked["volume_id"])
    req.enforce("volume:create_snapshot", volume.target(source))
    force = asked.get("force")
    if req.microversion >= (3, 66):
        if force is not None and not truth(force):
            raise Invalid(
                "Invalid value for 'force' parameter: since microversion 3.66, a snapshot of an attached volume is "
                "always allowed; the parameter is accepted only as true."
            )
        forced = True
    else:
        forced = force is not None and truth(force)
    name = asked.get("name") if asked.get("name") is not None else asked.get("display_name")
    text = (
        asked.get("description") if asked.get("description") is not None else asked.get("display_description")
    )
    snapshot_id = snapshot.create(
        tx,
        req.caller,
        source,
        name=name.strip() if name else name,
        description=text,
        metadata=asked.get("metadata") or {},
        force=forced,
    )
    return {"snapshot": view(req, snapshot.need(tx, snapshot_id), shown=False)}


def change(tx: Tx, req: Request, row: Snapshot) -> Any:
    asked = UPDATE.check(req)["snapshot"]
    values = {}
    for name in ("name", "description"):
        for key in (f"display_{name}", name):
            if key in asked:
                values[name] = asked[key].strip() if isinstance(asked[key], str) else asked[key]
    if not values:
        raise Invalid("{} does not have enough properties")
    return {"snapshot": view(req, snapshot.save(tx, row.id, **values), shown=False)}


def remove(tx: Tx, req: Request, row: Snapshot) -> Any:
    snapshot.delete(tx, row)
    return Response(202)


def force_delete(tx: Tx, req: Request, row: Snapshot) -> Any:
    snapshot.delete(tx, row, force=True)
    return Response(202)


def reset_status(tx: Tx, req: Request, row: Snapshot) -> Any:
    status = RESET.check(req)["os-reset_status"]["status"].lower()
    if status not in STATUSES:
        raise Invalid(
            f"Invalid input for field/attribute status. Value: {status}. '{status}' is not one of {list(STATUSES)}"
        )
    snapshot.save(tx, row.id, status=status)
    return Response(202)


def update_status(tx: Tx, req: Request, row: Snapshot) -> Any:
    asked = UPDATE_STATUS.check(req)["os-update_snapshot_status"]
    wanted = asked["status"]
    allowed = {"creating": ("creating", "available", "error"), "deleting": ("deleting", "error_deleting")}
    if row.status not in allowed:
        raise Invalid(f"Snapshot status {row.status} not allowed for update_snapshot_status")
    if wanted not in allowed[row.status]:
        raise Invalid(f"Provided snapshot status {wanted} not allowed for snapshot with status {row.status}.")
    values = {"status": wanted}
    if asked.get("progress"):
        values["progress"] = str(asked["progress"])[:8]
    snapshot.save(tx, row.id, **values)
    return Response(202)


METADATA = MetadataOf(
    "Snapshot",
    "snapshot_id",
    snapshot.get,
    lambda tx, row, values: snapshot.save(tx, row.id, metadata=values),
    "volume:{verb}_snapshot_metadata",
)


def routes(settings: Settings) -> list[Both]:
    one, act = "/snapshots/{snapshot_id}", "/snapshots/{snapshot_id}/action"
    admin = "volume_extension:snapshot_admin_actions:"
    status = "snapshot_extension:snapshot_actions:update_snapshot_status"
    return [
        Both("GET", "/snapshots", index, "volume:get_all_snapshots"),
        Both("POST", "/snapshots", create, AUTHENTICATED, status=202),
        Both("GET", "/snapshots/detail", detail, "volume:get_all_snapshots"),
        Both("GET", one, on_snapshot("volume:get_snapshot", show), AUTHENTICATED),
        Both("PUT", one, on_snapshot("volume:update_snapshot", change), AUTHENTICATED),
        Both("DELETE", one, on_snapshot("volume:delete_snapshot", remove), AUTHENTICATED),
        Both(
            "POST",
            act,
            on_snapshot(admin + "reset_status", reset_status),
            AUTHENTICATED,
            action="os-reset_status",
        ),
        Both(
            "POST",
            act,
            on_snapshot(admin + "force_delete", force_delete),
            AUTHENTICATED,
            action="os-force_delete",
        ),
        Both(
            "POST", act, on_snapshot(status, update_status), AUTHENTICATED, action="os-update_snapshot_status"
        ),
        *METADATA.routes(one),
    ]
