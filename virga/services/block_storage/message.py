"""User messages: why something in the background went wrong, kept for a month."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.lib.ids import new_uuid
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import message_not_found
from virga.services.block_storage.models import volume_message as table
from virga.services.block_storage.page import Page
from virga.settings import Settings

KEPT_US = 30 * 86400 * 1_000_000

EVENTS = {
    "schedule": (
        "VOLUME_VOLUME_001_002",
        "schedule allocate volume:Could not find any available weighted backend.",
    ),
    "schedule_extend": (
        "VOLUME_VOLUME_006_002",
        "extend volume:Could not find any available weighted backend.",
    ),
    "create": (
        "VOLUME_VOLUME_003_001",
        "create volume from backend storage:Driver failed to create the volume.",
    ),
    "copy_image": ("VOLUME_VOLUME_005_005", "copy image to volume:Failed to copy image to volume."),
    "extend": ("VOLUME_VOLUME_006_006", "extend volume:Volume could not be extended."),
    "delete": ("VOLUME_VOLUME_007_018", "delete volume:Driver failed to delete the volume."),
    "snapshot": ("VOLUME_VOLUME_SNAPSHOT_008_014", "create snapshot:Snapshot could not be created."),
    "backup": (
        "VOLUME_VOLUME_BACKUP_013_027",
        "create backup:Backup status must be available or in-use, or the backup could not be written.",
    ),
    "restore": ("VOLUME_VOLUME_014_001", "restore backup:The backup could not be restored."),
    "revert": ("VOLUME_VOLUME_015_001", "revert to snapshot:The volume could not be reverted."),
    "manage": ("VOLUME_VOLUME_016_001", "manage existing volume:The volume could not be taken in."),
    "unmanage": ("VOLUME_VOLUME_017_001", "unmanage volume:The volume could not be let go."),
    "attach": ("VOLUME_VOLUME_002_001", "attach volume:The volume could not be attached."),
    "unknown": ("VOLUME_VOLUME_000_001", "unknown action:An unknown error occurred."),
}


def tell(tx: Tx, project_id: str, kind: str, resource_id: str, event: str, detail: str = "") -> None:
    """Leave a message; ``detail`` is what the host said."""
    event_id, sentence = EVENTS.get(event, EVENTS["unknown"])
    tx.execute(
        insert(table).values(
            id=new_uuid(),
            project_id=project_id,
            resource_type=kind,
            resource_id=resource_id,
            event_id=event_id,
            message=f"{sentence} {detail}".strip(),
            level="ERROR",
            request_id=tx.request_id,
            created_at=tx.now,
            expires_at=tx.now + KEPT_US,
        )
    )


def _view(req: Request, row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "event_id": row.event_id,
        "user_message": row.message,
        "message_level": row.level,
        "created_at": iso_micro(row.created_at, ""),
        "guaranteed_until": iso_micro(row.expires_at, ""),
        "request_id": row.request_id,
        "resource_type": row.resource_type,
        "resource_uuid": row.resource_id,
        "links": [
            {"rel": "self", "href": req.url(f"/v3/messages/{row.id}")},
            {"rel": "bookmark", "href": req.url(f"/messages/{row.id}")},
        ],
    }


def _get(tx: Tx, req: Request, rule: str) -> Any:
    row = tx.first(select(table).where(table.c.id == req["message_id"], table.c.expires_at > tx.now))
    if row is None or not (req.caller.is_admin or row.project_id == req.caller.project_id):
        raise message_not_found(req["message_id"])
    req.enforce(rule, {"project_id": row.project_id})
    return row


def show(tx: Tx, req: Request) -> Any:
    return {"message": _view(req, _get(tx, req, "message:get"))}


def remove(tx: Tx, req: Request) -> Any:
    row = _get(tx, req, "message:delete")
    tx.execute(sql_delete(table).where(table.c.id == row.id))
    return Response(204)


def index(tx: Tx, req: Request) -> Any:
    statement = select(table).where(table.c.expires_at > tx.now)
    if not req.caller.is_admin or req.param("all_tenants") is None:
        statement = statement.where(table.c.project_id == req.caller.project_id)
    for name, column in (
        ("resource_type", table.c.resource_type),
        ("resource_uuid", table.c.resource_id),
        ("event_id", table.c.event_id),
        ("message_level", table.c.level),
        ("request_id", table.c.request_id),
    ):
        if (value := req.param(name)) is not None:
            statement = statement.where(column == (value.upper() if name == "resource_type" else value))
    page = Page(
        req, table, {"id": "id", "created_at": "created_at", "event_id": "event_id"}, message_not_found
    )
    rows = page.rows(tx, statement)
    return page.listed("messages", "/v3/messages", rows, [_view(req, row) for row in rows])


def routes(settings: Settings) -> list[Both]:
    return [
        Both("GET", "/messages", index, "message:get_all", min_version=(3, 3)),
        Both("GET", "/messages/{message_id}", show, AUTHENTICATED, min_version=(3, 3)),
        Both("DELETE", "/messages/{message_id}", remove, AUTHENTICATED, min_version=(3, 3), status=204),
    ]
