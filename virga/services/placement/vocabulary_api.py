"""Resource classes and traits: the words, standard ones and custom ones."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select

from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.services.placement.classes import CUSTOM, STANDARD, STANDARD_TRAITS
from virga.services.placement.faults import bad, conflict, missing
from virga.services.placement.inventory_api import known_classes, known_traits
from virga.services.placement.models import inventory, provider_trait, resource_class, trait
from virga.services.placement.schema import Schema, check, obj

_NAME: Schema = {"type": "string", "pattern": "^CUSTOM_[A-Z0-9_]+$", "maxLength": 255}
CREATE: Schema = obj({"name": _NAME}, ("name",))


def _class(name: str) -> dict[str, Any]:
    at = f"/placement/resource_classes/{name}"
    return {"name": name, "links": [{"rel": "self", "href": at}]}


def classes(tx: Tx, req: Request) -> Any:
    custom = sorted(known_classes(tx) - set(STANDARD))
    return {"resource_classes": [_class(name) for name in (*STANDARD, *custom)]}


def show_class(tx: Tx, req: Request) -> Any:
    if req["name"] not in known_classes(tx):
        raise missing(f"No such resource class {req['name']}.")
    return _class(req["name"])


def create_class(tx: Tx, req: Request) -> Any:
    name = check(req, CREATE)["name"]
    if name in known_classes(tx):
        raise conflict(f"Conflicting resource class already exists: {name}")
    tx.execute(insert(resource_class).values(name=name, updated_at=tx.now))
    return Response(201, None, {"location": f"/placement/resource_classes/{name}"})


def ensure_class(tx: Tx, req: Request) -> Any:
    name = req["name"]
    if req.microversion < (1, 7):
        return _rename(tx, req)
    if not CUSTOM.match(name):
        raise bad(f"JSON does not validate: '{name}' does not match '^CUSTOM_[A-Z0-9_]+$'")
    location = {"location": f"/placement/resource_classes/{name}"}
    if name in known_classes(tx):
        return Response(204, None, location)
    tx.execute(insert(resource_class).values(name=name, updated_at=tx.now))
    return Response(201, None, location)


def _rename(tx: Tx, req: Request) -> Any:
    wanted = check(req, CREATE)["name"]
    show_class(tx, req)
    if req["name"] in STANDARD:
        raise bad(f"Cannot update standard resource class {req['name']}")
    if wanted in known_classes(tx):
        raise conflict(f"Resource class already exists: {wanted}")
    tx.execute(sql_delete(resource_class).where(resource_class.c.name == req["name"]))
    tx.execute(insert(resource_class).values(name=wanted, updated_at=tx.now))
    return _class(wanted)


def delete_class(tx: Tx, req: Request) -> Any:
    name = req["name"]
    show_class(tx, req)
    if name in STANDARD:
        raise bad(f"Error in delete resource class: Cannot delete standard resource class {name}.")
    if tx.first(select(inventory.c.provider_id).where(inventory.c.resource_class == name)):
        raise conflict(f"Error in delete resource class: Resource class {name} is in use in inventory.")
    tx.execute(sql_delete(resource_class).where(resource_class.c.name == name))
    return Response(204)


def traits(tx: Tx, req: Request) -> Any:
    found = known_traits(tx)
    text = req.param("name")
    if text is not None:
        kind, colon, rest = text.partition(":")
        if not colon or kind not in ("in", "startswith"):
            raise bad(
                "Badly formatted name parameter. Expected name query string parameter in form: "
                '?name=[in|startswith]:[name1,name2|prefix]. Got: "' + text + '"',
                "placement.query.bad_value",
            )
        found = {n for n in found if (n in rest.split(",") if kind == "in" else n.startswith(rest))}
    associated = req.param("associated")
    if associated is not None:
        if associated.lower() not in ("true", "false"):
            raise bad(
                'The query parameter "associated" only accepts "true" or "false"', "placement.query.bad_value"
            )
        used = {row.trait for row in tx.all(select(provider_trait.c.trait).distinct())}
        found = found & used if associated.lower() == "true" else found - used
    return {"traits": sorted(found)}


def show_trait(tx: Tx, req: Request) -> Any:
    if req["name"] not in known_traits(tx):
        raise missing(f"No such trait {req['name']}.")
    return Response(204)


def ensure_trait(tx: Tx, req: Request) -> Any:
    name = req["name"]
    if not CUSTOM.match(name) or len(name) > 255:
        raise bad(
            "The trait is invalid. A valid trait must be no longer than 255 characters, start with the prefix "
            '"CUSTOM_" and use following characters: "A"-"Z", "0"-"9" and "_"'
        )
    location = {"location": f"/placement/traits/{name}"}
    if name in known_traits(tx):
        return Response(204, None, location)
    tx.execute(insert(trait).values(name=name, updated_at=tx.now))
    return Response(201, None, location)


def delete_trait(tx: Tx, req: Request) -> Any:
    name = req["name"]
    show_trait(tx, req)
    if name in STANDARD_TRAITS:
        raise bad(f"Cannot delete standard trait {name}.")
    if tx.first(select(provider_trait.c.trait).where(provider_trait.c.trait == name)):
        raise conflict(f"The trait {name} is in use by a resource provider.")
    tx.execute(sql_delete(trait).where(trait.c.name == name))
    return Response(204)


def routes() -> list[Route]:
    c, t = "placement:resource_classes:", "placement:traits:"
    since, traits_since = (1, 2), (1, 6)
    return [
        Route("GET", "/resource_classes", classes, c + "list", min_version=since),
        Route("POST", "/resource_classes", create_class, c + "create", min_version=since),
        Route("GET", "/resource_classes/{name}", show_class, c + "show", min_version=since),
        Route("PUT", "/resource_classes/{name}", ensure_class, c + "update", min_version=since),
        Route("DELETE", "/resource_classes/{name}", delete_class, c + "delete", min_version=since),
        Route("GET", "/traits", traits, t + "list", min_version=traits_since),
        Route("GET", "/traits/{name}", show_trait, t + "show", min_version=traits_since),
        Route("PUT", "/traits/{name}", ensure_trait, t + "update", min_version=traits_since),
        Route("DELETE", "/traits/{name}", delete_trait, t + "delete", min_version=traits_since),
    ]
