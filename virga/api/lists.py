"""List requests: filters, sort, paging and the links between pages, turned into one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Boolean, ColumnElement, Integer, Select, Table, and_, false, or_, select

from virga.api.faults import BadRequest
from virga.api.request import Request
from virga.api.resource import Context, Resource, Values
from virga.api.validators import Invalid, boolean
from virga.db.metadata import Json
from virga.db.tx import Tx

CONTROL = frozenset({"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"})
TAG_FILTERS = frozenset({"tags", "tags-any", "not-tags", "not-tags-any"})


@dataclass(slots=True)
class Query:
    """A list request, understood."""

    fields: list[str]
    limit: int | None = None
    marker: str | None = None
    reverse: bool = False
    sort: list[tuple[str, bool]] = field(default_factory=list)
    """Attribute and whether descending."""
    filters: dict[str, list[str]] = field(default_factory=dict)


def parse(resource: Resource, req: Request) -> Query:
    """Read the query string. Raises BadRequest in the API's words."""
    query = Query(fields=[value for value in req.params("fields") if value])
    invalid: list[str] = []
    for name, value in req.query:
        if name in CONTROL:
            continue
        key = "project_id" if name == "tenant_id" else name
        if not _filterable(resource, key):
            if name not in invalid:
                invalid.append(name)
            continue
        query.filters.setdefault(key, []).append(value)
    if invalid:
        raise BadRequest(f"{invalid} is invalid attribute for filtering", type="HTTPBadRequest")
    query.limit = _limit(req)
    query.marker = req.param("marker")
    query.reverse = (req.param("page_reverse") or "").lower() in ("true", "1")
    query.sort = _sort(resource, req)
    return query


def _filterable(resource: Resource, name: str) -> bool:
    if name in resource.filters or (resource.has_tags and name in TAG_FILTERS):
        return True
    return column_of(resource, name) is not None


def column_of(resource: Resource, name: str) -> ColumnElement[Any] | None:
    """The column behind an attribute, when it is one value that can be compared."""
    attribute = resource.fields.get(name)
    if attribute is None:
        return None
    column = resource.table.c.get(attribute.column or name)
    return None if column is None or isinstance(column.type, Json) else column


def _limit(req: Request) -> int | None:
    value = req.param("limit")
    if value is None:
        return None
    try:
        limit = int(value)
        if limit < 0:
            raise ValueError
    except ValueError:
        raise BadRequest(
            f"Bad limits request: Limit must be an integer 0 or greater and not '{value}'.", type="BadRequest"
        ) from None
    return min(limit, 2**62) or None


def _sort(resource: Resource, req: Request) -> list[tuple[str, bool]]:
    keys, directions = req.params("sort_key"), req.params("sort_dir")
    if directions and len(keys) != len(directions):
        raise BadRequest("The number of sort_keys and sort_dirs must be same", type="HTTPBadRequest")
    keys = ["project_id" if key == "tenant_id" else key for key in keys]
    bad = [key for key in keys if column_of(resource, key) is None]
    if bad:
        raise BadRequest(f"{bad} is invalid attribute for sort keys", type="HTTPBadRequest")
    wrong = [d for d in directions if d not in ("asc", "desc")]
    if wrong:
        raise BadRequest(
            f"{wrong} is invalid value for sort dirs, valid value is 'asc' and 'desc'", type="HTTPBadRequest"
        )
    return [(key, index < len(directions) and directions[index] == "desc") for index, key in enumerate(keys)]


def statement(resource: Resource, tx: Tx, context: Context, query: Query) -> Select[Any]:
    """One SELECT with all conditions, the order and the page."""
    table = resource.table
    result = select(table)
    condition = resource.visible_to(context)
    if condition is not None:
        result = result.where(condition)
    for name, values in query.filters.items():
        result = result.where(_condition(resource, context, name, values))
    order = [(column_of(resource, name), descending) for name, descending in query.sort]
    if not any(name == "id" for name, _ in query.sort):
        order.append((table.c.id, False))
    if query.reverse:
        order = [(column, not descending) for column, descending in order]
    if query.marker is not None:
        marker = tx.first(select(table).where(table.c.id == query.marker))
        if marker is None:
            raise resource.not_found(query.marker)
        result = result.where(_beyond(order, marker))
    result = result.order_by(*[c.desc() if d else c.asc() for c, d in order])  # type: ignore[union-attr]
    return result.limit(query.limit) if query.limit else result


def _beyond(order: Sequence[tuple[Any, bool]], marker: Any) -> ColumnElement[bool]:
    """Rows after the marker in this order: greater in some key and equal in all keys before it."""
    alternatives = []
    equal: list[ColumnElement[bool]] = []
    for column, descending in order:
        value = getattr(marker, column.key)
        if value is None:
            equal.append(column.is_(None))
            continue
        alternatives.append(and_(*equal, column < value if descending else column > value))
        equal.append(column == value)
    return or_(*alternatives)


def _condition(resource: Resource, context: Context, name: str, values: list[str]) -> ColumnElement[bool]:
    special = resource.filters.get(name)
    try:
        if special is not None:
            return special(context, values)
        if resource.has_tags and name in TAG_FILTERS:
            return tag_condition(resource, name, values)
        column = column_of(resource, name)
        assert column is not None
        return equals(column, values)
    except Invalid as problem:
        raise BadRequest(f"Invalid input for {name}. Reason: {problem}.", type="HTTPBadRequest") from None


def equals(column: ColumnElement[Any], values: list[str]) -> ColumnElement[bool]:
    """The column has one of the values, read as the column's type; an empty text also finds null."""
    if isinstance(column.type, Boolean):
        return column.in_({boolean(value) for value in values})
    if isinstance(column.type, Integer):
        numbers = {int(value) for value in values if value.lstrip("-").isdecimal()}
        return column.in_({n for n in numbers if abs(n) < 2**63}) if numbers else false()
    found = column == values[0] if len(values) == 1 else column.in_(values)
    return or_(found, column.is_(None)) if "" in values else found


def tag_condition(resource: Resource, name: str, values: list[str]) -> ColumnElement[bool]:
    """``tags`` all of them, ``tags-any`` one of them, and their opposites; values part at commas."""
    table: Table | None = resource.tag_table
    assert table is not None
    wanted = [tag for value in values for tag in value.split(",")]
    key = resource.table.c.id

    def has(*tags: str) -> ColumnElement[bool]:
        return key.in_(select(table.c.resource_id).where(table.c.tag.in_(tags)))

    if name.endswith("-any"):
        found = has(*wanted)
    else:
        found = and_(*[has(tag) for tag in wanted])
    return ~found if name.startswith("not-") else found


def links(req: Request, query: Query, items: list[Values], path: str) -> list[dict[str, str]]:
    """``next`` and ``previous`` of a page, when the client asked for pages."""
    if not query.limit:
        return []
    full = len(items) >= query.limit
    found = []
    if full or query.reverse:
        found.append({"rel": "next", "href": _link(req, path, items[-1]["id"] if items else None, False)})
    if full or not query.reverse:
        found.append({"rel": "previous", "href": _link(req, path, items[0]["id"] if items else None, True)})
    return found


def _link(req: Request, path: str, marker: str | None, reverse: bool) -> str:
    pairs = [(k, v) for k, v in req.query if k not in ("marker", "page_reverse")]
    if marker is not None:
        pairs.append(("marker", marker))
    if reverse:
        pairs.append(("page_reverse", "True"))
    return f"{req.url(path)}?{urlencode(pairs)}"
