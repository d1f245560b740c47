"""Transfers: a volume is handed to another project by whoever knows the key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.lib.ids import new_uuid
from virga.services.block_storage import quota, schema, volume, volume_list
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Invalid, invalid_volume, need_project, transfer_not_found
from virga.services.block_storage.models import volume_snapshot
from virga.services.block_storage.models import volume_transfer as table
from virga.services.block_storage.page import Page
from virga.services.block_storage.schema import Body, obj, truth, wrapped
from virga.settings import Settings

CREATE = Body(
    wrapped(
        "transfer",
        obj({"volume_id": schema.UUID, "name": schema.NAME, "no_snapshots": schema.BOOLEAN}, ["volume_id"]),
        extra=True,
    )
)
ACCEPT = Body(wrapped("accept", obj({"auth_key": schema.REAL_NAME}, ["auth_key"]), extra=True))


def _links(req: Request, row: Row[Any]) -> list[dict[str, str]]:
    name = "volume-transfers" if "/volume-transfers" in req.path else "os-volume-transfer"
    return [
        {"rel": "self", "href": req.url(f"/v3/{name}/{row.id}")},
        {"rel": "bookmark", "href": req.url(f"/{name}/{row.id}")},
    ]


def _brief(req: Request, row: Row[Any]) -> dict[str, Any]:
    return {"id": row.id, "volume_id": row.volume_id, "name": row.name, "links": _links(req, row)}


def _full(req: Request, row: Row[Any]) -> dict[str, Any]:
    body = {"created_at": iso_micro(row.created_at, ""), **_brief(req, row)}
    if "/volume-transfers" not in req.path:
        return body
    if req.microversion >= (3, 55):
        body["no_snapshots"] = row.no_snapshots
    if req.microversion >= (3, 57):
        body["source_project_id"] = row.source_project_id
        body["destination_project_id"] = row.destination_project_id
        body["accepted"] = row.accepted
    return body


def _get(tx: Tx, req: Request, *, foreign: bool = False) -> Row[Any]:
    row = tx.first(select(table).where(table.c.id == req["transfer_id"], table.c.accepted.is_(False)))
    caller = req.caller
    if row is None or not (foreign or caller.is_admin or row.source_project_id == caller.project_id):
        raise transfer_not_found(req["transfer_id"])
    return row


def _page(tx: Tx, req: Request) -> tuple[Page, Any]:
    statement = select(table).where(table.c.accepted.is_(False))
    if not volume_list.all_tenants(req):
        statement = statement.where(table.c.source_project_id == req.caller.project_id)
    page = Page(req, table, {k: k for k in ("id", "name", "created_at", "volume_id")}, transfer_not_found)
    return page, page.rows(tx, statement)


def index(tx: Tx, req: Request) -> Any:
    _, rows = _page(tx, req)
    return {"transfers": [_brief(req, row) for row in rows]}


def detail(tx: Tx, req: Request) -> Any:
    _, rows = _page(tx, req)
    return {"transfers": [_full(req, row) for row in rows]}


def show(tx: Tx, req: Request) -> Any:
    row = _get(tx, req)
    req.enforce("volume:get_transfer", {"project_id": row.source_project_id})
    return {"transfer": _full(req, row)}


def create(tx: Tx, req: Request) -> Any:
    asked = CREATE.check(req)["transfer"]
    source = volume.get(tx, req.caller, asked["volume_id"])
    req.enforce("volume:create_transfer", volume.target(source))
    if source.status != "available":
        raise invalid_volume("status must be available")
    bare = truth(asked.get("no_snapshots", False)) and req.microversion >= (3, 55)
    if volume.snapshots_of(tx, source.id) and (
        bare or "/volume-transfers" not in req.path or req.microversion < (3, 55)
    ):
        raise invalid_volume(
            f"volume {source.id} has snapshots, which a transfer without them would leave behind"
        )
    # A transfer may be left over where somebody reset the volume's status: the new one takes its place.
    tx.execute(sql_delete(table).where(table.c.volume_id == source.id))
    key = secrets.token_hex(8)
    transfer_id = new_uuid()
    name = asked.get("name")
    tx.execute(
        insert(table).values(
            id=transfer_id,
            volume_id=source.id,
            name=name.strip() if name else name,
            key_hash=_hash(transfer_id, key),
            no_snapshots=bare,
            source_project_id=source.project_id,
            accepted=False,
            created_at=tx.now,
        )
    )
    volume.save(tx, source.id, status="awaiting-transfer")
    row = tx.first(select(table).where(table.c.id == transfer_id))
    assert row is not None
    return {"transfer": {**_full(req, row), "auth_key": key}}


def _hash(transfer_id: str, key: str) -> str:
    return hmac.new(transfer_id.encode(), key.encode(), hashlib.sha256).hexdigest()


def accept(tx: Tx, req: Request) -> Any:
    key = ACCEPT.check(req)["accept"]["auth_key"]
    row = _get(tx, req, foreign=True)
    caller = req.caller
    req.enforce("volume:accept_transfer", {"project_id": caller.project_id})
    if not hmac.compare_digest(row.key_hash, _hash(row.id, key)):
        raise Invalid(
            f"Invalid auth key: Attempt to transfer {row.id} with invalid auth key.", type="InvalidAuthKey"
        )
    given = volume.need(tx, row.volume_id)
    if given.status != "awaiting-transfer":
        raise invalid_volume(f"Transfer {row.id}: Volume id {given.id} expected in state awaiting-transfer")
    snapshots = volume.snapshots_of(tx, given.id)
    wanted = {"volumes": 1, "gigabytes": given.size * (1 + snapshots), "snapshots": snapshots}
    quota.check(tx, str(caller.project_id), wanted, given.volume_type_id)
    owner: dict[str, Any] = {"project_id": need_project(caller.project_id), "user_id": caller.user_id}
    volume.save(tx, given.id, status="available", **owner)
    tx.execute(update(volume_snapshot).where(volume_snapshot.c.volume_id == given.id).values(**owner))
    tx.execute(sql_delete(table).where(table.c.id == row.id))
    return {"transfer": _brief(req, row)}


def remove(tx: Tx, req: Request) -> Any:
    row = _get(tx, req)
    req.enforce("volume:delete_transfer", {"project_id": row.source_project_id})
    given = volume.find(tx, row.volume_id)
    if given is not None and given.status == "awaiting-transfer":
        volume.save(tx, given.id, status="available")
    tx.execute(sql_delete(table).where(table.c.id == row.id))
    return Response(202)


def routes(settings: Settings) -> list[Both]:
    found = []
    for at, since in (("/os-volume-transfer", None), ("/volume-transfers", (3, 55))):
        one = at + "/{transfer_id}"
        found += [
            Both("GET", at, index, "volume:get_all_transfers", min_version=since),
            Both("POST", at, create, AUTHENTICATED, status=202, min_version=since),
            Both("GET", at + "/detail", detail, "volume:get_all_transfers", min_version=since),
            Both("GET", one, show, AUTHENTICATED, min_version=since),
            Both("DELETE", one, remove, AUTHENTICATED, min_version=since),
            Both("POST", one + "/accept", accept, AUTHENTICATED, status=202, min_version=since),
        ]
    return found
