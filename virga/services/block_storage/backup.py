"""Backups of volumes in a store of files: made, restored, renamed, deleted.

An incremental backup holds what its parent does not have, so the parent stays as long as it has dependents.
The bytes are the work of ``backup_work.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import insert, select

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.lib.ids import new_uuid
from virga.services.block_storage import (
    backup_row,
    backup_work,
    host,
    quota,
    schema,
    snapshot,
    volume,
    volume_list,
    volume_type,
)
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import (
    Invalid,
    backup_not_found,
    invalid_backup,
    invalid_input,
    invalid_snapshot,
    invalid_volume,
)
from virga.services.block_storage.jobs_arguments import VolumeJob
from virga.services.block_storage.models import volume_backup as table
from virga.services.block_storage.schema import Body, obj, truth, wrapped
from virga.services.block_storage.volume_view import links
from virga.settings import Settings

CONTAINER = "volumebackups"
_FLAG = {"type": ["boolean", "string", "null"], "enum": [*schema.TRUE, *schema.FALSE, None]}
CREATE = Body(
    wrapped(
        "backup",
        obj(
            {
                "volume_id": schema.UUID,
                "container": {"type": ["string", "null"], "minLength": 0, "maxLength": 255},
                "description": schema.DESCRIPTION,
                "incremental": _FLAG,
                "force": _FLAG,
                "name": schema.NAME,
                "snapshot_id": {"type": ["string", "null"]},
                "metadata": schema.METADATA_OR_NULL,
                "availability_zone": {"type": ["string", "null"]},
            },
            ["volume_id"],
        ),
    )
)
UPDATE = Body(
    wrapped(
        "backup",
        obj({"name": schema.NAME, "description": schema.DESCRIPTION, "metadata": schema.METADATA_OR_NULL}),
    )
)
RESTORE = Body(wrapped("restore", obj({"name": schema.NAME, "volume_id": {"type": ["string", "null"]}})))
RESET = Body(
    wrapped(
        "os-reset_status",
        obj({"status": {"type": "string", "enum": ["available", "error"]}}, ["status"]),
        extra=True,
    )
)
KEYS = {
    k: k
    for k in (
        "id",
        "name",
        "status",
        "volume_id",
        "size",
        "created_at",
        "updated_at",
        "user_id",
        "snapshot_id",
    )
}
FOR_ALL = {"name", "status", "volume_id", "name~"}


def _brief(req: Request, row: Any) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "links": links(req, "backups", row.id)}


def _full(tx: Tx, req: Request, row: Any) -> dict[str, Any]:
    body = {
        "id": row.id,
        "status": row.status,
        "size": row.size,
        "object_count": row.object_count,
        "availability_zone": row.availability_zone,
        "container": row.container,
        "created_at": iso_micro(row.created_at, ""),
        "updated_at": iso_micro(row.updated_at, ""),
        "name": row.name,
        "description": row.description,
        "fail_reason": row.fail_reason,
        "volume_id": row.volume_id,
        "links": links(req, "backups", row.id),
        "is_incremental": row.parent_id is not None,
        "has_dependent_backups": bool(backup_work.dependents(tx, row.id)),
        "snapshot_id": row.snapshot_id,
        "data_timestamp": iso_micro(row.data_at, ""),
    }
    if req.microversion >= (3, 18) and req.allows("backup:backup_project_attribute"):
        body["os-backup-project-attr:project_id"] = row.project_id
    if req.microversion >= (3, 43):
        body["metadata"] = dict(row.metadata)
    if req.microversion >= (3, 56):
        body["user_id"] = row.user_id
    return body


def _rows(tx: Tx, req: Request) -> Any:
    statement = select(table)
    asked = volume_list.filters(req, FOR_ALL)
    if not volume_list.all_tenants(req):
        statement = statement.where(table.c.project_id == req.caller.project_id)
    for name, value in asked.items():
        if name == "name~":
            statement = statement.where(table.c.name.contains(value, autoescape=True))
        elif name in table.c and name != "metadata":
            statement = statement.where(table.c[name] == value)
    counted = volume_list.wants_count(req)
    return volume_list.run(tx, req, table, KEYS, statement, [], backup_not_found, counted)


def index(tx: Tx, req: Request) -> Any:
    rows, page, count = _rows(tx, req)
    return page.listed("backups", "/v3/backups", rows, [_brief(req, row) for row in rows], count)


def detail(tx: Tx, req: Request) -> Any:
    rows, page, count = _rows(tx, req)
    return page.listed("backups", "/v3/backups/detail", rows, [_full(tx, req, row) for row in rows], count)


def _on(rule: str, verb: Callable[[Tx, Request, Any], Any]) -> Callable[[Tx, Request], Any]:
    def handler(tx: Tx, req: Request) -> Any:
        row = backup_row.get(tx, req.caller, req["backup_id"])
        req.enforce(rule, {"project_id": row.project_id, "user_id": row.user_id})
        return verb(tx, req, row)

    return handler


def show(tx: Tx, req: Request, row: Any) -> Any:
    return {"backup": _full(tx, req, row)}


def create(tx: Tx, req: Request) -> Any:
    asked = CREATE.check(req)["backup"]
    source = volume.get(tx, req.caller, asked["volume_id"])
    req.enforce("backup:create", volume.target(source))
    taken = snapshot.get(tx, req.caller, asked["snapshot_id"]) if asked.get("snapshot_id") else None
    force = asked.get("force") is not None and truth(asked["force"])
    if taken is not None and taken.volume_id != source.id:
        raise invalid_input("Volume does not match with the volume that the snapshot was created from.")
    if taken is not None and taken.status != "available":
        raise invalid_snapshot(
            f'Snapshot to be backed up must be available, but the current status is "{taken.status}".'
        )
    if taken is None and source.status == "in-use" and not force:
        raise invalid_volume("Backing up an in-use volume must use the force flag.")
    if taken is None and source.status not in ("available", "in-use"):
        raise invalid_volume(
            f'Volume to be backed up must be available or in-use, but the current status is "{source.status}".'
        )
    wanted = asked.get("incremental") is not None and truth(asked["incremental"])
    parent = _parent(tx, req.caller, source, taken) if wanted else None
    quota.check(tx, req.caller.project_id or "", {"backups": 1, "backup_gigabytes": source.size})
    backup_id = new_uuid()
    tx.execute(
        insert(table).values(
            id=backup_id,
            volume_id=source.id,
            snapshot_id=taken.id if taken is not None else None,
            parent_id=parent.id if parent is not None else None,
            project_id=req.caller.project_id,
            user_id=req.caller.user_id,
            name=asked.get("name"),
            description=asked.get("description"),
            container=asked.get("container") or CONTAINER,
            host=source.host,
            availability_zone=host.ZONE,
            size=taken.size if taken is not None else source.size,
            status="creating",
            metadata=(asked.get("metadata") or {}) if req.microversion >= (3, 43) else {},
            volume_facts={
                "volume_type_id": source.volume_type_id,
                "bootable": source.bootable,
                "image_metadata": source.image_metadata,
                "metadata": source.metadata,
            },
            data_at=taken.created_at if taken is not None else tx.now,
            created_at=tx.now,
        )
    )
    if taken is not None:
        snapshot.save(tx, taken.id, status="backing-up")
    else:
        volume.save(tx, source.id, status="backing-up", previous_status=source.status)
    tx.job("volume.backup", f"volume-{source.id}", VolumeJob(source.id, {"backup_id": backup_id}))
    return {"backup": _made(req, backup_row.need(tx, backup_id))}


def _made(req: Request, row: Any) -> dict[str, Any]:
    body = _brief(req, row)
    if req.microversion >= (3, 43):
        body["metadata"] = dict(row.metadata)
    return body


def _parent(tx: Tx, caller: Any, source: Any, taken: Any) -> Any:
    """The caller's newest backup of the volume; for a snapshot, the newest that is not of a later moment."""
    statement = select(table).where(
        table.c.volume_id == source.id,
        table.c.status == "available",
        table.c.project_id == caller.project_id,
        table.c.size <= (taken.size if taken is not None else source.size),
    )
    if taken is not None:
        statement = statement.where(table.c.data_at <= taken.created_at)
    row = tx.first(statement.order_by(table.c.data_at.desc(), table.c.number.desc()))
    if row is None:
        raise invalid_backup("No backups available to do an incremental backup.")
    return row


