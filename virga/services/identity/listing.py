"""Lists of the Identity service: filters, pages, links."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Boolean, Column, ColumnElement, Row, Table, select

from virga.api.request import Request
from virga.db.tx import Tx
from virga.services.identity.faults import ValidationError

MOST = 1_000_000
_FALSE = frozenset({"0", "false", "f", "off", "n", "no"})
_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "equals": lambda value, wanted: value == wanted,
    "contains": lambda value, wanted: wanted in value,
    "startswith": lambda value, wanted: value.startswith(wanted),
    "endswith": lambda value, wanted: value.endswith(wanted),
}


def is_true(text: str | None) -> bool:
    """A flag in a query: present and not one of the words for no."""
    return text is not None and text.lower() not in _FALSE


def rows(
    tx: Tx, req: Request, table: Table, filters: Sequence[str], *where: ColumnElement[bool], order: str = "id"
) -> list[Row[Any]]:
    """Rows of a table that pass the query's filters (exact, or ``name__contains`` and the like), a page of them."""
    conditions = list(where)
    rest: list[tuple[str, str, str]] = []
    for key, value in req.query:
        name, _, comparison = key.partition("__")
        if name not in filters:
            continue
        if not comparison:
            conditions.append(_exact(table.c[name], value))
        elif comparison.removeprefix("i") in _COMPARISONS and not isinstance(table.c[name].type, Boolean):
            rest.append((name, comparison, value))
    statement = select(table).where(*conditions).order_by(table.c[order])
    marker, limit = req.param("marker"), page_size(req)
    if marker:
        statement = statement.where(table.c[order] > marker)
    if limit and not rest:
        statement = statement.limit(limit)
    found = [row for row in tx.all(statement) if all(_passes(row._asdict(), *test) for test in rest)]
    return found[:limit] if limit else found


def _exact(column: Column[Any], value: str) -> ColumnElement[bool]:
    if isinstance(column.type, Boolean):
        return column.is_(is_true(value))
    return column == value


def _passes(row: Mapping[str, Any], name: str, comparison: str, wanted: str) -> bool:
    value = row[name]
    if value is None:
        return False
    if comparison.startswith("i"):
        return _COMPARISONS[comparison[1:]](value.lower(), wanted.lower())
    return _COMPARISONS[comparison](value, wanted)


def filtered(req: Request, items: list[dict[str, Any]], filters: Sequence[str]) -> list[dict[str, Any]]:
    """The same filters for items that were found in another way."""
    found = items
    for key, value in req.query:
        name, _, comparison = key.partition("__")
        if name not in filters:
            continue
        if not comparison:
            found = [item for item in found if _same(item.get(name), value)]
        elif comparison.removeprefix("i") in _COMPARISONS:
            found = [item for item in found if _passes(item, name, comparison, value)]
    return found


def _same(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return value == is_true(wanted)
    return value is not None and str(value) == wanted


def page_size(req: Request) -> int:
    """How many items are asked for; 0 for all."""
    text = req.param("limit")
    if text is None:
        return 0
    if not text.isdecimal() or int(text) == 0:
        raise ValidationError(
            f"Invalid input for field/attribute limit. Value: {text}. {text!r} is not a positive integer"
        )
    return min(int(text), MOST)


def collection(
    req: Request, key: str, items: list[dict[str, Any]], path: str | None = None
) -> dict[str, Any]:
    """``{key: […], "links": {…}}``"""
    url = req.url(path or req.path.rstrip("/"))
    query = "?" + urlencode(req.query) if req.query else ""
    following = None
    limit = page_size(req)
    if limit and len(items) == limit and items and "id" in items[-1]:
        others = [(name, value) for name, value in req.query if name != "marker"]
        following = url + "?" + urlencode([*others, ("marker", items[-1]["id"])])
    return {key: items, "links": {"next": following, "self": url + query, "previous": None}}
