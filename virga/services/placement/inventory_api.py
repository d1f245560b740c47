"""Inventories, usages and traits of a provider over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select

from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.services.placement import inventory, provider
from virga.services.placement.classes import STANDARD, STANDARD_TRAITS
from virga.services.placement.faults import bad, conflict, missing
from virga.services.placement.inventory import FIELDS, MAX, Inventory
from virga.services.placement.models import allocation, consumer, provider_trait, resource_class, trait
from virga.services.placement.provider_api import check_generation, get, of_request
from virga.services.placement.schema import CLASS, GENERATION, Schema, check, keyed, obj

_COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": MAX}
_ITEM_FIELDS: Schema = {
    "total": _COUNT,
    "reserved": {"type": "integer", "minimum": 0, "maximum": MAX},
    "min_unit": _COUNT,
    "max_unit": _COUNT,
    "step_size": _COUNT,
    "allocation_ratio": {"type": "number", "maximum": 3.40282e38},
}
_ITEM: Schema = obj(_ITEM_FIELDS, ("total",))
ONE: Schema = obj(
    _ITEM_FIELDS | {"resource_provider_generation": GENERATION}, ("total", "resource_provider_generation")
)
CREATE: Schema = obj(
    _ITEM_FIELDS
    | {"resource_class": {"type": "string", "pattern": CLASS}, "resource_provider_generation": GENERATION},
    ("resource_class", "total"),
)
ALL: Schema = obj(
    {"resource_provider_generation": GENERATION, "inventories": keyed(CLASS, _ITEM)},
    ("resource_provider_generation", "inventories"),
)
TRAITS: Schema = obj(
    {
        "traits": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": CLASS},
            "uniqueItems": True,
        },
        "resource_provider_generation": GENERATION,
    },
    ("traits", "resource_provider_generation"),
)


def known_classes(tx: Tx) -> set[str]:
    return {*STANDARD, *(row.name for row in tx.all(select(resource_class.c.name)))}


def known_traits(tx: Tx) -> set[str]:
    return {*STANDARD_TRAITS, *(row.name for row in tx.all(select(trait.c.name)))}


def check_class(tx: Tx, name: str) -> None:
    if name not in known_classes(tx):
        raise bad(
            f"Unknown resource class in inventory for resource provider: No such resource class {name}."
        )


def _item(asked: Mapping[str, Any], req: Request, name: str, provider_id: str) -> Inventory:
    found = Inventory(**{k: v for k, v in asked.items() if k in FIELDS})
    over = found.reserved > found.total or (found.reserved == found.total and req.microversion < (1, 26))
    if over:
        raise bad(
            f"Unable to update inventory for resource provider {provider_id}: Invalid inventory for '{name}' on "
            f"resource provider '{provider_id}'. The reserved value is greater than or equal to total."
        )
    return found


def _shown(item: Inventory) -> dict[str, Any]:
    return {name: getattr(item, name) for name in FIELDS}


def _all(tx: Tx, provider_id: str) -> dict[str, Any]:
    found = inventory.of_provider(tx, provider_id)
    return {
        "inventories": {name: _shown(item) for name, item in found.items()},
        "resource_provider_generation": get(tx, provider_id).generation,
    }


def index(tx: Tx, req: Request) -> Any:
    return _all(tx, of_request(tx, req).id)


def _one(tx: Tx, provider_id: str, name: str) -> dict[str, Any]:
    found = inventory.of_provider(tx, provider_id)
    if name not in found:
        raise missing(f"No inventory of class {name} for {provider_id}")
    return _shown(found[name]) | {"resource_provider_generation": get(tx, provider_id).generation}


def show(tx: Tx, req: Request) -> Any:
    return _one(tx, of_request(tx, req).id, req["name"])


def create(tx: Tx, req: Request) -> Any:
    row = of_request(tx, req)
    asked = check(req, CREATE)
    name = asked["resource_class"]
    check_class(tx, name)
    found = inventory.of_provider(tx, row.id)
    if name in found:
        raise conflict(f"Update conflict: Inventory of class {name} already exists for {row.id}")
    inventory.replace(
        tx, row.id, found | {name: _item(asked, req, name, row.id)}, asked.get("resource_provider_generation")
    )
    location = f"/placement/resource_providers/{row.id}/inventories/{name}"
    return Response(201, _one(tx, row.id, name), {"location": location})


def set_one(tx: Tx, req: Request) -> Any:
    row = of_request(tx, req)
    asked = check(req, ONE)
    check_generation(row, asked["resource_provider_generation"])
    found = inventory.of_provider(tx, row.id)
    name = req["name"]
    if name not in found:
        raise bad(f"Unknown inventory in class {name} for resource provider {row.id}")
    inventory.replace(tx, row.id, found | {name: _item(asked, req, name, row.id)})
    return _one(tx, row.id, name)


def set_all(tx: Tx, req: Request) -> Any:
    row = of_request(tx, req)
    asked = check(req, ALL)
    check_generation(row, asked["resource_provider_generation"])
    for name in asked["inventories"]:
        check_class(tx, name)
    inventory.replace(tx, row.id, {n: _item(i, req, n, row.id) for n, i in asked["inventories"].items()})
    return _all(tx, row.id)


def delete_one(tx: Tx, req: Request) -> Any:
    row = of_request(tx, req)
    found = inventory.of_provider(tx, row.id)
    if req["name"] not in found:
        raise missing(
            f"No inventory of class {req['name']} found for delete: No inventory of class {req['name']} found."
        )
    inventory.replace(tx, row.id, {n: i for n, i in found.items() if n != req["name"]})
    return Response(204)


def delete_all(tx: Tx, req: Request) -> Any:
    inventory.replace(tx, of_request(tx, req).id, {})
    return Response(204)


def usages(tx: Tx, req: Request) -> Any:
    row = of_request(tx, req)
    used = inventory.used_of(tx, row.id)
    return {
        "resource_provider_generation": row.generation,
        "usages": {name: used.get(name, 0) for name in inventory.of_provider(tx, row.id)},
    }


def project_usages(tx: Tx, req: Request) -> Any:
    project_id = req.param("project_id")
    if not project_id:
        raise bad(
            "Invalid query string parameters: 'project_id' is a required property",
            "placement.query.missing_value",
        )
    statement = (
        select(
            consumer.c.consumer_type, allocation.c.resource_class, func.sum(allocation.c.used).label("used")
        )
        .join(consumer, consumer.c.id == allocation.c.consumer_id)
        .where(consumer.c.project_id == project_id)
        .group_by(consumer.c.consumer_type, allocation.c.resource_class)
    )
    if user_id := req.param("user_id"):
        statement = statement.where(consumer.c.user_id == user_id)
    rows = tx.all(statement)
    if req.microversion < (1, 38):
        total: dict[str, int] = {}
        for row in rows:
            total[row.resource_class] = total.get(row.resource_class, 0) + int(row.used)
        return {"usages": total}
    by_type: dict[str, dict[str, int]] = {}
    for row in rows:
        by_type.setdefault(row.consumer_type or "unknown", {})[row.resource_class] = int(row.used)
    counts = tx.all(
        select(consumer.c.consumer_type, func.count(consumer.c.id).label("consumers"))
        .where(consumer.c.project_id == project_id)
        .group_by(consumer.c.consumer_type)
    )
    for row in counts:
        by_type.setdefault(row.consumer_type or "unknown", {})["consumer_count"] = int(row.consumers)
    wanted = req.param("consumer_type")
    return {"usages": {k: v for k, v in by_type.items() if wanted in (None, "all", k)}}


# --- traits of a provider ------------------------------------------------------------------------------


def _traits(tx: Tx, provider_id: str) -> dict[str, Any]:
    return {
        "traits": provider.traits_of(tx, provider_id),
        "resource_provider_generation": get(tx, provider_id).generation,
    }


def traits(tx: Tx, req: Request) -> Any:
    return _traits(tx, of_request(tx, req).id)


def set_traits(tx: Tx, req: Request) -> Any:
    row = of_request(tx, req)
    asked = check(req, TRAITS)
    unknown = sorted(set(asked["traits"]) - known_traits(tx))
    if unknown:
        raise bad(f"No such trait {', '.join(unknown)}")
    check_generation(row, asked["resource_provider_generation"])
    tx.execute(sql_delete(provider_trait).where(provider_trait.c.provider_id == row.id))
    provider.ensure_traits(tx, row.id, asked["traits"])
    inventory.bump(tx, row.id)
    return _traits(tx, row.id)


def delete_traits(tx: Tx, req: Request) -> Any:
    row = of_request(tx, req)
    tx.execute(sql_delete(provider_trait).where(provider_trait.c.provider_id == row.id))
    inventory.bump(tx, row.id)
    return Response(204)


def routes() -> list[Route]:
    at = "/resource_providers/{uuid}"
    rule = "placement:resource_providers:"
    one = at + "/inventories/{name}"
    return [
        Route("GET", at + "/inventories", index, rule + "inventories:list"),
        Route("POST", at + "/inventories", create, rule + "inventories:create"),
        Route("PUT", at + "/inventories", set_all, rule + "inventories:update"),
        Route("DELETE", at + "/inventories", delete_all, rule + "inventories:delete", min_version=(1, 5)),
        Route("GET", one, show, rule + "inventories:show"),
        Route("PUT", one, set_one, rule + "inventories:update"),
        Route("DELETE", one, delete_one, rule + "inventories:delete"),
        Route("GET", at + "/usages", usages, rule + "usages"),
        Route("GET", at + "/traits", traits, rule + "traits:list", min_version=(1, 6)),
        Route("PUT", at + "/traits", set_traits, rule + "traits:update", min_version=(1, 6)),
        Route("DELETE", at + "/traits", delete_traits, rule + "traits:delete", min_version=(1, 6)),
        Route("GET", "/usages", project_usages, "placement:usages", min_version=(1, 9)),
    ]