def change(tx: Tx, req: Request, row: Any) -> Any:
    asked = UPDATE.check(req)["backup"]
    values = {name: asked[name] for name in ("name", "description") if name in asked}
    if req.microversion >= (3, 43) and asked.get("metadata") is not None:
        values["metadata"] = asked["metadata"]
    if not values:
        raise Invalid("Must specify 'name', 'description' or 'metadata' for update.")
    return {"backup": _made(req, backup_row.save(tx, row.id, **values))}


def remove(tx: Tx, req: Request, row: Any) -> Any:
    if row.status not in ("available", "error"):
        raise invalid_backup("Backup status must be available or error")
    _delete(tx, row)
    return Response(202)


def force_delete(tx: Tx, req: Request, row: Any) -> Any:
    _delete(tx, row)
    return Response(202)


def _delete(tx: Tx, row: Any) -> None:
    if backup_work.dependents(tx, row.id):
        raise invalid_backup("Incremental backups exist for this backup.")
    backup_row.save(tx, row.id, status="deleting")
    tx.job("volume.backup_delete", f"backup-{row.id}", VolumeJob(row.volume_id, {"backup_id": row.id}))


def reset_status(tx: Tx, req: Request, row: Any) -> Any:
    backup_row.save(tx, row.id, status=RESET.check(req)["os-reset_status"]["status"])
    return Response(202)


