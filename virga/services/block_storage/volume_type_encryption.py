"""Encryption of volume types: the record that admins keep. There is no key manager, so such a type makes no volumes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.lib.ids import new_uuid
from virga.services.block_storage import volume_type
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Exists, Invalid, Missing
from virga.services.block_storage.models import volume
from virga.services.block_storage.models import volume_type as table
from virga.services.block_storage.schema import Body, obj, wrapped
from virga.settings import Settings

_FIELDS = {
    "key_size": {
        "type": ["string", "integer", "null"],
        "pattern": r"^[0-9]+$",
        "minimum": 0,
        "maximum": 0x7FFFFFFF,
    },
    "provider": {"type": "string", "minLength": 0, "maxLength": 255},
    "control_location": {"enum": ["front-end", "back-end"]},
    "cipher": {"type": ["string", "null"], "minLength": 0, "maxLength": 255},
}
CREATE = Body(wrapped("encryption", obj(_FIELDS, ["provider", "control_location"], extra=True)))
UPDATE = Body(wrapped("encryption", obj(_FIELDS)))


def _kept(asked: dict[str, Any]) -> dict[str, Any]:
    found = {name: asked[name] for name in _FIELDS if name in asked}
    if found.get("key_size") is not None:
        found["key_size"] = int(found["key_size"])
    return found


def _view(tx: Tx, row: Any) -> dict[str, Any]:
    if not row.encryption:
        return {}
    return {
        "volume_type_id": row.id,
        "deleted": False,
        "created_at": iso_micro(row.encryption["created_at"], ""),
        "updated_at": None,
        "deleted_at": None,
        **{name: value for name, value in row.encryption.items() if name != "created_at"},
    }


def show(tx: Tx, req: Request) -> Any:
    return _view(tx, volume_type.get(tx, req.caller, req["type_id"]))


def show_one(tx: Tx, req: Request) -> Any:
    found = _view(tx, volume_type.get(tx, req.caller, req["type_id"]))
    if req["key"] not in found:
        raise Missing("The resource could not be found.")
    return {req["key"]: found[req["key"]]}


def _check_unused(tx: Tx, row: Any) -> None:
    if tx.first(select(volume.c.id).where(volume.c.volume_type_id == row.id)):
        raise Invalid("Cannot create encryption specs. Volume type in use.")


def _save(tx: Tx, row: Any, encryption: dict[str, Any] | None) -> None:
    tx.execute(update(table).where(table.c.id == row.id).values(encryption=encryption, updated_at=tx.now))


def create(tx: Tx, req: Request) -> Any:
    asked = CREATE.check(req)["encryption"]
    row = volume_type.get(tx, req.caller, req["type_id"])
    _check_unused(tx, row)
    if row.encryption:
        raise Exists(f"Volume type encryption for type {row.id} already exists.", status=400)
    kept = {"cipher": None, "key_size": None, **_kept(asked), "encryption_id": new_uuid()}
    _save(tx, row, {**kept, "created_at": tx.now})
    return {"encryption": {"volume_type_id": row.id, **kept}}


def _need(tx: Tx, req: Request) -> Any:
    row = volume_type.get(tx, req.caller, req["type_id"])
    if not row.encryption or row.encryption["encryption_id"] != req["encryption_id"]:
        raise Missing(f"Volume type encryption for type {row.id} does not exist.")
    return row


def change(tx: Tx, req: Request) -> Any:
    asked = _kept(UPDATE.check(req)["encryption"])
    row = _need(tx, req)
    _check_unused(tx, row)
    _save(tx, row, {**row.encryption, **asked})
    return {"encryption": asked}


def remove(tx: Tx, req: Request) -> Any:
    row = _need(tx, req)
    _check_unused(tx, row)
    _save(tx, row, None)
    return Response(202)


def routes(settings: Settings) -> list[Both]:
    rule, at = "volume_extension:volume_type_encryption:", "/types/{type_id}/encryption"
    return [
        Both("GET", at, show, rule + "get"),
        Both("POST", at, create, rule + "create"),
        Both("GET", at + "/{key}", show_one, rule + "get"),
        Both("PUT", at + "/{encryption_id}", change, rule + "update"),
        Both("DELETE", at + "/{encryption_id}", remove, rule + "delete"),
    ]
