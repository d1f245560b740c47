"""Group types: what a group of volumes may do, by specs that admins write."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row

from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.block_storage import schema
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Exists, Invalid, Missing
from virga.services.block_storage.models import volume_group
from virga.services.block_storage.models import volume_group_type as table
from virga.services.block_storage.page import Page
from virga.services.block_storage.schema import Body, obj, query_truth, truth, wrapped
from virga.settings import Settings

_FIELDS = {
    "name": schema.REAL_NAME,
    "description": schema.DESCRIPTION,
    "is_public": schema.BOOLEAN,
    "group_specs": {**schema.SPECS, "type": ["object", "null"]},
}
CREATE = Body(wrapped("group_type", obj(_FIELDS, ["name"])))
UPDATE = Body(wrapped("group_type", obj({k: v for k, v in _FIELDS.items() if k != "group_specs"})))
SPECS = Body(wrapped("group_specs", schema.SPECS))
ONE_SPEC = Body(schema.SPECS)
SINCE = (3, 11)


def lost(ident: object) -> Missing:
    return Missing(f"Group type {ident} could not be found.", type="GroupTypeNotFound")


def find(tx: Tx, ident: str) -> Row[Any] | None:
    return tx.first(select(table).where(table.c.id == ident))


def get(tx: Tx, caller: Any, ident: str) -> Row[Any]:
    row = find(tx, ident) or tx.first(select(table).where(table.c.name == ident))
    if row is None or not (row.is_public or caller.is_admin):
        raise lost(ident)
    return row


def view(req: Request, row: Row[Any]) -> dict[str, Any]:
    body = {"id": row.id, "name": row.name, "description": row.description, "is_public": row.is_public}
    if req.caller.is_admin:
        body["group_specs"] = dict(row.group_specs)
    return body


def index(tx: Tx, req: Request) -> Any:
    statement = select(table)
    public = req.param("is_public")
    if not req.caller.is_admin or public is None:
        statement = statement.where(table.c.is_public.is_(True))
    elif public.lower() != "none":
        statement = statement.where(table.c.is_public.is_(query_truth("is_public", public)))
    page = Page(req, table, {k: k for k in ("id", "name", "created_at", "is_public", "description")}, lost)
    rows = page.rows(tx, statement)
    return page.listed("group_types", "/v3/group_types", rows, [view(req, row) for row in rows])


def show(tx: Tx, req: Request) -> Any:
    if req["group_type_id"] == "default":
        raise Missing("Default group type can not be found.")
    return {"group_type": view(req, get(tx, req.caller, req["group_type_id"]))}


def create(tx: Tx, req: Request) -> Any:
    asked = CREATE.check(req)["group_type"]
    name = asked["name"].strip()
    if tx.first(select(table.c.id).where(table.c.name == name)):
        raise Exists(f"Group Type {name} already exists.", type="GroupTypeExists")
    ident = new_uuid()
    tx.execute(
        insert(table).values(
            id=ident,
            name=name,
            description=asked.get("description"),
            is_public=truth(asked.get("is_public", True)),
            group_specs=asked.get("group_specs") or {},
            created_at=tx.now,
        )
    )
    return {"group_type": view(req, get(tx, req.caller, ident))}


def change(tx: Tx, req: Request) -> Any:
    asked = UPDATE.check(req)["group_type"]
    row = get(tx, req.caller, req["group_type_id"])
    values = {name: asked[name] for name in ("name", "description") if name in asked}
    if "is_public" in asked:
        values["is_public"] = truth(asked["is_public"])
    if not values:
        raise Invalid("Specify group type name, description or a combination thereof.")
    if "name" in values and tx.first(
        select(table.c.id).where(table.c.name == values["name"], table.c.id != row.id)
    ):
        raise Exists(f"Group Type {values['name']} already exists.", type="GroupTypeExists")
    tx.execute(update(table).where(table.c.id == row.id).values(**values))
    return {"group_type": view(req, get(tx, req.caller, row.id))}


def remove(tx: Tx, req: Request) -> Any:
    row = get(tx, req.caller, req["group_type_id"])
    if tx.first(select(volume_group.c.id).where(volume_group.c.group_type_id == row.id)):
        raise Invalid("Target group type is still in use.", type="GroupTypeInUse")
    tx.execute(sql_delete(table).where(table.c.id == row.id))
    return Response(202)


def _save(tx: Tx, row: Row[Any], specs: dict[str, Any]) -> None:
    tx.execute(update(table).where(table.c.id == row.id).values(group_specs=specs))


def _lost_spec(row: Row[Any], key: str) -> Missing:
    return Missing(f"Group Type {row.id} has no specs with key {key}.", type="GroupTypeSpecsNotFound")


def specs_index(tx: Tx, req: Request) -> Any:
    return {"group_specs": dict(get(tx, req.caller, req["group_type_id"]).group_specs)}


def specs_create(tx: Tx, req: Request) -> Any:
    asked = SPECS.check(req)["group_specs"]
    row = get(tx, req.caller, req["group_type_id"])
    _save(tx, row, {**row.group_specs, **asked})
    return {"group_specs": asked}


def specs_show(tx: Tx, req: Request) -> Any:
    row = get(tx, req.caller, req["group_type_id"])
    if req["key"] not in row.group_specs:
        raise _lost_spec(row, req["key"])
    return {req["key"]: row.group_specs[req["key"]]}


def specs_update(tx: Tx, req: Request) -> Any:
    asked = ONE_SPEC.check(req)
    row = get(tx, req.caller, req["group_type_id"])
    if list(asked) != [req["key"]]:
        raise Invalid("Request body and URI mismatch")
    _save(tx, row, {**row.group_specs, **asked})
    return asked


def specs_remove(tx: Tx, req: Request) -> Any:
    row = get(tx, req.caller, req["group_type_id"])
    if req["key"] not in row.group_specs:
        raise _lost_spec(row, req["key"])
    _save(tx, row, {k: v for k, v in row.group_specs.items() if k != req["key"]})
    return Response(202)


def routes(settings: Settings) -> list[Both]:
    at, one = "/group_types", "/group_types/{group_type_id}"
    specs, manage, read = one + "/group_specs", "group:group_types_manage", "group:group_types_read"
    spec = "group:group_types_specs"
    return [
        Both("GET", at, index, read, min_version=SINCE),
        Both("POST", at, create, manage, status=202, min_version=SINCE),
        Both("GET", one, show, read, min_version=SINCE),
        Both("PUT", one, change, manage, min_version=SINCE),
        Both("DELETE", one, remove, manage, min_version=SINCE),
        Both("GET", specs, specs_index, spec, min_version=SINCE),
        Both("POST", specs, specs_create, spec, status=202, min_version=SINCE),
        Both("GET", specs + "/{key}", specs_show, spec, min_version=SINCE),
        Both("PUT", specs + "/{key}", specs_update, spec, min_version=SINCE),
        Both("DELETE", specs + "/{key}", specs_remove, spec, min_version=SINCE),
    ]