def restore(tx: Tx, req: Request, row: Any) -> Any:
    asked = RESTORE.check(req)["restore"]
    if row.status != "available":
        raise invalid_backup("Backup status must be available")
    if asked.get("volume_id"):
        goal = volume.get(tx, req.caller, asked["volume_id"])
        if goal.status != "available":
            raise invalid_volume("Volume to be restored to must be available")
        if goal.size < row.size:
            raise invalid_volume(
                f"volume size {goal.size} is too small to restore backup of size {row.size}."
            )
        volume.save(tx, goal.id, status="restoring-backup")
        tx.job("volume.restore", f"volume-{goal.id}", VolumeJob(goal.id, {"backup_id": row.id}))
        volume_id, name = goal.id, goal.name
    else:
        name = asked.get("name") or f"restore_backup_{row.id}"
        wish = volume.Wish(row.size, name=name, backup_id=row.id, **_like(tx, row))
        volume_id = volume.create(tx, req.caller, wish)
    backup_row.save(tx, row.id, status="restoring", restore_volume_id=volume_id)
    return {"restore": {"backup_id": row.id, "volume_id": volume_id, "volume_name": name or ""}}


def _like(tx: Tx, row: Any) -> dict[str, Any]:
    """What was known of the volume when it was backed up; its type may be gone."""
    found = dict(row.volume_facts or {})
    if found.get("volume_type_id") and volume_type.find(tx, found["volume_type_id"]) is None:
        del found["volume_type_id"]
    return found


def routes(settings: Settings) -> list[Both]:
    one, act = "/backups/{backup_id}", "/backups/{backup_id}/action"
    admin = "volume_extension:backup_admin_actions:"
    return [
        Both("GET", "/backups", index, "backup:get_all"),
        Both("POST", "/backups", create, AUTHENTICATED, status=202),
        Both("GET", "/backups/detail", detail, "backup:get_all"),
        Both("GET", one, _on("backup:get", show), AUTHENTICATED),
        Both("PUT", one, _on("backup:update", change), AUTHENTICATED, min_version=(3, 9)),
        Both("DELETE", one, _on("backup:delete", remove), AUTHENTICATED),
        Both("POST", one + "/restore", _on("backup:restore", restore), AUTHENTICATED, status=202),
        Both("POST", act, _on(admin + "reset_status", reset_status), AUTHENTICATED, action="os-reset_status"),
        Both("POST", act, _on(admin + "force_delete", force_delete), AUTHENTICATED, action="os-force_delete"),
    ]
