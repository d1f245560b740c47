"""Records of backups: written down by admins, and read in again when the rows are lost."""

from __future__ import annotations

import base64
import binascii
import json
import os
from typing import Any

from sqlalchemy import insert

from virga.api.context import AsyncContext
from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED
from virga.db.tx import Tx
from virga.lib.ids import is_uuid_like
from virga.services.block_storage import backup_row, backup_work, host, schema
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Invalid, invalid_backup, invalid_input, need_project
from virga.services.block_storage.models import volume_backup as table
from virga.services.block_storage.schema import Body, obj, wrapped
from virga.services.block_storage.volume_view import links
from virga.settings import Settings

SERVICE = "cinder.backup.drivers.posix.PosixBackupDriver"
IMPORT = Body(
    wrapped(
        "backup-record",
        obj(
            {"backup_service": schema.REAL_NAME, "backup_url": {"type": "string", "minLength": 1}},
            ["backup_service", "backup_url"],
        ),
    )
)


def export(tx: Tx, req: Request) -> Any:
    row = backup_row.get(tx, req.caller, req["backup_id"])
    if row.status != "available":
        raise invalid_backup(f"Backup status must be available and not {row.status}.")
    known = {
        "id": row.id,
        "source": row.id,
        "parent_id": row.parent_id,
        "volume_id": row.volume_id,
        "size": row.size,
        "name": row.name,
        "display_name": row.name,
        "description": row.description,
        "project_id": row.project_id,
        "user_id": row.user_id,
    }
    text = base64.b64encode(json.dumps(known).encode()).decode()
    return {"backup-record": {"backup_service": SERVICE, "backup_url": text}}


def _read(text: str) -> dict[str, Any]:
    try:
        known = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        known = None
    if not isinstance(known, dict) or not all(is_uuid_like(known.get(k)) for k in ("id", "volume_id")):
        raise invalid_input("Can't parse backup record.")
    return known


async def take_in(ctx: AsyncContext, req: Request) -> Any:
    asked = IMPORT.check(req)["backup-record"]
    req.enforce("backup:backup-import")
    if asked["backup_service"] != SERVICE:
        raise Invalid(
            f"Service not found: no backup service of this cloud reads {asked['backup_service']}.", status=503
        )
    known = _read(asked["backup_url"])
    source = str(known.get("source") or known["id"])
    await ctx.thread(lambda: _same_bytes(ctx.settings, source, str(known["id"])))
    row = await ctx.write(lambda tx: _insert(tx, req, known))
    body = {"id": row.id, "name": row.name, "links": links(req, "backups", row.id)}
    return Response(201, {"backup": body})


def _same_bytes(settings: Settings, source: str, target: str) -> None:
    """Both records hold the same files until one of them goes."""
    if not is_uuid_like(source) or not backup_work.files_of(settings, source)[0].exists():
        raise invalid_backup("The backup's data is not in the store.")
    there, here = backup_work.files_of(settings, source), backup_work.files_of(settings, target)
    for old, new in zip(there, here, strict=True):
        if old.exists() and not new.exists():
            os.link(old, new)


def _insert(tx: Tx, req: Request, known: dict[str, Any]) -> Any:
    if backup_row.find(tx, known["id"]) is not None:
        raise invalid_backup("Backup already exists in database.")
    size = known.get("size")
    parent = backup_row.find(tx, known["parent_id"]) if known.get("parent_id") else None
    tx.execute(
        insert(table).values(
            id=known["id"],
            volume_id=known["volume_id"],
            parent_id=parent.id if parent is not None else None,
            project_id=need_project(req.caller.project_id),
            user_id=req.caller.user_id,
            name=known.get("display_name") or known.get("name"),
            description=known.get("description"),
            container="volumebackups",
            host=None,
            availability_zone=host.ZONE,
            size=size if isinstance(size, int) and size > 0 else 1,
            object_count=backup_work.FILES,
            status="available",
            metadata={},
            data_at=tx.now,
            created_at=tx.now,
        )
    )
    return backup_row.need(tx, known["id"])


def routes(settings: Settings) -> list[Both]:
    return [
        Both("GET", "/backups/{backup_id}/export_record", export, "backup:export-import"),
        Both("POST", "/backups/import_record", take_in, AUTHENTICATED, status=201),
    ]
