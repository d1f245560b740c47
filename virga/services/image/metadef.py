"""``/v2/metadefs``: vocabularies for properties of images and other things, in namespaces.

A namespace holds objects, properties, tags and associations with types of resources; they are kept as they
were described, one row each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import delete, insert, or_, select, update

from virga.api.faults import BadRequest
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.clock import iso_seconds
from virga.services.image.faults import ImageFault, not_authorized
from virga.services.image.limits import PAGE_DEFAULT, PAGE_MAX
from virga.services.image.metadef_schema import (
    CHECK_NAMESPACE,
    CHECKS,
)
from virga.services.image.models import metadef_item as items
from virga.services.image.models import metadef_namespace as namespaces
from virga.services.image.schema import check_with

BASE = "/v2/metadefs/namespaces"
RESOURCE_TYPES = (
    "OS::Cinder::Volume",
    "OS::Glance::Image",
    "OS::Nova::Aggregate",
    "OS::Nova::Flavor",
    "OS::Nova::Server",
    "OS::Trove::Instance",
)
KNOWN_SINCE = "2014-09-29T00:00:00Z"
"""When OpenStack learnt the types above."""
_FIELDS = ("display_name", "description", "visibility", "protected", "owner")


def _missing(namespace: str) -> ImageFault:
    return ImageFault(404, f"Metadata definition namespace={namespace} was not found.")


def _get(tx: Tx, req: Request) -> Any:
    """The namespace of the URL, if the caller may see it."""
    name = req["namespace"]
    row = tx.first(select(namespaces).where(namespaces.c.namespace == name))
    if row is None:
        raise _missing(name)
    if not req.allows("get_metadef_namespace", {"project_id": row.owner, "visibility": row.visibility}):
        raise _missing(name)
    return row


def _body(req: Request) -> dict[str, Any]:
    if req.body is None:
        raise BadRequest("Body expected in request.")
    if not isinstance(req.body, Mapping):
        raise BadRequest(f"Provided object does not match schema: {req.body!r} is not of type 'object'")
    for name in ("created_at", "updated_at", "self", "schema"):
        if name in req.body and name in ("created_at", "updated_at"):
            raise ImageFault(403, f"Attribute '{name}' is read-only.")
    return {name: value for name, value in req.body.items() if name not in ("self", "schema")}


def _times(row: Any) -> dict[str, Any]:
    return {"created_at": iso_seconds(row.created_at), "updated_at": iso_seconds(row.updated_at)}


def _view(row: Any) -> dict[str, Any]:
    shown = {"namespace": row.namespace, **{name: getattr(row, name) for name in _FIELDS}}
    shown = {name: value for name, value in shown.items() if value is not None}
    return {
        **shown,
        **_times(row),
        "self": f"{BASE}/{row.namespace}",
        "schema": "/v2/schemas/metadefs/namespace",
    }


def _item_view(row: Any) -> dict[str, Any]:
    if row.kind == "object":
        url = f"{BASE}/{row.namespace}/objects/{row.name}"
        rest = {"required": [], "properties": {}, **row.body}
        return {"name": row.name, **rest, **_times(row), "self": url, "schema": "/v2/schemas/metadefs/object"}
    if row.kind == "property":
        return {**row.body, "name": row.name}
    return {"name": row.name, **row.body, **_times(row)}


def _items(tx: Tx, namespace: str, kind: str) -> list[Any]:
    statement = select(items).where(items.c.namespace == namespace, items.c.kind == kind)
    return list(tx.all(statement.order_by(items.c.created_at, items.c.name)))


def _full(tx: Tx, row: Any) -> dict[str, Any]:
    shown = _view(row)
    associations = [_item_view(item) for item in _items(tx, row.namespace, "resource_type")]
    objects = [_item_view(item) for item in _items(tx, row.namespace, "object")]
    properties = {item.name: item.body for item in _items(tx, row.namespace, "property")}
    tags = [{"name": item.name} for item in _items(tx, row.namespace, "tag")]
    for name, value in (
        ("resource_type_associations", associations),
        ("objects", objects),
        ("properties", properties),
        ("tags", tags),
    ):
        if value:
            shown[name] = value
    return shown


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """A page of namespaces that the caller may see."""
    values = dict(req.query)
    limit = _limit(values.get("limit"))
    statement = select(namespaces).order_by(namespaces.c.created_at.desc(), namespaces.c.namespace)
    if not req.caller.is_admin:
        mine = namespaces.c.owner == req.caller.project_id
        statement = statement.where(or_(namespaces.c.visibility == "public", mine))
    if "visibility" in values:
        if values["visibility"] not in ("public", "private"):
            raise BadRequest(f"Invalid visibility value: {values['visibility']}")
        statement = statement.where(namespaces.c.visibility == values["visibility"])
    if "resource_types" in values:
        wanted = values["resource_types"].split(",")
        having = select(items.c.namespace).where(items.c.kind == "resource_type", items.c.name.in_(wanted))
        statement = statement.where(namespaces.c.namespace.in_(having))
    found = list(tx.all(statement))
    marker = values.get("marker")
    if marker:
        names = [row.namespace for row in found]
        if marker not in names:
            raise _missing(marker)
        found = found[names.index(marker) + 1 :]
    shown = found[:limit]
    query = {name: value for name, value in values.items() if name != "marker"}
    body: dict[str, Any] = {
        "namespaces": [_with_types(tx, row) for row in shown],
        "first": BASE + (f"?{urlencode(query)}" if query else ""),
        "schema": "/v2/schemas/metadefs/namespaces",
    }
    if shown and len(shown) == limit:
        body["next"] = f"{BASE}?" + urlencode({**query, "marker": shown[-1].namespace})
    return body


def _with_types(tx: Tx, row: Any) -> dict[str, Any]:
    types = [_item_view(item) for item in _items(tx, row.namespace, "resource_type")]
    return _view(row) | ({"resource_type_associations": types} if types else {})


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE_DEFAULT
    try:
        value = int(text)
    except ValueError:
        raise BadRequest("limit param must be an integer") from None
    if value < 0:
        raise BadRequest("limit param must be positive")
    return min(value, PAGE_MAX)


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One namespace with all that is in it."""
    return _full(tx, _get(tx, req))


