"""Attachments over HTTP (3.27): reserve, connect, complete, let go; what a compute service of any kind uses."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.services.block_storage import attachment, schema, volume, volume_list
from virga.services.block_storage.attachment import Attachment
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Invalid, attachment_not_found
from virga.services.block_storage.models import volume as volume_table
from virga.services.block_storage.models import volume_attachment as table
from virga.services.block_storage.page import Page
from virga.services.block_storage.schema import Body, obj, wrapped
from virga.services.block_storage.volume_action import connection
from virga.settings import Settings

_MODE = {"type": ["string", "null"], "enum": ["rw", "ro", None]}
CREATE = Body(
    wrapped(
        "attachment",
        obj(
            {
                "instance_uuid": {"type": ["string", "null"]},
                "connector": {"type": ["object", "null"]},
                "volume_uuid": schema.UUID,
                "mode": _MODE,
            },
            ["volume_uuid"],
        ),
    )
)
UPDATE = Body(
    wrapped(
        "attachment", obj({"connector": {"type": "object", "minProperties": 1}, "mode": _MODE}, ["connector"])
    )
)


def _brief(row: Attachment) -> dict[str, Any]:
    return {"id": row.id, "status": row.status, "instance": row.server_id, "volume_id": row.volume_id}


def _full(row: Attachment) -> dict[str, Any]:
    return {
        **_brief(row),
        "attached_at": iso_micro(row.attached_at, "") or "",
        "detached_at": "",
        "attach_mode": row.mode if row.status in ("attached", "attaching") else "null",
        "connection_info": row.connection_info or {},
    }


def _find(tx: Tx, req: Request, rule: str | None) -> tuple[Attachment, Any]:
    row = attachment.find(tx, req["attachment_id"])
    owner = volume.find(tx, row.volume_id) if row is not None else None
    caller = req.caller
    if row is None or owner is None or not (caller.is_admin or owner.project_id == caller.project_id):
        raise attachment_not_found(req["attachment_id"])
    if rule:
        req.enforce(rule, volume.target(owner))
    return row, owner


def _page(tx: Tx, req: Request) -> tuple[Page, Any]:
    statement = select(table)
    if not volume_list.all_tenants(req):
        mine = select(volume_table.c.id).where(volume_table.c.project_id == req.caller.project_id)
        statement = statement.where(table.c.volume_id.in_(mine))
    names = {
        "volume_id": "volume_id",
        "status": "status",
        "instance_id": "server_id",
        "attach_status": "status",
    }
    for name, column in names.items():
        if (value := req.param(name)) is not None:
            statement = statement.where(table.c[column] == value)
    keys = {
        "id": "id",
        "created_at": "created_at",
        "volume_id": "volume_id",
        "status": "status",
        "instance_id": "server_id",
    }
    page = Page(req, table, keys, attachment_not_found)
    return page, page.rows(tx, statement)


def index(tx: Tx, req: Request) -> Any:
    page, rows = _page(tx, req)
    return page.listed("attachments", "/v3/attachments", rows, [_brief(row) for row in rows])


def detail(tx: Tx, req: Request) -> Any:
    page, rows = _page(tx, req)
    return page.listed("attachments", "/v3/attachments/detail", rows, [_full(row) for row in rows])


def show(tx: Tx, req: Request) -> Any:
    row, _ = _find(tx, req, "volume:get")
    return {"attachment": _full(row)}


def create(tx: Tx, req: Request) -> Any:
    asked = CREATE.check(req)["attachment"]
    owner = volume.get(tx, req.caller, asked["volume_uuid"])
    req.enforce("volume:attachment_create", volume.target(owner))
    made = attachment.reserve(tx, owner, asked.get("instance_uuid"))
    if req.microversion >= (3, 54) and asked.get("mode"):
        attachment.save(tx, made, mode=asked["mode"])
    if asked.get("connector"):
        _connect(tx, made, asked["connector"])
    return {"attachment": _full(attachment.need(tx, made))}


def _connect(tx: Tx, attachment_id: str, connector: dict[str, Any]) -> None:
    """The target comes up; the initiator tries until it is there."""
    attachment.connect(tx, attachment_id, str(connector.get("host") or ""), local=False)
    row = attachment.need(tx, attachment_id)
    info = connection(tx, volume.need(tx, row.volume_id))
    flat = {"driver_volume_type": info["driver_volume_type"], **info["data"], "attachment_id": attachment_id}
    attachment.save(
        tx, attachment_id, connector=connector, connection_info=flat, device=connector.get("mountpoint")
    )


def change(tx: Tx, req: Request) -> Any:
    asked = UPDATE.check(req)["attachment"]
    row, _ = _find(tx, req, "volume:attachment_update")
    if row.status == "attached":
        raise Invalid(f"Attachment {row.id} is attached already.")
    _connect(tx, row.id, asked["connector"])
    return {"attachment": _full(attachment.need(tx, row.id))}


def remove(tx: Tx, req: Request) -> Any:
    row, _ = _find(tx, req, "volume:attachment_delete")
    attachment.remove(tx, row.id)
    left = attachment.of_volume(tx, row.volume_id)
    return {"attachments": [_brief(one) for one in left]}


def complete(tx: Tx, req: Request) -> Any:
    row, owner = _find(tx, req, "volume:attachment_complete")
    if owner.status not in ("attaching", "reserved", "in-use"):
        raise Invalid(f"Invalid volume: Volume {owner.id} status must be attaching, but is {owner.status}.")
    attachment.complete(tx, row.id)
    return Response(204)


def routes(settings: Settings) -> list[Both]:
    at, one, since = "/attachments", "/attachments/{attachment_id}", (3, 27)
    return [
        Both("GET", at, index, "volume:get_all", min_version=since),
        Both("POST", at, create, AUTHENTICATED, min_version=since),
        Both("GET", at + "/detail", detail, "volume:get_all", min_version=since),
        Both("GET", one, show, AUTHENTICATED, min_version=since),
        Both("PUT", one, change, AUTHENTICATED, min_version=since),
        Both("DELETE", one, remove, AUTHENTICATED, min_version=since),
        Both(
            "POST",
            one + "/action",
            complete,
            AUTHENTICATED,
            action="os-complete",
            min_version=(3, 44),
            status=204,
        ),
    ]
