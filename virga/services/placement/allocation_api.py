"""Allocations over HTTP: what a consumer holds, of which providers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import select, update
from sqlalchemy.engine import Row

from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.lib.ids import is_uuid_like
from virga.services.placement import claim, inventory
from virga.services.placement.faults import bad, concurrent, conflict, missing
from virga.services.placement.inventory_api import known_classes
from virga.services.placement.models import allocation, consumer, resource_provider
from virga.services.placement.provider_api import of_request
from virga.services.placement.schema import CLASS, UUID, Schema, check, keyed, obj

POLICY = "placement:allocations:"
_RESOURCES: Schema = keyed(CLASS, {"type": "integer", "minimum": 1}, 1)
_WHO: Schema = {
    "project_id": {"type": "string", "minLength": 1, "maxLength": 255},
    "user_id": {"type": "string", "minLength": 1, "maxLength": 255},
}
_LIST: Schema = {
    "type": "array",
    "minItems": 1,
    "items": obj(
        {"resource_provider": obj({"uuid": UUID}, ("uuid",)), "resources": _RESOURCES},
        ("resource_provider", "resources"),
    ),
}
_UUIDS = "^[0-9a-fA-F-]{36}$"


def _map(least: int, generation: bool) -> Schema:
    item: Schema = {"resources": _RESOURCES}
    if generation:
        item["generation"] = {"type": "integer"}
    return keyed(_UUIDS, obj(item, ("resources",)), least)


def put_schema(version: tuple[int, int], many: bool = False) -> Schema:
    """The body of PUT, or one consumer's part of POST, at a microversion."""
    if version < (1, 8):
        return obj({"allocations": _LIST}, ("allocations",))
    if version < (1, 12):
        return obj({"allocations": _LIST, **_WHO}, ("allocations", "project_id", "user_id"))
    least = 0 if many or version >= (1, 28) else 1
    properties = {"allocations": _map(least, True), **_WHO}
    required = ["allocations", "project_id", "user_id"]
    if version >= (1, 28):
        properties["consumer_generation"] = {"type": ["integer", "null"]}
        required.append("consumer_generation")
    if version >= (1, 34):
        properties["mappings"] = keyed(
            "^([a-zA-Z0-9_-]{1,64})?$", {"type": "array", "minItems": 1, "items": UUID}, 1
        )
    if version >= (1, 38):
        properties["consumer_type"] = {
            "type": "string",
            "pattern": "^[A-Z0-9_]+$",
            "minLength": 1,
            "maxLength": 255,
        }
        required.append("consumer_type")
    return obj(properties, tuple(required))


def of_consumer(tx: Tx, req: Request) -> Any:
    ident = req["consumer_id"]
    rows = tx.all(
        select(allocation, resource_provider.c.generation)
        .join(resource_provider, resource_provider.c.id == allocation.c.provider_id)
        .where(allocation.c.consumer_id == ident)
        .order_by(allocation.c.number)
    )
    found: dict[str, Any] = {}
    for row in rows:
        entry = found.setdefault(row.provider_id, {"generation": row.generation, "resources": {}})
        entry["resources"][row.resource_class] = row.used
    body: dict[str, Any] = {"allocations": found}
    owner = tx.first(select(consumer).where(consumer.c.id == ident))
    if found and owner is not None and req.microversion >= (1, 12):
        body |= {"project_id": owner.project_id, "user_id": owner.user_id}
        if req.microversion >= (1, 28):
            body["consumer_generation"] = owner.generation
        if req.microversion >= (1, 38):
            body["consumer_type"] = owner.consumer_type or "unknown"
    return body


def of_provider(tx: Tx, req: Request) -> Any:
    row = of_request(tx, req)
    found: dict[str, Any] = {}
    for item in tx.all(
        select(allocation, consumer.c.generation)
        .join(consumer, consumer.c.id == allocation.c.consumer_id)
        .where(allocation.c.provider_id == row.id)
    ):
        entry = found.setdefault(item.consumer_id, {"resources": {}})
        entry["resources"][item.resource_class] = item.used
        if req.microversion >= (1, 28):
            entry["consumer_generation"] = item.generation
    return {"resource_provider_generation": row.generation, "allocations": found}


