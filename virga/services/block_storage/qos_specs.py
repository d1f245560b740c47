"""QoS specs: named limits of front end and back end, associated with volume types."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row

from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.block_storage import schema, volume_type
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Exists, Invalid, qos_not_found
from virga.services.block_storage.models import volume_qos_specs as table
from virga.services.block_storage.models import volume_type as types
from virga.services.block_storage.page import Page
from virga.services.block_storage.schema import Body, query_truth, wrapped
from virga.settings import Settings

CONSUMERS = ("back-end", "front-end", "both")
_SPEC = {"type": ["string", "integer", "number", "null"], "maxLength": 255}
_SPECS = {
    "type": "object",
    "patternProperties": {"^[a-zA-Z0-9-_:. ]{1,255}$": _SPEC},
    "additionalProperties": False,
}
_CREATE = {
    **_SPECS,
    "properties": {"name": schema.REAL_NAME, "consumer": {"type": "string", "enum": list(CONSUMERS)}},
    "required": ["name"],
}
CREATE = Body(wrapped("qos_specs", _CREATE))
SET = Body(
    wrapped("qos_specs", {**_SPECS, "properties": {"consumer": {"type": "string", "enum": list(CONSUMERS)}}})
)
DELETE_KEYS = Body(
    wrapped("keys", {"type": "array", "minItems": 1, "uniqueItems": True, "items": schema.REAL_NAME})
)


def _view(row: Row[Any]) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "consumer": row.consumer, "specs": dict(row.specs)}


def _one(req: Request, row: Row[Any]) -> dict[str, Any]:
    links = [
        {"rel": "self", "href": req.url(f"/v3/qos-specs/{row.id}")},
        {"rel": "bookmark", "href": req.url(f"/qos-specs/{row.id}")},
    ]
    return {"qos_specs": _view(row), "links": links}


def _get(tx: Tx, qos_id: str) -> Row[Any]:
    row = tx.first(select(table).where(table.c.id == qos_id))
    if row is None:
        raise qos_not_found(qos_id)
    return row


def index(tx: Tx, req: Request) -> Any:
    page = Page(req, table, {k: k for k in ("id", "name", "created_at", "consumer")}, qos_not_found)
    rows = page.rows(tx, select(table))
    return page.listed("qos_specs", "/v3/qos-specs", rows, [_view(row) for row in rows])


def show(tx: Tx, req: Request) -> Any:
    return _one(req, _get(tx, req["qos_id"]))


def create(tx: Tx, req: Request) -> Any:
    asked = dict(CREATE.check(req)["qos_specs"])
    name, consumer = asked.pop("name").strip(), asked.pop("consumer", "back-end")
    if tx.first(select(table.c.id).where(table.c.name == name)):
        raise Exists(f"QoS Specs {name} already exists.", type="QoSSpecsExists")
    qos_id = new_uuid()
    specs = {key: str(value) for key, value in asked.items()}
    tx.execute(insert(table).values(id=qos_id, name=name, consumer=consumer, specs=specs, created_at=tx.now))
    return _one(req, _get(tx, qos_id))


def change(tx: Tx, req: Request) -> Any:
    asked = dict(SET.check(req)["qos_specs"])
    row = _get(tx, req["qos_id"])
    consumer = asked.pop("consumer", row.consumer)
    specs = {key: str(value) for key, value in asked.items()}
    tx.execute(
        update(table).where(table.c.id == row.id).values(consumer=consumer, specs={**row.specs, **specs})
    )
    return {"qos_specs": req.body["qos_specs"]}


def remove_keys(tx: Tx, req: Request) -> Any:
    keys = DELETE_KEYS.check(req)["keys"]
    row = _get(tx, req["qos_id"])
    for key in keys:
        if key not in row.specs:
            raise Invalid(
                f"QoS spec {row.id} has no spec with key {key}.", status=404, type="QoSSpecsKeyNotFound"
            )
    left = {key: value for key, value in row.specs.items() if key not in keys}
    tx.execute(update(table).where(table.c.id == row.id).values(specs=left))
    return Response(202)


def remove(tx: Tx, req: Request) -> Any:
    row = _get(tx, req["qos_id"])
    force = query_truth("force", req.param("force") or "false")
    if tx.first(select(types.c.id).where(types.c.qos_specs_id == row.id)):
        if not force:
            raise Invalid(f"QoS Specs {row.id} is still associated with entities.", type="QoSSpecsInUse")
        _disassociate(tx, row.id)
    tx.execute(sql_delete(table).where(table.c.id == row.id))
    return Response(202)


def _disassociate(tx: Tx, qos_id: str) -> None:
    tx.execute(update(types).where(types.c.qos_specs_id == qos_id).values(qos_specs_id=None))


def associations(tx: Tx, req: Request) -> Any:
    row = _get(tx, req["qos_id"])
    found = tx.all(select(types.c.id, types.c.name).where(types.c.qos_specs_id == row.id))
    return {
        "qos_associations": [
            {"association_type": "volume_type", "name": one.name, "id": one.id} for one in found
        ]
    }


def _type(tx: Tx, req: Request) -> Row[Any]:
    type_id = req.param("vol_type_id")
    if not type_id:
        raise Invalid("Volume Type id must not be None.")
    return volume_type.get(tx, req.caller, type_id)


def associate(tx: Tx, req: Request) -> Any:
    row = _get(tx, req["qos_id"])
    kind = _type(tx, req)
    if kind.qos_specs_id not in (None, row.id):
        raise Invalid(
            f"Invalid volume type: Type {kind.id} is already associated with another qos specs: {kind.qos_specs_id}",
            type="InvalidVolumeType",
        )
    tx.execute(update(types).where(types.c.id == kind.id).values(qos_specs_id=row.id))
    return Response(202)


def disassociate(tx: Tx, req: Request) -> Any:
    _get(tx, req["qos_id"])
    kind = _type(tx, req)
    tx.execute(update(types).where(types.c.id == kind.id).values(qos_specs_id=None))
    return Response(202)


def disassociate_all(tx: Tx, req: Request) -> Any:
    _disassociate(tx, _get(tx, req["qos_id"]).id)
    return Response(202)


def routes(settings: Settings) -> list[Both]:
    rule, one = "volume_extension:qos_specs_manage:", "/qos-specs/{qos_id}"
    return [
        Both("GET", "/qos-specs", index, rule + "get_all"),
        Both("POST", "/qos-specs", create, rule + "create"),
        Both("GET", one, show, rule + "get"),
        Both("PUT", one, change, rule + "update"),
        Both("DELETE", one, remove, rule + "delete"),
        Both("PUT", one + "/delete_keys", remove_keys, rule + "delete"),
        Both("GET", one + "/associations", associations, rule + "get_all"),
        Both("GET", one + "/associate", associate, rule + "update", write=True),
        Both("GET", one + "/disassociate", disassociate, rule + "update", write=True),
        Both("GET", one + "/disassociate_all", disassociate_all, rule + "update", write=True),
    ]
