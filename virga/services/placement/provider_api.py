"""Resource providers over HTTP, and the aggregates they are in."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, or_, select, update
from sqlalchemy.engine import Row

from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.lib.ids import is_uuid_like, new_uuid
from virga.services.placement import claim, provider_removal
from virga.services.placement.faults import bad, concurrent, conflict, provider_missing
from virga.services.placement.models import provider_aggregate, provider_trait
from virga.services.placement.models import resource_provider as table
from virga.services.placement.schema import GENERATION, UUID, Schema, check, obj

POLICY = "placement:resource_providers:"
_NAME: Schema = {"type": "string", "maxLength": 200}
_CREATE: Schema = obj({"name": _NAME, "uuid": UUID}, ("name",))
_CREATE_114: Schema = obj(
    {"name": _NAME, "uuid": UUID, "parent_provider_uuid": {"anyOf": [UUID, {"type": "null"}]}}, ("name",)
)
_UPDATE: Schema = obj({"name": _NAME}, ("name",))
_UPDATE_114: Schema = obj(
    {"name": _NAME, "parent_provider_uuid": {"anyOf": [UUID, {"type": "null"}]}}, ("name",)
)
_AGGREGATES: Schema = {"type": "array", "items": UUID, "uniqueItems": True}
_AGGREGATES_119: Schema = obj(
    {"aggregates": _AGGREGATES, "resource_provider_generation": GENERATION},
    ("aggregates", "resource_provider_generation"),
)


def get(tx: Tx, provider_id: str) -> Row[Any]:
    row = tx.first(select(table).where(table.c.id == provider_id))
    if row is None:
        raise provider_missing(provider_id)
    return row


def of_request(tx: Tx, req: Request) -> Row[Any]:
    return get(tx, req["uuid"])


def check_generation(row: Row[Any], asked: int) -> None:
    if row.generation != asked:
        raise concurrent(
            f"resource provider generation conflict for provider {row.id}: actual: {row.generation}, given: {asked}"
        )


def view(req: Request, row: Row[Any]) -> dict[str, Any]:
    version = req.microversion
    at = f"{_prefix(req)}/resource_providers/{row.id}"
    names = ["", "inventories", "usages"]
    if version >= (1, 1):
        names.append("aggregates")
    if version >= (1, 6):
        names.append("traits")
    if version >= (1, 11):
        names.append("allocations")
    body: dict[str, Any] = {"uuid": row.id, "name": row.name, "generation": row.generation}
    body["links"] = [{"rel": n or "self", "href": f"{at}/{n}" if n else at} for n in names]
    if version >= (1, 14):
        body |= {"parent_provider_uuid": row.parent_id, "root_provider_uuid": row.root_id}
    return body


def _prefix(req: Request) -> str:
    return "/placement" if req.base_url.endswith("/placement") else ""


def index(tx: Tx, req: Request) -> Any:
    statement = select(table).order_by(table.c.name)
    if (name := req.param("name")) is not None:
        statement = statement.where(table.c.name == name)
    if (uuid := req.param("uuid")) is not None:
        if not is_uuid_like(uuid):
            raise bad(
                f"Invalid query string parameters: '{uuid}' is not a 'uuid'", "placement.query.bad_value"
            )
        statement = statement.where(table.c.id == uuid)
    if req.microversion >= (1, 14) and (tree := req.param("in_tree")) is not None:
        root = tx.scalar(select(table.c.root_id).where(table.c.id == tree))
        statement = statement.where(table.c.root_id == root)
    for member in req.params("member_of") if req.microversion >= (1, 3) else ():
        statement = statement.where(member_of(member))
    rows = list(tx.all(statement))
    if req.microversion >= (1, 4) and (text := req.param("resources")):
        wanted = parse_resources(text)
        room = claim.room(tx)
        rows = [
            r
            for r in rows
            if all(
                n in room.get(r.id, {}) and room[r.id][n][0].fits(a, room[r.id][n][1])
                for n, a in wanted.items()
            )
        ]
    if req.microversion >= (1, 18):
        for required in req.params("required"):
            rows = [r for r in rows if passes_traits(tx, r.id, required)]
    return {"resource_providers": [view(req, row) for row in rows]}


def member_of(text: str) -> Any:
    """``in:a,b``, ``!a``, ``!in:a,b`` or one aggregate, as a condition on providers."""
    forbidden = text.startswith("!")
    text = text.removeprefix("!")
    ids = text.removeprefix("in:").split(",")
    for ident in ids:
        if not is_uuid_like(ident):
            raise bad(
                f"Invalid query string parameters: Expected 'member_of' parameter to contain valid UUID(s). Got: {ident}",
                "placement.query.bad_value",
            )
    inside = table.c.id.in_(
        select(provider_aggregate.c.provider_id).where(provider_aggregate.c.aggregate_id.in_(ids))
    )
    return ~inside if forbidden else inside


def parse_resources(text: str) -> dict[str, int]:
    """``VCPU:2,MEMORY_MB:64``."""
    found = {}
    for part in text.split(","):
        name, colon, amount = part.partition(":")
        if not colon or not amount.isdecimal() or not name or int(amount) < 1:
            raise bad(
                "Badly formed resources parameter. Expected resources query string parameter in form: "
                f"?resources=VCPU:2,MEMORY_MB:1024. Got: {text}.",
                "placement.query.bad_value",
            )
        found[name] = int(amount)
    return found


def passes_traits(tx: Tx, provider_id: str, text: str) -> bool:
    """``A,B,!C`` or ``in:A,B``."""
    has = {r.trait for r in tx.all(select(provider_trait).where(provider_trait.c.provider_id == provider_id))}
    if text.startswith("in:"):
        return bool(has & set(text[3:].split(",")))
    names = [part for part in text.split(",") if part]
    return all((n[1:] not in has) if n.startswith("!") else (n in has) for n in names)


def create(tx: Tx, req: Request) -> Any:
    asked = check(req, _CREATE_114 if req.microversion >= (1, 14) else _CREATE)
    ident = asked.get("uuid") or new_uuid()
    parent_id = asked.get("parent_provider_uuid")
    if tx.first(select(table.c.id).where(or_(table.c.id == ident, table.c.name == asked["name"]))):
        raise conflict(
            f"Conflicting resource provider {asked['name']} already exists.", "placement.duplicate_name"
        )
    root_id = ident
    if parent_id is not None:
        if parent_id == ident:
            raise bad(
                "parent provider UUID cannot be same as UUID. To avoid a loop, the parent must be another provider."
            )
        parent = tx.first(select(table).where(table.c.id == parent_id))
        if parent is None:
            raise bad(
                f'Unable to create resource provider "{asked["name"]}", {ident}: parent provider UUID does not exist.'
            )
        root_id = parent.root_id
    tx.execute(
        insert(table).values(
            id=ident,
            name=asked["name"],
            generation=0,
            parent_id=parent_id,
            root_id=root_id,
            updated_at=tx.now,
        )
    )
    location = {"location": f"{_prefix(req)}/resource_providers/{ident}"}
    if req.microversion >= (1, 20):
        return Response(200, view(req, get(tx, ident)), location)
    return Response(201, None, location)


def show(tx: Tx, req: Request) -> Any:
    return view(req, of_request(tx, req))


def change(tx: Tx, req: Request) -> Any:
    row = of_request(tx, req)
    asked = check(req, _UPDATE_114 if req.microversion >= (1, 14) else _UPDATE)
    if tx.first(select(table.c.id).where(table.c.name == asked["name"], table.c.id != row.id)):
        raise conflict(
            f"Conflicting resource provider {asked['name']} already exists.", "placement.duplicate_name"
        )
    values: dict[str, Any] = {"name": asked["name"], "updated_at": tx.now}
    if "parent_provider_uuid" in asked:
        values |= _reparent(tx, req, row, asked["parent_provider_uuid"])
    tx.execute(update(table).where(table.c.id == row.id).values(**values))
    return view(req, get(tx, row.id))


def _reparent(tx: Tx, req: Request, row: Row[Any], parent_id: str | None) -> dict[str, Any]:
    if parent_id == row.parent_id:
        return {}
    if row.parent_id is not None and req.microversion < (1, 37):
        raise bad("Unable to save resource provider: re-parenting a provider is not currently allowed.")
    if parent_id is None:
        root_id = row.id
    else:
        parent = tx.first(select(table).where(table.c.id == parent_id))
        if parent is None:
            raise bad("Unable to save resource provider: parent provider UUID does not exist.")
        if parent.root_id == row.id:
            raise bad("Unable to save resource provider: creating loop in the provider tree is not allowed.")
        root_id = parent.root_id
    below = _descendants(tx, row.id)
    tx.execute(update(table).where(table.c.id.in_([row.id, *below])).values(root_id=root_id))
    return {"parent_id": parent_id, "root_id": root_id}


def _descendants(tx: Tx, provider_id: str) -> list[str]:
    found: list[str] = []
    level = [provider_id]
    while level:
        level = [r.id for r in tx.all(select(table.c.id).where(table.c.parent_id.in_(level)))]
        found += level
    return found


def remove(tx: Tx, req: Request) -> Any:
    provider_removal.remove(tx, of_request(tx, req).id)
    return Response(204)


# --- aggregates ----------------------------------------------------------------------------------------


def _aggregates(tx: Tx, req: Request, row: Row[Any]) -> dict[str, Any]:
    rows = tx.all(select(provider_aggregate).where(provider_aggregate.c.provider_id == row.id))
    body: dict[str, Any] = {"aggregates": sorted(r.aggregate_id for r in rows)}
    if req.microversion >= (1, 19):
        body["resource_provider_generation"] = row.generation
    return body


def aggregates(tx: Tx, req: Request) -> Any:
    return _aggregates(tx, req, of_request(tx, req))


def set_aggregates(tx: Tx, req: Request) -> Any:
    row = of_request(tx, req)
    newer = req.microversion >= (1, 19)
    asked = check(req, _AGGREGATES_119 if newer else _AGGREGATES)
    wanted = asked["aggregates"] if newer else asked
    if newer:
        check_generation(row, asked["resource_provider_generation"])
    tx.execute(sql_delete(provider_aggregate).where(provider_aggregate.c.provider_id == row.id))
    for ident in wanted:
        tx.execute(insert(provider_aggregate).values(provider_id=row.id, aggregate_id=ident))
    values = {"generation": row.generation + 1} if newer else {}
    tx.execute(update(table).where(table.c.id == row.id).values(updated_at=tx.now, **values))
    return _aggregates(tx, req, get(tx, row.id))


def routes() -> list[Route]:
    at, aggregate = "/resource_providers/{uuid}", "/resource_providers/{uuid}/aggregates"
    return [
        Route("GET", "/resource_providers", index, POLICY + "list"),
        Route("POST", "/resource_providers", create, POLICY + "create"),
        Route("GET", at, show, POLICY + "show"),
        Route("PUT", at, change, POLICY + "update"),
        Route("DELETE", at, remove, POLICY + "delete"),
        Route(
            "GET", aggregate, aggregates, "placement:resource_providers:aggregates:list", min_version=(1, 1)
        ),
        Route(
            "PUT",
            aggregate,
            set_aggregates,
            "placement:resource_providers:aggregates:update",
            min_version=(1, 1),
        ),
    ]
