"""What all resources of this service share: times, revision, tags, and how they are rendered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Table, insert, select
from sqlalchemy.engine import Row

from virga.api.resource import UNSET, Values
from virga.db.tx import Tx
from virga.db.within import within
from virga.lib.clock import iso_seconds
from virga.services.network.models import tag

_TAGS = (
    select(tag.c.resource_id, tag.c.tag)
    .where(within(tag.c.resource_id))
    .order_by(tag.c.resource_id, tag.c.tag)
)


def fresh(tx: Tx, revision: int = 0) -> Values:
    """The columns that every new row has."""
    return {"created_at": tx.now, "updated_at": tx.now, "revision_number": revision}


time = iso_seconds
"""How this service writes a time: ``2026-11-20T22:38:19Z``."""


class Shape:
    """Rows of a table as the beginnings of wire dictionaries, at the speed of ``dict(zip(…))``.

    Attribute access on rows costs a microsecond, and a list has tens of thousands of them.
    """

    def __init__(self, table: Table, **names: str) -> None:
        """``names``: column to attribute, where they differ."""
        self._keys = tuple(names.get(column.name, column.name) for column in table.columns)

    def items(self, rows: Sequence[Row[Any]]) -> list[Values]:
        result = []
        for row in rows:
            item: Values = dict(zip(self._keys, row, strict=True))
            item["tenant_id"] = item["project_id"]
            created, updated = item["created_at"], item["updated_at"]
            item["created_at"] = iso_seconds(created)
            item["updated_at"] = item["created_at"] if created == updated else iso_seconds(updated)
            result.append(item)
        return result


def by_ids(tx: Tx, statement: Any, ids: Sequence[str]) -> Sequence[Row[Any]]:
    """All rows of a statement that has a condition of ``within``; none for no ids."""
    return tx.all(statement, {"ids": list(ids)}) if ids else ()


def grouped(rows: Iterable[Row[Any]]) -> dict[str, list[Any]]:
    """Rows of (key, value) as key to values."""
    result: dict[str, list[Any]] = {}
    for key, value in rows:
        result.setdefault(key, []).append(value)
    return result


def tags_of(tx: Tx, ids: Sequence[str]) -> dict[str, list[str]]:
    return grouped(by_ids(tx, _TAGS, ids))


def why(row: Row[Any]) -> Values:
    """``status_reason``, when there is something to say about the status: what a host could not realise."""
    return {"status_reason": row.status_reason} if row.status_reason else {}


def add_tags(tx: Tx, resource_id: str, tags: Any) -> None:
    """Tags that came with a create."""
    if tags and tags is not UNSET:
        tx.execute(insert(tag), [{"resource_id": resource_id, "tag": text} for text in tags])
