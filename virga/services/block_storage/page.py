"""Pages of a list: sort keys, limit, offset and marker in; next link and count out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Column, Select, Table, and_, func, or_, select
from sqlalchemy.engine import Row

from virga.api.request import Request
from virga.db.tx import Tx
from virga.services.block_storage.faults import Invalid, invalid_input

MAXIMUM = 1000


class Page:
    """What one request asks of one list."""

    def __init__(
        self,
        req: Request,
        table: Table,
        sort_keys: Mapping[str, str],
        lost_marker: Callable[[str], Exception],
        default: tuple[str, str] = ("created_at", "desc"),
    ) -> None:
        self.req = req
        self.table = table
        self.limit = self._number("limit", MAXIMUM)
        self.offset = self._number("offset", 0x7FFFFFFF) or 0
        self.marker = req.param("marker")
        self._lost_marker = lost_marker
        self.order = self._order(sort_keys, default)

    def _number(self, name: str, most: int) -> int | None:
        text = self.req.param(name)
        if text is None or text == "":
            return None
        if text.lstrip("-").isdecimal() and text.startswith("-"):
            raise Invalid(
                f"Invalid input for query parameters {name}. Value: {text}. '{text}' does not match '^[0-9]*$'"
            )
        if not text.isdecimal():
            raise Invalid(
                f"Invalid input for query parameters {name}. Value: {text}. '{text}' does not match '^[0-9]*$'"
            )
        if name == "offset" and int(text) > most:
            raise Invalid(
                f"Invalid input for query parameters {name}. Value: {text}. {text} is greater than the maximum of {most}"
            )
        return min(int(text), most)

    def _order(self, keys: Mapping[str, str], default: tuple[str, str]) -> list[tuple[Column[Any], bool]]:
        pairs: list[tuple[str, str]] = []
        if (text := self.req.param("sort")) is not None:
            if self.req.param("sort_key") is not None or self.req.param("sort_dir") is not None:
                raise Invalid(
                    "The 'sort_key' and 'sort_dir' parameters are deprecated and cannot be used with the 'sort' parameter."
                )
            for item in text.strip().split(","):
                key, _, direction = item.partition(":")
                pairs.append((key.strip(), direction.strip() or "desc"))
        else:
            key = (self.req.param("sort_key") or "").strip()
            pairs.append((key or default[0], (self.req.param("sort_dir") or "").strip() or default[1]))
        for key, direction in pairs:
            if direction not in ("asc", "desc"):
                raise invalid_input("Unknown sort direction, must be 'desc' or 'asc'.")
            if key not in keys:
                raise invalid_input(f"Sort key '{key}' is not supported.")
        columns = [(self.table.c[keys[key]], direction == "desc") for key, direction in pairs]
        last = columns[-1][1]
        tie = self.table.c["number"] if "number" in self.table.c else self.table.c["id"]
        return [*columns, (tie, last)]

    def statement(self, tx: Tx, statement: Select[Any]) -> Select[Any]:
        """With order and marker, before limit and offset."""
        if self.marker:
            statement = statement.where(self._beyond(tx))
        for column, descending in self.order:
            statement = statement.order_by(column.desc() if descending else column.asc())
        return statement

    def _beyond(self, tx: Tx) -> Any:
        row = tx.first(select(self.table).where(self.table.c.id == self.marker))
        if row is None:
            raise self._lost_marker(str(self.marker))
        choices: list[Any] = []
        same: list[Any] = []
        for column, descending in self.order:
            value = getattr(row, column.name)
            if value is None:
                later = column.is_not(None) if not descending else column.is_(None) & column.is_not(None)
                choices.append(and_(*same, later))
                same.append(column.is_(None))
                continue
            after: Any = or_(column < value, column.is_(None)) if descending else column > value
            choices.append(and_(*same, after))
            same.append(column == value)
        return or_(*choices)

    def rows(self, tx: Tx, statement: Select[Any]) -> Sequence[Row[Any]]:
        """The rows of this page."""
        if self.limit == 0:
            return []
        wanted = self.statement(tx, statement).limit(self.limit or MAXIMUM)
        return tx.all(wanted.offset(self.offset) if self.offset else wanted)

    def cut(self, rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
        """The page, of rows that were filtered outside SQL."""
        return [] if self.limit == 0 else rows[self.offset : self.offset + (self.limit or MAXIMUM)]

    def links(self, path: str, rows: Sequence[Any]) -> list[dict[str, str]]:
        """The next link of a full page."""
        if not rows or len(rows) != (self.limit or MAXIMUM):
            return []
        query = {name: value for name, value in self.req.query if name not in ("marker", "offset")}
        return [
            {"rel": "next", "href": f"{self.req.url(path)}?{urlencode({**query, 'marker': rows[-1].id})}"}
        ]

    def listed(
        self, name: str, path: str, rows: Sequence[Any], items: list[Any], count: int | None = None
    ) -> dict[str, Any]:
        """The body."""
        body: dict[str, Any] = {name: items}
        if more := self.links(path, rows):
            body[f"{name}_links"] = more
        if count is not None:
            body["count"] = count
        return body


def count(tx: Tx, statement: Select[Any]) -> int:
    return int(tx.scalar(select(func.count()).select_from(statement.subquery())) or 0)
