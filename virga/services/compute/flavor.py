"""Flavors: sizes of servers. Made and removed by admins, seen by all or by some projects."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, or_, select, update
from sqlalchemy.engine import Row

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.compute.faults import Busy, Invalid, flavor_not_found
from virga.services.compute.models import flavor as table
from virga.services.compute.models import flavor_access
from virga.services.compute.page import after_marker, limit_of, links, next_link
from virga.services.compute.schema import (
    BOOLEAN,
    NAME,
    NON_NEGATIVE,
    SIZE,
    SIZE_OR_ZERO,
    TEXT,
    V21,
    Versioned,
    changed,
    check_body,
    check_query,
    obj,
    several,
    truth,
    wrapped,
)
from virga.settings import Settings

_DESCRIPTION = {"type": ["string", "null"], "minLength": 0, "maxLength": 65535, "format": "printable"}
_CREATE = wrapped(
    "flavor",
    obj(
        {
            "name": NAME,
            "id": {
                "type": ["string", "number", "null"],
                "minLength": 1,
                "maxLength": 255,
                "pattern": "^(?! )[a-zA-Z0-9. _-]+(?<! )$",
            },
            "ram": SIZE,
            "vcpus": SIZE,
            "disk": SIZE_OR_ZERO,
            "OS-FLV-EXT-DATA:ephemeral": SIZE_OR_ZERO,
            "swap": SIZE_OR_ZERO,
            "rxtx_factor": {
                "type": ["number", "string"],
                "pattern": r"^[0-9]+(\.[0-9]+)?$",
                "exclusiveMinimum": 0,
                "maximum": 3.40282e38,
            },
            "os-flavor-access:is_public": BOOLEAN,
        },
        ["name", "ram", "vcpus", "disk"],
    ),
)
_CREATE_255 = changed(_CREATE, "flavor", description=_DESCRIPTION)
CREATE = Versioned(
    (V21, _CREATE), ((2, 55), _CREATE_255), ((2, 102), changed(_CREATE_255, "flavor", rxtx_factor=None))
)
UPDATE = Versioned((V21, wrapped("flavor", obj({"description": _DESCRIPTION}, ["description"]))))

_COLUMNS = {"flavorid": "id", "id": "number", "swap": "swap_mb", "vcpu_weight": "number"}
_SORT_KEYS = [
    "created_at",
    "description",
    "disabled",
    "ephemeral_gb",
    "flavorid",
    "id",
    "is_public",
    "memory_mb",
    "name",
    "root_gb",
    "rxtx_factor",
    "swap",
    "updated_at",
    "vcpu_weight",
    "vcpus",
]
_LIST = obj(
    {
        "limit": several(NON_NEGATIVE),
        "marker": several(TEXT),
        "is_public": several(TEXT),
        "minRam": several(TEXT),
        "minDisk": several(TEXT),
        "sort_key": several({"type": "string", "enum": _SORT_KEYS}),
        "sort_dir": several({"type": "string", "enum": ["asc", "desc"]}),
    },
    extra=True,
)
_LIST_275 = _LIST | {"additionalProperties": False}
LIST = Versioned(
    (V21, _LIST),
    ((2, 75), _LIST_275),
    (
        (2, 102),
        changed(
            _LIST_275,
            "",
            name=several(TEXT),
            sort_key=several({"type": "string", "enum": [k for k in _SORT_KEYS if k != "rxtx_factor"]}),
        ),
    ),
)


def get(tx: Tx, caller: Any, flavor_id: str, status: int = 404) -> Row[Any]:
    """The flavor, if this caller may use it."""
    row = tx.first(select(table).where(table.c.id == flavor_id))
    if row is None or not (row.is_public or caller.is_admin or _shared(tx, row.id, caller.project_id)):
        raise flavor_not_found(flavor_id, status)
    return row


def _shared(tx: Tx, flavor_id: str, project_id: str | None) -> bool:
    return (
        tx.first(
            select(flavor_access.c.flavor_id).where(
                flavor_access.c.flavor_id == flavor_id, flavor_access.c.project_id == project_id
            )
        )
        is not None
    )


def snapshot(row: Any) -> dict[str, Any]:
    """A flavor as a server keeps it: the flavor may change or go, the server stays what it is."""
    return {
        "number": row.number,
        "id": row.id,
        "name": row.name,
        "vcpus": row.vcpus,
        "memory_mb": row.memory_mb,
        "root_gb": row.root_gb,
        "ephemeral_gb": row.ephemeral_gb,
        "swap_mb": row.swap_mb,
        "extra_specs": row.extra_specs,
    }


def view(req: Request, row: Any, extra_specs: bool) -> dict[str, Any]:
    """One flavor in full, as this microversion shows it."""
    version = req.microversion
    body = {
        "id": row.id,
        "name": row.name,
        "ram": row.memory_mb,
        "disk": row.root_gb,
        "swap": row.swap_mb or (0 if version >= (2, 75) else ""),
        "OS-FLV-EXT-DATA:ephemeral": row.ephemeral_gb,
        "OS-FLV-DISABLED:disabled": row.disabled,
        "vcpus": row.vcpus,
        "os-flavor-access:is_public": row.is_public,
        "rxtx_factor": row.rxtx_factor,
        "links": links(req, "flavors", row.id),
    }
    if version >= (2, 55):
        body["description"] = row.description
    if version >= (2, 102):
        del body["OS-FLV-DISABLED:disabled"], body["rxtx_factor"]
    if extra_specs:
        body["extra_specs"] = row.extra_specs
    return body


def _shows_specs(req: Request) -> bool:
    return req.microversion >= (2, 61) and req.allows("os_compute_api:os-flavor-extra-specs:index")


def _brief(req: Request, row: Any) -> dict[str, Any]:
    body = {"id": row.id, "name": row.name, "links": links(req, "flavors", row.id)}
    if req.microversion >= (2, 55):
        body["description"] = row.description
    return body


def _rows(tx: Tx, req: Request, page_limit: int) -> list[Any]:
    asked = check_query(req, LIST)
    statement = select(table)
    public = _public_filter(req)
    if public is True and not req.caller.is_admin:
        own = select(flavor_access.c.flavor_id).where(flavor_access.c.project_id == req.caller.project_id)
        statement = statement.where(
            or_(table.c.is_public.is_(True), table.c.id.in_(own)), table.c.disabled.is_(False)
        )
    elif public is not None:
        statement = statement.where(table.c.is_public.is_(public))
    for name, column in (("minRam", table.c.memory_mb), ("minDisk", table.c.root_gb)):
        if name in asked:
            try:
                statement = statement.where(column >= int(asked[name][-1]))
            except ValueError:
                raise Invalid(f"Invalid {name} filter [{asked[name][-1]}]") from None
    if "name" in asked:
        statement = statement.where(table.c.name == asked["name"][-1])
    key = asked.get("sort_key", ["flavorid"])[-1]
    column = table.c[_COLUMNS.get(key, key)]
    descending = asked.get("sort_dir", ["asc"])[-1] == "desc"
    order = [column.desc(), table.c.number.desc()] if descending else [column, table.c.number]
    return after_marker(tx.all(statement.order_by(*order)), req.param("marker"), limit_of(req, page_limit))


def _public_filter(req: Request) -> bool | None:
    text = req.param("is_public")
    if not req.caller.is_admin or text is None:
        return True
    if text.lower() == "none":
        return None
    if text.lower() in {"true", "1", "t", "y", "yes", "on"}:
        return True
    if text.lower() in {"false", "0", "f", "n", "no", "off"}:
        return False
    raise Invalid(f"Invalid is_public filter [{text}]")


def index(tx: Tx, req: Request, *, page_limit: int) -> Any:
    rows = _rows(tx, req, page_limit)
    return _listed(req, "/v2.1/flavors", [_brief(req, r) for r in rows], page_limit)


def detail(tx: Tx, req: Request, *, page_limit: int) -> Any:
    rows = _rows(tx, req, page_limit)
    specs = _shows_specs(req)
    return _listed(req, "/v2.1/flavors/detail", [view(req, r, specs) for r in rows], page_limit)


def _listed(req: Request, path: str, items: list[dict[str, Any]], page_limit: int) -> Any:
    body: dict[str, Any] = {"flavors": items}
    if more := next_link(req, path, [i["id"] for i in items], page_limit):
        body["flavors_links"] = more
    return body


def show(tx: Tx, req: Request) -> Any:
    row = get(tx, req.caller, req["flavor_id"])
    return {"flavor": view(req, row, _shows_specs(req))}


def create(tx: Tx, req: Request) -> Any:
    asked = check_body(req, CREATE)["flavor"]
    name = asked["name"].strip()
    flavor_id = asked.get("id")
    flavor_id = new_uuid() if flavor_id is None else str(flavor_id)
    if tx.first(select(table.c.id).where(table.c.name == name)):
        raise Busy(f"Flavor with name {name} already exists.", type="FlavorExists")
    if tx.first(select(table.c.id).where(table.c.id == flavor_id)):
        raise Busy(f"Flavor with ID {flavor_id} already exists.", type="FlavorIdExists")
    tx.execute(
        insert(table).values(
            id=flavor_id,
            name=name,
            description=asked.get("description"),
            vcpus=int(asked["vcpus"]),
            memory_mb=int(asked["ram"]),
            root_gb=int(asked["disk"]),
            ephemeral_gb=int(asked.get("OS-FLV-EXT-DATA:ephemeral", 0)),
            swap_mb=int(asked.get("swap", 0)),
            rxtx_factor=float(asked.get("rxtx_factor", 1.0)),
            is_public=truth(asked.get("os-flavor-access:is_public", True)),
            disabled=False,
            extra_specs={},
            created_at=tx.now,
        )
    )
    row = tx.first(select(table).where(table.c.id == flavor_id))
    return {"flavor": view(req, row, _shows_specs(req))}


def change(tx: Tx, req: Request) -> Any:
    asked = check_body(req, UPDATE)["flavor"]
    row = get(tx, req.caller, req["flavor_id"])
    tx.execute(
        update(table).where(table.c.id == row.id).values(description=asked["description"], updated_at=tx.now)
    )
    row = get(tx, req.caller, row.id)
    return {"flavor": view(req, row, _shows_specs(req))}


def remove(tx: Tx, req: Request) -> Any:
    if tx.execute(sql_delete(table).where(table.c.id == req["flavor_id"])).rowcount == 0:
        raise flavor_not_found(req["flavor_id"])
    return Response(202)


def routes(settings: Settings) -> list[Route]:
    manage = "os_compute_api:os-flavor-manage:"
    limit = settings.page_limit
    return [
        Route("GET", "/v2.1/flavors", partial(index, page_limit=limit), AUTHENTICATED),
        Route("POST", "/v2.1/flavors", create, manage + "create"),
        Route("GET", "/v2.1/flavors/detail", partial(detail, page_limit=limit), AUTHENTICATED),
        Route("GET", "/v2.1/flavors/{flavor_id}", show, AUTHENTICATED),
        Route("PUT", "/v2.1/flavors/{flavor_id}", change, manage + "update", min_version=(2, 55)),
        Route("DELETE", "/v2.1/flavors/{flavor_id}", remove, manage + "delete"),
    ]