def create(tx: Tx, req: Request) -> Response:
    """A new namespace, with or without content."""
    body = _body(req)
    check_with(CHECK_NAMESPACE, "namespace", body)
    name = body["namespace"]
    if tx.first(select(namespaces.c.namespace).where(namespaces.c.namespace == name)) is not None:
        raise ImageFault(409, f"The metadata definition namespace={name} already exists.")
    values = {field: body.get(field) for field in _FIELDS}
    values |= {
        "visibility": body.get("visibility", "private"),
        "protected": body.get("protected", False),
        "owner": body.get("owner") or req.caller.project_id,
    }
    tx.execute(insert(namespaces).values(namespace=name, **values, created_at=tx.now, updated_at=tx.now))
    for item in body.get("resource_type_associations", []):
        _add(tx, name, "resource_type", item["name"], _rest(item))
    for item in body.get("objects", []):
        _add(tx, name, "object", item["name"], _rest(item))
    for key, value in body.get("properties", {}).items():
        _add(tx, name, "property", key, value)
    for item in body.get("tags", []):
        _add(tx, name, "tag", item["name"], {})
    row = tx.first(select(namespaces).where(namespaces.c.namespace == name))
    return Response(201, _full(tx, row), {"location": f"{BASE}/{quote(name)}"})


def _rest(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in ("name", "created_at", "updated_at")}


def change(tx: Tx, req: Request) -> dict[str, Any]:
    """Replace what describes the namespace; it may be renamed."""
    row = _get(tx, req)
    body = _body(req)
    check_with(CHECK_NAMESPACE, "namespace", body)
    name = body["namespace"]
    if name != row.namespace:
        if tx.first(select(namespaces.c.namespace).where(namespaces.c.namespace == name)) is not None:
            raise ImageFault(409, f"The metadata definition namespace={name} already exists.")
        tx.execute(update(items).where(items.c.namespace == row.namespace).values(namespace=name))
    values = {field: body[field] for field in _FIELDS if field in body}
    tx.execute(
        update(namespaces)
        .where(namespaces.c.namespace == row.namespace)
        .values(namespace=name, **values, updated_at=tx.now)
    )
    changed = tx.first(select(namespaces).where(namespaces.c.namespace == name))
    return _view(changed)


def _require_open(row: Any) -> None:
    if row.protected:
        raise ImageFault(
            403, f"Metadata definition namespace {row.namespace} is protected and cannot be deleted."
        )


def remove(tx: Tx, req: Request) -> Response:
    """Delete the namespace with all that is in it, unless it is protected."""
    row = _get(tx, req)
    _require_open(row)
    tx.execute(delete(items).where(items.c.namespace == row.namespace))
    tx.execute(delete(namespaces).where(namespaces.c.namespace == row.namespace))
    return Response(204)


def resource_types(tx: Tx, req: Request) -> dict[str, Any]:
    """What namespaces can be associated with: the known types, and those that somebody associated."""
    rows = tx.all(select(items).where(items.c.kind == "resource_type").order_by(items.c.created_at))
    first = {row.name: _times(row) for row in reversed(list(rows))}
    began = {"created_at": KNOWN_SINCE, "updated_at": KNOWN_SINCE}
    known = dict.fromkeys(RESOURCE_TYPES, began)
    return {"resource_types": [{"name": name, **times} for name, times in (known | first | known).items()]}


_NOUNS = {"object": "object", "property": "property", "tag": "tag", "resource_type": "resource-type"}


def _item(tx: Tx, namespace: str, kind: str, name: str) -> Any:
    same = (items.c.namespace == namespace, items.c.kind == kind, items.c.name == name)
    row = tx.first(select(items).where(*same))
    if row is None:
        raise ImageFault(
            404,
            f"The metadata definition {_NOUNS[kind]} with name={name} was not found in namespace={namespace}.",
        )
    return row


