"""Groups of volumes, and snapshots of whole groups. A group has no bytes of its own: its status follows its volumes'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.lib.ids import new_uuid
from virga.services.block_storage import group_type, host, schema, snapshot, volume, volume_list, volume_type
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Invalid, Missing, invalid_input, need_project
from virga.services.block_storage.models import volume as volumes
from virga.services.block_storage.models import volume_group as table
from virga.services.block_storage.models import volume_group_snapshot as shots
from virga.services.block_storage.models import volume_snapshot as snapshots
from virga.services.block_storage.page import Page
from virga.services.block_storage.schema import Body, obj, truth, wrapped
from virga.settings import Settings

_NAMES = {"name": schema.NAME, "description": schema.DESCRIPTION}
CREATE = Body(
    wrapped(
        "group",
        obj(
            {
                **_NAMES,
                "group_type": schema.REAL_NAME,
                "volume_types": {
                    "type": "array",
                    "minItems": 1,
                    "uniqueItems": True,
                    "items": schema.REAL_NAME,
                },
                "availability_zone": {"type": ["string", "null"]},
            },
            ["group_type", "volume_types"],
        ),
    )
)
FROM_SOURCE = Body(
    wrapped(
        "create-from-src",
        obj(
            {
                **_NAMES,
                "source_group_id": {"type": ["string", "null"]},
                "group_snapshot_id": {"type": ["string", "null"]},
            }
        ),
        extra=True,
    )
)
UPDATE = Body(
    wrapped(
        "group",
        obj(
            {
                **_NAMES,
                "add_volumes": {"type": ["string", "null"]},
                "remove_volumes": {"type": ["string", "null"]},
            }
        ),
    )
)
DELETE = Body(wrapped("delete", obj({"delete-volumes": schema.BOOLEAN}), extra=True))
RESET = Body(wrapped("reset_status", obj({"status": schema.REAL_NAME}, ["status"]), extra=True))
SNAPSHOT = Body(wrapped("group_snapshot", obj({**_NAMES, "group_id": schema.UUID}, ["group_id"])))


def lost(ident: object) -> Missing:
    return Missing(f"Group {ident} could not be found.", type="GroupNotFound")


def lost_snapshot(ident: object) -> Missing:
    return Missing(f"GroupSnapshot {ident} could not be found.", type="GroupSnapshotNotFound")


def get(tx: Tx, caller: Any, ident: object) -> Row[Any]:
    row = tx.first(select(table).where(table.c.id == str(ident)))
    if row is None or not (caller.is_admin or row.project_id == caller.project_id):
        raise lost(ident)
    return row


def get_snapshot(tx: Tx, caller: Any, ident: object) -> Row[Any]:
    row = tx.first(select(shots).where(shots.c.id == str(ident)))
    if row is None or not (caller.is_admin or row.project_id == caller.project_id):
        raise lost_snapshot(ident)
    return row


def members(tx: Tx, group_id: str) -> list[Row[Any]]:
    return list(tx.all(select(volumes).where(volumes.c.group_id == group_id).order_by(volumes.c.number)))


def _view(tx: Tx, req: Request, row: Row[Any]) -> dict[str, Any]:
    body = {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "description": row.description,
        "availability_zone": row.availability_zone,
        "created_at": iso_micro(row.created_at, ""),
        "group_type": row.group_type_id,
        "volume_types": list(row.volume_types),
    }
    if req.microversion >= (3, 14):
        body["group_snapshot_id"] = row.group_snapshot_id
        body["source_group_id"] = row.source_group_id
    if req.microversion >= (3, 25) and req.param("list_volume") in ("True", "true", "1"):
        body["volumes"] = [one.id for one in members(tx, row.id)]
    if req.microversion >= (3, 38):
        body["replication_status"] = "disabled"
    return body


def _rows(tx: Tx, req: Request, of: Any, missing: Callable[[str], Exception]) -> tuple[Page, Any]:
    statement = select(of)
    if not volume_list.all_tenants(req):
        statement = statement.where(of.c.project_id == req.caller.project_id)
    for name in ("status", "name", "group_id"):
        if (value := req.param(name)) is not None and name in of.c:
            statement = statement.where(of.c[name] == value)
    page = Page(req, of, {k: k for k in ("id", "name", "status", "created_at")}, missing)
    return page, page.rows(tx, statement)


def index(tx: Tx, req: Request) -> Any:
    page, rows = _rows(tx, req, table, lost)
    return page.listed("groups", "/v3/groups", rows, [{"id": r.id, "name": r.name} for r in rows])


def detail(tx: Tx, req: Request) -> Any:
    page, rows = _rows(tx, req, table, lost)
    return page.listed("groups", "/v3/groups/detail", rows, [_view(tx, req, r) for r in rows])


def show(tx: Tx, req: Request) -> Any:
    row = get(tx, req.caller, req["group_id"])
    req.enforce("group:get", {"project_id": row.project_id})
    return {"group": _view(tx, req, row)}


def _insert(tx: Tx, req: Request, **values: Any) -> str:
    ident = new_uuid()
    tx.execute(
        insert(table).values(
            id=ident,
            project_id=need_project(req.caller.project_id),
            user_id=req.caller.user_id,
            status="available",
            availability_zone=host.ZONE,
            created_at=tx.now,
            **values,
        )
    )
    return ident


def create(tx: Tx, req: Request) -> Any:
    asked = CREATE.check(req)["group"]
    kind = group_type.get(tx, req.caller, asked["group_type"])
    types = [volume_type.by_name_or_id(tx, req.caller, name).id for name in asked["volume_types"]]
    name = asked.get("name")
    ident = _insert(
        tx, req, name=name, description=asked.get("description"), group_type_id=kind.id, volume_types=types
    )
    return {"group": {"id": ident, "name": name}}


def from_source(tx: Tx, req: Request) -> Any:
    asked = FROM_SOURCE.check(req)["create-from-src"]
    source, taken = asked.get("source_group_id"), asked.get("group_snapshot_id")
    if bool(source) == bool(taken):
        raise Invalid("Either 'source_group_id' or 'group_snapshot_id' must be provided, not both.")
    if taken:
        shot = get_snapshot(tx, req.caller, taken)
        origin = get(tx, req.caller, shot.group_id)
        wishes = [
            {"snapshot_id": one.id, "size": one.size, "volume_type_id": one.volume_type_id}
            for one in tx.all(select(snapshots).where(snapshots.c.group_snapshot_id == shot.id))
        ]
    else:
        origin = get(tx, req.caller, source)
        wishes = [
            {"source_volid": one.id, "size": one.size, "volume_type_id": one.volume_type_id}
            for one in members(tx, origin.id)
        ]
    if not wishes:
        raise Invalid("Invalid Group: Source group is empty. No group will be created.")
    ident = _insert(
        tx, req, name=asked.get("name"), description=asked.get("description"), group_type_id=origin.group_type_id,
        volume_types=origin.volume_types, source_group_id=source, group_snapshot_id=taken,
    )  # fmt: skip
    for wish in wishes:
        made = volume.create(tx, req.caller, volume.Wish(**wish))
        volume.save(tx, made, group_id=ident)
    return {"group": {"id": ident, "name": asked.get("name")}}


def change(tx: Tx, req: Request) -> Any:
    asked = UPDATE.check(req)["group"]
    row = get(tx, req.caller, req["group_id"])
    req.enforce("group:update", {"project_id": row.project_id})
    if not any(asked.get(name) is not None for name in asked):
        raise Invalid(
            "At least one of the following keys must be provided: name, description, add_volumes, remove_volumes."
        )
    joining = [v for v in (asked.get("add_volumes") or "").split(",") if v]
    leaving = [v for v in (asked.get("remove_volumes") or "").split(",") if v]
    if set(joining) & set(leaving):
        raise Invalid("Invalid volume: a volume cannot join and leave a group at once.")
    for ident in joining:
        one = volume.get(tx, req.caller, ident)
        if one.group_id not in (None, row.id) or one.status not in ("available", "in-use"):
            raise Invalid(
                f"Invalid volume: Cannot add volume {ident} to group {row.id} because it is in another group or a wrong state."
            )
        if one.volume_type_id not in row.volume_types:
            raise Invalid(
                f"Invalid volume: Cannot add volume {ident} to group {row.id} because its type is not supported by the group."
            )
        volume.save(tx, ident, group_id=row.id)
    for ident in leaving:
        if volume.get(tx, req.caller, ident).group_id != row.id:
            raise Invalid(
                f"Invalid volume: Cannot remove volume {ident} from group {row.id} because it is not in the group."
            )
        volume.save(tx, ident, group_id=None)
    values = {name: asked[name] for name in ("name", "description") if asked.get(name) is not None}
    if values:
        tx.execute(update(table).where(table.c.id == row.id).values(**values))
    return Response(202)


def remove(tx: Tx, req: Request) -> Any:
    asked = DELETE.check(req)["delete"]
    row = get(tx, req.caller, req["group_id"])
    req.enforce("group:delete", {"project_id": row.project_id})
    mine = members(tx, row.id)
    if mine and not truth(asked.get("delete-volumes", False)):
        raise Invalid(
            f"Invalid Group: Group {row.id} still contains volumes. The delete-volumes flag is required to delete it."
        )
    if tx.first(select(shots.c.id).where(shots.c.group_id == row.id)):
        raise Invalid(f"Invalid Group: Cannot delete group {row.id}: it has group snapshots.")
    for one in mine:
        volume.save(tx, one.id, group_id=None)
        volume.delete(tx, volume.need(tx, one.id))
    tx.execute(sql_delete(table).where(table.c.id == row.id))
    return Response(202)


def reset(tx: Tx, req: Request) -> Any:
    status = RESET.check(req)["reset_status"]["status"].lower()
    row = get(tx, req.caller, req["group_id"])
    if status not in ("available", "creating", "deleting", "error", "error_deleting", "updating", "in-use"):
        raise invalid_input(f"Group status {status} is not known.")
    tx.execute(update(table).where(table.c.id == row.id).values(status=status))
    return Response(202)


# --- snapshots of groups -------------------------------------------------------------------------------


def _shot_view(tx: Tx, row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "group_id": row.group_id,
        "group_type_id": row.group_type_id,
        "status": _status(tx, row),
        "created_at": iso_micro(row.created_at, ""),
        "name": row.name,
        "description": row.description,
    }


def _status(tx: Tx, row: Row[Any]) -> str:
    """What an admin set, or what the snapshots in it are."""
    if row.status:
        return str(row.status)
    found = {
        one.status
        for one in tx.all(select(snapshots.c.status).where(snapshots.c.group_snapshot_id == row.id))
    }
    return next((s for s in ("error", "deleting", "creating") if s in found), "available")


def shot_index(tx: Tx, req: Request) -> Any:
    page, rows = _rows(tx, req, shots, lost_snapshot)
    items = [{"id": r.id, "name": r.name} for r in rows]
    return page.listed("group_snapshots", "/v3/group_snapshots", rows, items)


def shot_detail(tx: Tx, req: Request) -> Any:
    page, rows = _rows(tx, req, shots, lost_snapshot)
    items = [_shot_view(tx, r) for r in rows]
    return page.listed("group_snapshots", "/v3/group_snapshots/detail", rows, items)


def shot_show(tx: Tx, req: Request) -> Any:
    return {"group_snapshot": _shot_view(tx, get_snapshot(tx, req.caller, req["group_snapshot_id"]))}


def shot_create(tx: Tx, req: Request) -> Any:
    asked = SNAPSHOT.check(req)["group_snapshot"]
    row = get(tx, req.caller, asked["group_id"])
    req.enforce("group:create_group_snapshot", {"project_id": row.project_id})
    mine = members(tx, row.id)
    if not mine:
        raise Invalid("Invalid Group: Source group cannot be empty to create a group snapshot.")
    ident = new_uuid()
    tx.execute(
        insert(shots).values(
            id=ident,
            group_id=row.id,
            group_type_id=row.group_type_id,
            project_id=row.project_id,
            user_id=req.caller.user_id,
            name=asked.get("name"),
            description=asked.get("description"),
            created_at=tx.now,
        )
    )
    for one in mine:
        taken = snapshot.create(tx, req.caller, one, name=asked.get("name"), force=True)
        snapshot.save(tx, taken, group_snapshot_id=ident)
    return {"group_snapshot": {"id": ident, "name": asked.get("name"), "group_type_id": row.group_type_id}}


def shot_remove(tx: Tx, req: Request) -> Any:
    row = get_snapshot(tx, req.caller, req["group_snapshot_id"])
    req.enforce("group:delete_group_snapshot", {"project_id": row.project_id})
    for one in tx.all(select(snapshots).where(snapshots.c.group_snapshot_id == row.id)):
        snapshot.delete(tx, one, force=True)
    tx.execute(sql_delete(shots).where(shots.c.id == row.id))
    return Response(202)


def shot_reset(tx: Tx, req: Request) -> Any:
    status = RESET.check(req)["reset_status"]["status"].lower()
    row = get_snapshot(tx, req.caller, req["group_snapshot_id"])
    if status not in ("available", "creating", "deleting", "error", "error_deleting"):
        raise invalid_input(f"Group snapshot status {status} is not known.")
    tx.execute(update(shots).where(shots.c.id == row.id).values(status=status))
    return Response(202)


def routes(settings: Settings) -> list[Both]:
    one, act, since = "/groups/{group_id}", "/groups/{group_id}/action", (3, 13)
    shot, later = "/group_snapshots/{group_snapshot_id}", (3, 14)
    reset_shot = "group:reset_group_snapshot_status"
    return [
        Both("GET", "/groups", index, "group:get_all", min_version=since),
        Both("POST", "/groups", create, "group:create", status=202, min_version=since),
        Both("GET", "/groups/detail", detail, "group:get_all", min_version=since),
        Both(
            "POST",
            "/groups/action",
            from_source,
            "group:create",
            status=202,
            action="create-from-src",
            min_version=later,
        ),
        Both("GET", one, show, AUTHENTICATED, min_version=since),
        Both("PUT", one, change, AUTHENTICATED, min_version=since),
        Both("POST", act, remove, AUTHENTICATED, action="delete", min_version=since),
        Both("POST", act, reset, "group:reset_status", action="reset_status", min_version=(3, 20)),
        Both("GET", "/group_snapshots", shot_index, "group:get_all_group_snapshots", min_version=later),
        Both("POST", "/group_snapshots", shot_create, AUTHENTICATED, status=202, min_version=later),
        Both(
            "GET", "/group_snapshots/detail", shot_detail, "group:get_all_group_snapshots", min_version=later
        ),
        Both("GET", shot, shot_show, "group:get_group_snapshot", min_version=later),
        Both("DELETE", shot, shot_remove, AUTHENTICATED, min_version=later),
        Both("POST", shot + "/action", shot_reset, reset_shot, action="reset_status", min_version=(3, 19)),
    ]