def _as_map(asked: Any) -> dict[str, dict[str, int]]:
    if isinstance(asked, dict):
        return {provider: item["resources"] for provider, item in asked.items()}
    return {item["resource_provider"]["uuid"]: item["resources"] for item in asked}


def _write(tx: Tx, version: tuple[int, int], consumer_id: str, asked: dict[str, Any]) -> None:
    """Exactly these allocations for the consumer, all or nothing."""
    wanted = _as_map(asked["allocations"])
    owner = tx.first(select(consumer).where(consumer.c.id == consumer_id))
    if version >= (1, 28):
        _check_consumer(owner, consumer_id, asked["consumer_generation"])
    _check_known(tx, wanted)
    tx.execute(sql_delete(allocation).where(allocation.c.consumer_id == consumer_id))
    if not wanted:
        tx.execute(sql_delete(consumer).where(consumer.c.id == consumer_id))
        return
    who = claim.Owner(
        asked.get("project_id", "00000000-0000-0000-0000-000000000000"),
        asked.get("user_id", "00000000-0000-0000-0000-000000000000"),
        asked.get("consumer_type") or (owner.consumer_type if owner is not None else "") or "unknown",
    )
    generation = 0 if owner is None else owner.generation
    for provider_id, resources in wanted.items():
        claim.claim(tx, consumer_id, provider_id, resources, who)
    tx.execute(update(consumer).where(consumer.c.id == consumer_id).values(generation=generation + 1))


def _check_consumer(owner: Row[Any] | None, ident: str, generation: int | None) -> None:
    actual = None if owner is None else owner.generation
    if actual != generation:
        raise concurrent(
            f"consumer generation conflict - expected {'null' if actual is None else actual} but got "
            f"{'null' if generation is None else generation} : consumer {ident}"
        )


def _check_known(tx: Tx, wanted: dict[str, dict[str, int]]) -> None:
    classes = known_classes(tx)
    for provider_id, resources in wanted.items():
        if tx.first(select(resource_provider.c.id).where(resource_provider.c.id == provider_id)) is None:
            raise bad(f"Allocation for resource provider '{provider_id}' that does not exist.")
        for name in resources:
            if name not in classes:
                raise bad(f"Unable to allocate inventory: No such resource class {name}.")
            if name not in inventory.of_provider(tx, provider_id):
                raise conflict(
                    f"Unable to allocate inventory: Inventory for '{name}' on resource provider '{provider_id}' invalid."
                )


def put(tx: Tx, req: Request) -> Any:
    ident = req["consumer_id"]
    if not is_uuid_like(ident):
        raise bad(f"Malformed consumer_uuid: {ident}")
    asked = check(req, put_schema(req.microversion))
    _write(tx, req.microversion, ident, asked)
    return Response(204)


def post(tx: Tx, req: Request) -> Any:
    """Several consumers at once: a move, say."""
    asked = check(req, keyed(_UUIDS, put_schema(req.microversion, many=True), 1))
    # Those that give back go first, so that what they held can be taken by the others.
    for ident, part in sorted(asked.items(), key=lambda pair: bool(pair[1]["allocations"])):
        _write(tx, req.microversion, ident, part)
    return Response(204)


def delete(tx: Tx, req: Request) -> Any:
    ident = req["consumer_id"]
    if tx.first(select(allocation.c.number).where(allocation.c.consumer_id == ident)) is None:
        raise missing(f"No allocations for consumer '{ident}'")
    claim.release(tx, ident)
    return Response(204)


def routes() -> list[Route]:
    at = "/allocations/{consumer_id}"
    return [
        Route("POST", "/allocations", post, POLICY + "manage", min_version=(1, 13)),
        Route("GET", at, of_consumer, POLICY + "list"),
        Route("PUT", at, put, POLICY + "update"),
        Route("DELETE", at, delete, POLICY + "delete"),
        Route(
            "GET",
            "/resource_providers/{uuid}/allocations",
            of_provider,
            "placement:resource_providers:allocations:list",
        ),
    ]