def _exists(tx: Tx, namespace: str, kind: str, name: str) -> bool:
    same = (items.c.namespace == namespace, items.c.kind == kind, items.c.name == name)
    return tx.first(select(items.c.name).where(*same)) is not None


def _add(tx: Tx, namespace: str, kind: str, name: str, body: Mapping[str, Any]) -> None:
    if _exists(tx, namespace, kind, name):
        raise ImageFault(
            409,
            f"A metadata definition {_NOUNS[kind]} with name={name} already exists in namespace={namespace}.",
        )
    tx.execute(
        insert(items).values(
            namespace=namespace, kind=kind, name=name, body=dict(body), created_at=tx.now, updated_at=tx.now
        )
    )


def item_index(kind: str, key: str, tx: Tx, req: Request) -> dict[str, Any]:
    """All items of a kind."""
    found = _items(tx, _get(tx, req).namespace, kind)
    limit = _limit(req.param("limit")) if req.param("limit") is not None else None
    if kind == "property":
        return {"properties": {row.name: _item_view(row) for row in found}}
    body: dict[str, Any] = {key: [_item_view(row) for row in found[:limit]]}
    if kind != "resource_type":
        body |= {"first": req.path, "schema": f"/v2/schemas/metadefs/{key}"}
    return body


def item_show(kind: str, tx: Tx, req: Request) -> dict[str, Any]:
    """One item."""
    return _item_view(_item(tx, _get(tx, req).namespace, kind, req["name"]))


def item_create(kind: str, tx: Tx, req: Request) -> dict[str, Any]:
    """A new item, its name in the body."""
    row = _get(tx, req)
    body = _body(req)
    check_with(CHECKS[kind], kind, body)
    _add(tx, row.namespace, kind, body["name"], _rest(body))
    return _item_view(_item(tx, row.namespace, kind, body["name"]))


def item_change(kind: str, tx: Tx, req: Request) -> dict[str, Any]:
    """Replace an item; it may be renamed."""
    row = _item(tx, _get(tx, req).namespace, kind, req["name"])
    body = _body(req)
    check_with(CHECKS[kind], kind, body)
    if body["name"] != row.name and _exists(tx, row.namespace, kind, body["name"]):
        _add(tx, row.namespace, kind, body["name"], {})
    same = (items.c.namespace == row.namespace, items.c.kind == kind, items.c.name == row.name)
    tx.execute(update(items).where(*same).values(name=body["name"], body=_rest(body), updated_at=tx.now))
    return _item_view(_item(tx, row.namespace, kind, body["name"]))


def item_remove(kind: str, tx: Tx, req: Request) -> Response:
    """Delete an item."""
    namespace = _get(tx, req)
    row = _item(tx, namespace.namespace, kind, req["name"])
    _require_open(namespace)
    same = (items.c.namespace == row.namespace, items.c.kind == kind, items.c.name == row.name)
    tx.execute(delete(items).where(*same))
    return Response(204)


def items_remove(kind: str, tx: Tx, req: Request) -> Response:
    """Delete all items of a kind."""
    row = _get(tx, req)
    _require_open(row)
    tx.execute(delete(items).where(items.c.namespace == row.namespace, items.c.kind == kind))
    return Response(204)


def tag_create(tx: Tx, req: Request) -> dict[str, Any]:
    """A new tag, its name in the URL."""
    row = _get(tx, req)
    if len(req["name"]) > 80:
        raise BadRequest(f"Provided object does not match schema 'tag': {req['name']!r} is too long")
    _add(tx, row.namespace, "tag", req["name"], {})
    return _item_view(_item(tx, row.namespace, "tag", req["name"]))


def tags_create(tx: Tx, req: Request) -> dict[str, Any]:
    """Replace all tags (or add to them, when the header says so)."""
    row = _get(tx, req)
    body = _body(req)
    check_with(CHECKS["tags"], "tags", body)
    if req.headers.get("x-openstack-append", "").lower() not in ("true", "1"):
        tx.execute(delete(items).where(items.c.namespace == row.namespace, items.c.kind == "tag"))
    for item in body["tags"]:
        _add(tx, row.namespace, "tag", item["name"], {})
    return {"tags": [{"name": item["name"]} for item in body["tags"]]}


Handler = Callable[[Tx, Request], Any]


def ruled(rule: str, handler: Handler) -> Handler:
    """Readers see what is public or theirs; the rest is for administrators, in the service's own words."""

    def asked(tx: Tx, req: Request) -> Any:
        if not req.allows(rule, {"project_id": req.caller.project_id, "visibility": "public"}):
            raise not_authorized(rule)
        return handler(tx, req)

    return asked


def of_kind(handler: Callable[..., Any], *arguments: str) -> Handler:
    """A handler of items, for one kind."""
    return partial(handler, *arguments)
