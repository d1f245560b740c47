"""os-volumes and os-snapshots as Compute had them before Block Storage: up to 2.35, answered by its verbs."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import select

from virga.api.faults import Fault
from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.services.block_storage import attachment, snapshot, volume, volume_type
from virga.services.block_storage.models import volume as volumes
from virga.services.block_storage.models import volume_snapshot
from virga.services.compute.faults import Invalid, NotFoundHere, Refused
from virga.services.compute.schema import (
    BOOLEAN,
    NON_NEGATIVE,
    TEXT,
    Schema,
    always,
    check_body,
    check_query,
    obj,
    several,
    truth,
    wrapped,
)
from virga.settings import Settings

POLICY = "os_compute_api:os-volumes:"
LAST = (2, 35)
_VOLUME: Schema = {
    "volume_type": TEXT,
    "metadata": {"type": "object", "properties": {}, "additionalProperties": True},
    "snapshot_id": TEXT,
    "size": {"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1},
    "availability_zone": TEXT,
    "display_name": TEXT,
    "display_description": TEXT,
}
CREATE = always(wrapped("volume", obj(_VOLUME, ["size"])))
_SNAPSHOT: Schema = {"volume_id": TEXT, "force": BOOLEAN, "display_name": TEXT, "display_description": TEXT}
CREATE_SNAPSHOT = always(wrapped("snapshot", obj(_SNAPSHOT, ["volume_id"])))
LIST = always(obj({"limit": several(NON_NEGATIVE), "offset": several(NON_NEGATIVE)}, extra=True))


def _view(tx: Tx, row: Any) -> dict[str, Any]:
    attached = [a for a in attachment.of_volume(tx, row.id) if a.status == "attached"]
    kind = volume_type.find(tx, row.volume_type_id)
    shown = [
        {"id": row.id, "volumeId": row.id, "serverId": a.server_id}
        | ({"device": a.device} if a.device else {})
        for a in attached
    ]
    return {
        "id": row.id,
        "status": row.status,
        "size": row.size,
        "availabilityZone": row.availability_zone,
        "createdAt": iso_micro(row.created_at, ""),
        "attachments": shown or [{}],
        "displayName": row.name,
        "displayDescription": row.description,
        "volumeType": kind.name if kind else None,
        "snapshotId": row.snapshot_id,
        "metadata": row.metadata or {},
    }


def _page(req: Request, rows: list[Any]) -> list[Any]:
    asked = check_query(req, LIST)
    offset = int(asked.get("offset", ["0"])[-1] or 0)
    limit = int(asked.get("limit", ["0"])[-1] or 0)
    return rows[offset : offset + limit] if limit else rows[offset:]


def index(tx: Tx, req: Request, *, rule: str) -> Any:
    req.enforce(POLICY + rule)
    mine = volumes.c.project_id == req.caller.project_id
    rows = list(
        tx.all(select(volumes).where(mine).order_by(volumes.c.created_at.desc(), volumes.c.number.desc()))
    )
    return {"volumes": [_view(tx, row) for row in _page(req, rows)]}


def _get(tx: Tx, req: Request) -> Any:
    try:
        return volume.get(tx, req.caller, req["volume_id"])
    except Fault as fault:
        raise NotFoundHere(fault.message) from None


def show(tx: Tx, req: Request) -> Any:
    req.enforce(POLICY + "show")
    return {"volume": _view(tx, _get(tx, req))}


def create(tx: Tx, req: Request) -> Any:
    asked = check_body(req, CREATE)["volume"]
    req.enforce(POLICY + "create")
    caller = req.caller
    try:
        if asked.get("snapshot_id"):
            snapshot.get(tx, caller, asked["snapshot_id"])
        name = asked.get("volume_type")
        kind = (
            volume_type.by_name_or_id(tx, caller, name)
            if name
            else volume_type.default(tx, caller.project_id)
        )
        wish = volume.Wish(
            size=int(asked["size"]),
            name=asked.get("display_name"),
            description=asked.get("display_description"),
            volume_type_id=kind.id if kind else None,
            metadata={key: str(value) for key, value in (asked.get("metadata") or {}).items()},
            snapshot_id=asked.get("snapshot_id"),
        )
        ident = volume.create(tx, caller, wish)
    except Fault as fault:
        raise _worded(fault) from None
    return {"volume": _view(tx, volume.need(tx, ident))}


def _worded(fault: Fault) -> Fault:
    if fault.status == 413:
        return Refused(fault.message)
    return NotFoundHere(fault.message) if fault.status == 404 else Invalid(fault.message)


def remove(tx: Tx, req: Request) -> Any:
    req.enforce(POLICY + "delete")
    row = _get(tx, req)
    try:
        volume.delete(tx, row)
    except Fault as fault:
        raise _worded(fault) from None
    return Response(202)


# --- snapshots -----------------------------------------------------------------------------------------


def _snapshot_view(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "volumeId": row.volume_id,
        "status": row.status,
        "size": row.size,
        "createdAt": iso_micro(row.created_at, ""),
        "displayName": row.name,
        "displayDescription": row.description,
    }


def snapshots(tx: Tx, req: Request, *, rule: str) -> Any:
    req.enforce(POLICY + "snapshots:" + rule)
    mine = volume_snapshot.c.project_id == req.caller.project_id
    rows = list(tx.all(select(volume_snapshot).where(mine).order_by(volume_snapshot.c.number.desc())))
    return {"snapshots": [_snapshot_view(row) for row in _page(req, rows)]}


def _snapshot(tx: Tx, req: Request) -> Any:
    try:
        return snapshot.get(tx, req.caller, req["snapshot_id"])
    except Fault as fault:
        raise NotFoundHere(fault.message) from None


def show_snapshot(tx: Tx, req: Request) -> Any:
    req.enforce(POLICY + "snapshots:show")
    return {"snapshot": _snapshot_view(_snapshot(tx, req))}


def create_snapshot(tx: Tx, req: Request) -> Any:
    asked = check_body(req, CREATE_SNAPSHOT)["snapshot"]
    req.enforce(POLICY + "snapshots:create")
    try:
        row = volume.get(tx, req.caller, asked["volume_id"])
        ident = snapshot.create(
            tx,
            req.caller,
            row,
            name=asked.get("display_name"),
            description=asked.get("display_description"),
            force=truth(asked.get("force", False)),
        )
    except Fault as fault:
        raise _worded(fault) from None
    return {"snapshot": _snapshot_view(snapshot.need(tx, ident))}


def remove_snapshot(tx: Tx, req: Request) -> Any:
    req.enforce(POLICY + "snapshots:delete")
    row = _snapshot(tx, req)
    try:
        snapshot.delete(tx, row)
    except Fault as fault:
        raise _worded(fault) from None
    return Response(202)


def routes(settings: Settings) -> list[Route]:
    def route(method: str, path: str, handler: Any) -> Route:
        return Route(method, "/v2.1/" + path, handler, AUTHENTICATED, max_version=LAST)

    return [
        route("GET", "os-volumes", partial(index, rule="list")),
        route("POST", "os-volumes", create),
        route("GET", "os-volumes/detail", partial(index, rule="detail")),
        route("GET", "os-volumes/{volume_id}", show),
        route("DELETE", "os-volumes/{volume_id}", remove),
        route("GET", "os-snapshots", partial(snapshots, rule="list")),
        route("POST", "os-snapshots", create_snapshot),
        route("GET", "os-snapshots/detail", partial(snapshots, rule="detail")),
        route("GET", "os-snapshots/{snapshot_id}", show_snapshot),
        route("DELETE", "os-snapshots/{snapshot_id}", remove_snapshot),
    ]
