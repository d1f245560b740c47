"""Volume types over HTTP: made by admins, seen by all or by some projects; extra specs, access, default types."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, or_, select, update

from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.block_storage import schema, volume_type
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Exists, Invalid, Missing, type_not_found
from virga.services.block_storage.models import (
    volume,
    volume_default_type,
    volume_quota,
    volume_snapshot,
    volume_type_access,
)
from virga.services.block_storage.models import volume_type as table
from virga.services.block_storage.page import Page
from virga.services.block_storage.schema import Body, obj, query_truth, truth, wrapped
from virga.settings import Settings

_FIELDS = {
    "name": schema.REAL_NAME,
    "description": schema.DESCRIPTION,
    "extra_specs": {**schema.SPECS, "type": ["object", "null"]},
    "os-volume-type-access:is_public": schema.BOOLEAN,
}
CREATE = Body(wrapped("volume_type", obj(_FIELDS, ["name"])))
UPDATE = Body(
    wrapped(
        "volume_type",
        obj({"name": schema.NAME, "description": schema.DESCRIPTION, "is_public": schema.BOOLEAN}),
    )
)
SPECS = Body(wrapped("extra_specs", schema.SPECS))
ONE_SPEC = Body(schema.SPECS)
_PROJECT = obj({"project": {"type": "string", "minLength": 1, "maxLength": 255}}, ["project"])
DEFAULT = Body(
    wrapped("default_type", obj({"volume_type": {"type": "string", "maxLength": 255}}, ["volume_type"]))
)


def view(req: Request, row: Any, whole: bool = True) -> dict[str, Any]:
    """A type as the caller may see it."""
    body: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "is_public": row.is_public,
        "description": row.description,
    }
    if whole:
        specs = dict(row.extra_specs)
        if not req.caller.is_admin:
            specs = {k: v for k, v in specs.items() if k in volume_type.VISIBLE}
        body["extra_specs"] = specs
        body["os-volume-type-access:is_public"] = row.is_public
    if req.allows("volume_extension:access_types_qos_specs_id"):
        body["qos_specs_id"] = row.qos_specs_id
    return body


def _created(req: Request, row: Any) -> dict[str, Any]:
    body = view(req, row)
    body.pop("qos_specs_id", None)
    return {"volume_type": body}


def index(tx: Tx, req: Request) -> Any:
    statement = select(table)
    public = req.param("is_public")
    if not req.caller.is_admin:
        mine = select(volume_type_access.c.volume_type_id).where(
            volume_type_access.c.project_id == req.caller.project_id
        )
        statement = statement.where(or_(table.c.is_public.is_(True), table.c.id.in_(mine)))
    elif public is None:
        statement = statement.where(table.c.is_public.is_(True))
    elif public.lower() != "none":
        if public.lower() not in ("true", "false", "1", "0", "t", "f", "yes", "no", "y", "n", "on", "off"):
            raise Invalid(f"Invalid is_public filter [{public}]")
        statement = statement.where(table.c.is_public.is_(query_truth("is_public", public)))
    if (name := req.param("name")) is not None:
        statement = statement.where(table.c.name == name)
    keys = {k: k for k in ("id", "name", "created_at", "updated_at", "is_public", "description")}
    page = Page(req, table, keys, type_not_found)
    rows = page.rows(tx, statement)
    return page.listed("volume_types", "/v3/types", rows, [view(req, row) for row in rows])


def show(tx: Tx, req: Request) -> Any:
    if req["type_id"] == "default":
        row = volume_type.default(tx, req.caller.project_id)
        if row is None:
            raise Missing("Default volume type can not be found.")
        return {"volume_type": view(req, row)}
    return {"volume_type": view(req, volume_type.get(tx, req.caller, req["type_id"]))}


def create(tx: Tx, req: Request) -> Any:
    asked = CREATE.check(req)["volume_type"]
    name = asked["name"].strip()
    if not name:
        raise Invalid("Volume type name can not be empty.")
    if tx.first(select(table.c.id).where(table.c.name == name)):
        raise Exists(f"Volume Type {name} already exists.", type="VolumeTypeExists")
    type_id = new_uuid()
    tx.execute(
        insert(table).values(
            id=type_id,
            name=name,
            description=asked.get("description"),
            is_public=truth(asked.get("os-volume-type-access:is_public", True)),
            extra_specs=asked.get("extra_specs") or {},
            created_at=tx.now,
        )
    )
    return _created(req, volume_type.find(tx, type_id))


def change(tx: Tx, req: Request) -> Any:
    asked = UPDATE.check(req)["volume_type"]
    row = volume_type.get(tx, req.caller, req["type_id"])
    name = asked.get("name")
    if "name" in asked and name is not None and not name.strip():
        raise Invalid("Volume type name can not be empty.")
    if name is None and asked.get("description") is None and "is_public" not in asked:
        raise Invalid("Specify volume type name, description, is_public or a combination thereof.")
    values: dict[str, Any] = {}
    if name is not None and name.strip() != row.name:
        name = name.strip()
        if tx.first(select(table.c.id).where(table.c.name == name)):
            raise Exists(f"Volume Type {name} already exists.", type="VolumeTypeExists")
        values["name"] = name
        for kind in ("volumes", "gigabytes", "snapshots"):
            tx.execute(
                update(volume_quota)
                .where(volume_quota.c.resource == f"{kind}_{row.name}")
                .values(resource=f"{kind}_{name}")
            )
    if "description" in asked:
        values["description"] = asked["description"]
    if "is_public" in asked:
        values["is_public"] = truth(asked["is_public"])
    _save(tx, row.id, **values)
    body = view(req, volume_type.find(tx, row.id))
    body.pop("qos_specs_id", None)
    body.pop("os-volume-type-access:is_public", None)
    return {"volume_type": body}


def _save(tx: Tx, type_id: str, **values: Any) -> None:
    tx.execute(update(table).where(table.c.id == type_id).values(updated_at=tx.now, **values))


def remove(tx: Tx, req: Request) -> Any:
    row = volume_type.get(tx, req.caller, req["type_id"])
    for used in (volume, volume_snapshot):
        if tx.first(select(used.c.id).where(used.c.volume_type_id == row.id)):
            raise Invalid("Target volume type is still in use.", type="VolumeTypeInUse")
    if row.name == volume_type.DEFAULT_NAME or tx.first(
        select(volume_default_type.c.project_id).where(volume_default_type.c.volume_type_id == row.id)
    ):
        raise Invalid(
            f"Volume type {row.id} cannot be deleted: it is the default volume type.",
            type="VolumeTypeDefaultDeletionError",
        )
    tx.execute(sql_delete(volume_type_access).where(volume_type_access.c.volume_type_id == row.id))
    for kind in ("volumes", "gigabytes", "snapshots"):
        tx.execute(sql_delete(volume_quota).where(volume_quota.c.resource == f"{kind}_{row.name}"))
    tx.execute(sql_delete(table).where(table.c.id == row.id))
    return Response(202)


# --- extra specs ---------------------------------------------------------------------------------------


def _specs(req: Request, row: Any) -> dict[str, str]:
    specs = dict(row.extra_specs)
    return specs if req.caller.is_admin else {k: v for k, v in specs.items() if k in volume_type.VISIBLE}


def specs_index(tx: Tx, req: Request) -> Any:
    return {"extra_specs": _specs(req, volume_type.get(tx, req.caller, req["type_id"]))}


def specs_create(tx: Tx, req: Request) -> Any:
    asked = SPECS.check(req)["extra_specs"]
    row = volume_type.get(tx, req.caller, req["type_id"])
    _check_keys(asked)
    _save(tx, row.id, extra_specs={**row.extra_specs, **asked})
    return {"extra_specs": asked}


def _check_keys(asked: dict[str, Any]) -> None:
    if not asked:
        return
    for key in asked:
        if (
            not key.replace("_", "")
            .replace("-", "")
            .replace(":", "")
            .replace(".", "")
            .replace(" ", "")
            .isalnum()
        ):
            raise Invalid(
                "Key names can only contain alphanumeric characters, underscores, periods, colons and hyphens."
            )


def _missing(row: Any, key: str) -> Missing:
    return Missing(
        f"Volume Type {row.id} has no extra specs with key {key}.", type="VolumeTypeExtraSpecsNotFound"
    )


def specs_show(tx: Tx, req: Request) -> Any:
    row = volume_type.get(tx, req.caller, req["type_id"])
    found = _specs(req, row)
    if req["key"] not in found:
        raise _missing(row, req["key"])
    return {req["key"]: found[req["key"]]}


def specs_update(tx: Tx, req: Request) -> Any:
    asked = ONE_SPEC.check(req)
    row = volume_type.get(tx, req.caller, req["type_id"])
    if req["key"] not in asked:
        raise Invalid("Request body and URI mismatch")
    if len(asked) > 1:
        raise Invalid("Request body contains too many items")
    _save(tx, row.id, extra_specs={**row.extra_specs, **asked})
    return asked


def specs_remove(tx: Tx, req: Request) -> Any:
    row = volume_type.get(tx, req.caller, req["type_id"])
    if req["key"] not in row.extra_specs:
        raise _missing(row, req["key"])
    _save(tx, row.id, extra_specs={k: v for k, v in row.extra_specs.items() if k != req["key"]})
    return Response(202)


# --- access --------------------------------------------------------------------------------------------


def access_index(tx: Tx, req: Request) -> Any:
    row = volume_type.get(tx, req.caller, req["type_id"])
    if row.is_public:
        raise Missing("Access list not available for public volume types.")
    found = tx.all(
        select(volume_type_access.c.project_id).where(volume_type_access.c.volume_type_id == row.id)
    )
    return {"volume_type_access": [{"volume_type_id": row.id, "project_id": one.project_id} for one in found]}


def _access(tx: Tx, req: Request, name: str) -> tuple[Any, str]:
    project = Body(wrapped(name, _PROJECT)).check(req)[name]["project"]
    row = volume_type.get(tx, req.caller, req["type_id"])
    if row.is_public:
        raise Exists("Type access modification is not applicable to public volume type.")
    return row, project


def access_add(tx: Tx, req: Request) -> Any:
    row, project = _access(tx, req, "addProjectAccess")
    if tx.first(_grant(row.id, project)):
        raise Exists(
            f"Volume type access for {row.id} / {project} combination already exists.",
            type="VolumeTypeAccessExists",
        )
    tx.execute(insert(volume_type_access).values(volume_type_id=row.id, project_id=project))
    return Response(202)


def _grant(type_id: str, project: str) -> Any:
    return select(volume_type_access.c.project_id).where(
        volume_type_access.c.volume_type_id == type_id, volume_type_access.c.project_id == project
    )


def access_remove(tx: Tx, req: Request) -> Any:
    row, project = _access(tx, req, "removeProjectAccess")
    if not tx.first(_grant(row.id, project)):
        raise Missing(
            f"Volume type access not found for {row.id} / {project} combination.",
            type="VolumeTypeAccessNotFound",
        )
    tx.execute(
        sql_delete(volume_type_access).where(
            volume_type_access.c.volume_type_id == row.id, volume_type_access.c.project_id == project
        )
    )
    return Response(202)


# --- default types of projects (3.62) ------------------------------------------------------------------


def default_set(tx: Tx, req: Request) -> Any:
    named = DEFAULT.check(req)["default_type"]["volume_type"]
    row = volume_type.by_name_or_id(tx, req.caller, named)
    project = req["target_id"]
    tx.execute(sql_delete(volume_default_type).where(volume_default_type.c.project_id == project))
    tx.execute(insert(volume_default_type).values(project_id=project, volume_type_id=row.id))
    return {"default_type": {"project_id": project, "volume_type_id": row.id}}


def default_get(tx: Tx, req: Request) -> Any:
    found = tx.first(select(volume_default_type).where(volume_default_type.c.project_id == req["target_id"]))
    if found is None:
        raise Missing(f"Default type for project {req['target_id']} not found.")
    return {"default_type": {"project_id": found.project_id, "volume_type_id": found.volume_type_id}}


def default_index(tx: Tx, req: Request) -> Any:
    rows = tx.all(select(volume_default_type))
    return {"default_types": [{"project_id": r.project_id, "volume_type_id": r.volume_type_id} for r in rows]}


def default_unset(tx: Tx, req: Request) -> Any:
    tx.execute(sql_delete(volume_default_type).where(volume_default_type.c.project_id == req["target_id"]))
    return Response(204)


def routes(settings: Settings) -> list[Both]:
    x, at, one = "volume_extension:", "/types", "/types/{type_id}"
    specs, access = x + "types_extra_specs:", x + "volume_type_access:"
    defaults = "/default-types/{target_id}"
    since = (3, 62)
    return [
        Both("GET", at, index, x + "type_get_all"),
        Both("POST", at, create, x + "type_create"),
        Both("GET", one, show, x + "type_get"),
        Both("PUT", one, change, x + "type_update"),
        Both("DELETE", one, remove, x + "type_delete"),
        Both("GET", one + "/extra_specs", specs_index, specs + "index"),
        Both("POST", one + "/extra_specs", specs_create, specs + "create"),
        Both("GET", one + "/extra_specs/{key}", specs_show, specs + "show"),
        Both("PUT", one + "/extra_specs/{key}", specs_update, specs + "update"),
        Both("DELETE", one + "/extra_specs/{key}", specs_remove, specs + "delete"),
        Both("GET", one + "/os-volume-type-access", access_index, access + "get_all_for_type"),
        Both("POST", one + "/action", access_add, access + "addProjectAccess", action="addProjectAccess"),
        Both(
            "POST",
            one + "/action",
            access_remove,
            access + "removeProjectAccess",
            action="removeProjectAccess",
        ),
        Both("PUT", defaults, default_set, x + "default_set_or_update", min_version=since),
        Both("GET", defaults, default_get, x + "default_get", min_version=since),
        Both("DELETE", defaults, default_unset, x + "default_unset", min_version=since, status=204),
        Both("GET", "/default-types", default_index, x + "default_get_all", min_version=since),
    ]
