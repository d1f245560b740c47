"""Lists of volumes and snapshots: which filters there are, and what they mean."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Select, Table, select

from virga.api.request import Request
from virga.db.tx import Tx
from virga.lib.clock import parse_iso
from virga.services.block_storage import page, volume_type, volume_view
from virga.services.block_storage.faults import Invalid, invalid_input, volume_not_found
from virga.services.block_storage.models import volume, volume_attachment
from virga.services.block_storage.page import Page
from virga.services.block_storage.schema import query_truth

PAGING = {
    "limit",
    "offset",
    "marker",
    "sort",
    "sort_key",
    "sort_dir",
    "all_tenants",
    "with_count",
    "consumes_quota",
}
VOLUME_KEYS = {
    "id": "id",
    "name": "name",
    "display_name": "name",
    "status": "status",
    "size": "size",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "availability_zone": "availability_zone",
    "bootable": "bootable",
    "host": "host",
    "user_id": "user_id",
    "volume_type_id": "volume_type_id",
}
FOR_ALL = {
    "name",
    "display_name",
    "status",
    "metadata",
    "bootable",
    "migration_status",
    "availability_zone",
    "group_id",
    "size",
    "created_at",
    "updated_at",
    "name~",
    "volume_type_id",
    "glance_metadata",
}


def all_tenants(req: Request) -> bool:
    """Whether an admin wants everybody's."""
    text = req.param("all_tenants")
    if text is None:
        return False
    return query_truth("all_tenants", text or "1") and req.caller.is_admin


def filters(req: Request, ours: set[str]) -> dict[str, str]:
    """The filters of the query that this caller may use."""
    asked = {name: value for name, value in req.query if name not in PAGING}
    if req.caller.is_admin:
        return asked
    foreign = [name for name in asked if name not in ours]
    if foreign and req.microversion >= (3, 31):
        raise Invalid(f"Invalid filters {','.join(foreign)} are found in query options.")
    return {name: value for name, value in asked.items() if name in ours}


def parsed_metadata(text: str) -> dict[str, str]:
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise invalid_input(f"Could not evaluate value {text}, assuming string")
    return {str(key): str(value) for key, value in found.items()}


def by_time(statement: Select[Any], column: Any, text: str) -> Select[Any]:
    """``gt:2024-01-01T00:00:00,lt:…`` (3.60)."""
    for part in text.split(","):
        word, _, when = part.partition(":")
        if word not in ("gt", "gte", "lt", "lte", "eq", "neq"):
            word, when = "eq", part
        try:
            moment = parse_iso(when)
        except ValueError:
            raise invalid_input(f"Invalid input for time filter: {part}") from None
        operator = {
            "gt": "__gt__",
            "gte": "__ge__",
            "lt": "__lt__",
            "lte": "__le__",
            "eq": "__eq__",
            "neq": "__ne__",
        }
        statement = statement.where(getattr(column, operator[word])(moment))
    return statement


Listing = tuple[Sequence[Any], Page, int | None]


def run(
    tx: Tx,
    req: Request,
    table: Table,
    keys: dict[str, str],
    statement: Select[Any],
    tests: list[Callable[[Any], bool]],
    lost: Callable[[str], Exception],
    counted: bool,
) -> Listing:
    """One page of what the statement and the tests leave, and how many there are in all when asked."""
    wanted = Page(req, table, keys, lost)
    count = None
    if tests:
        rows = [row for row in tx.all(wanted.statement(tx, statement)) if all(test(row) for test in tests)]
        if counted:
            count = len(rows)
        return wanted.cut(rows), wanted, count
    if counted:
        count = page.count(tx, statement)
    return wanted.rows(tx, statement), wanted, count


def wants_count(req: Request) -> bool:
    text = req.param("with_count")
    return text is not None and req.microversion >= (3, 45) and query_truth("with_count", text)


def _selection(tx: Tx, req: Request) -> tuple[Select[Any], list[Callable[[Any], bool]]]:
    statement = select(volume)
    everybody = all_tenants(req)
    asked = filters(req, FOR_ALL)
    if not everybody:
        statement = statement.where(volume.c.project_id == req.caller.project_id)
    elif project := asked.pop("project_id", None):
        statement = statement.where(volume.c.project_id == project)
    tests: list[Callable[[Any], bool]] = []
    for name, value in asked.items():
        statement = _filter(tx, statement, tests, name, value)
    return statement, tests


def _filter(
    tx: Tx, statement: Select[Any], tests: list[Callable[[Any], bool]], name: str, value: str
) -> Select[Any]:
    if name in ("metadata", "glance_metadata"):
        wanted = parsed_metadata(value)
        column = "metadata" if name == "metadata" else "image_metadata"
        tests.append(
            lambda row: wanted.items() <= {k: str(v) for k, v in (getattr(row, column) or {}).items()}.items()
        )
        return statement
    if name == "bootable":
        return statement.where(volume.c.bootable.is_(query_truth(name, value)))
    if name in ("name~", "display_name~"):
        return statement.where(volume.c.name.contains(value, autoescape=True))
    if name in ("created_at", "updated_at"):
        return by_time(statement, volume.c[name], value)
    if name == "size":
        return statement.where(volume.c.size == (int(value) if value.isdecimal() else -1))
    if name == "attach_status":
        mine = select(volume_attachment.c.volume_id).where(volume_attachment.c.status == "attached")
        return statement.where(volume.c.id.in_(mine) if value == "attached" else volume.c.id.not_in(mine))
    if name == "volume_type":
        return statement.where(
            volume.c.volume_type_id.in_([k for k, v in volume_type.names(tx).items() if value in (k, v)])
        )
    if name == "host":
        return statement.where(volume.c.host == value.partition("@")[0])
    names = {"display_name": "name", "display_description": "description", "tenant_id": "project_id"}
    column = names.get(name, name)
    if name in ("migration_status", "consistencygroup_id", "encryption_key_id"):
        return statement.where(volume.c.id.is_(None))
    if column not in volume.c:
        return statement
    return statement.where(volume.c[column] == value)


def _page(tx: Tx, req: Request) -> Listing:
    statement, tests = _selection(tx, req)
    return run(tx, req, volume, VOLUME_KEYS, statement, tests, volume_not_found, wants_count(req))


def index(tx: Tx, req: Request) -> Any:
    rows, wanted, count = _page(tx, req)
    return wanted.listed("volumes", "/v3/volumes", rows, [volume_view.brief(req, r) for r in rows], count)


def detail(tx: Tx, req: Request) -> Any:
    rows, wanted, count = _page(tx, req)
    return wanted.listed("volumes", "/v3/volumes/detail", rows, volume_view.full(tx, req, rows), count)


def summary(tx: Tx, req: Request) -> Any:
    statement, tests = _selection(tx, req)
    rows = [row for row in tx.all(statement) if all(test(row) for test in tests)]
    body: dict[str, Any] = {"total_count": len(rows), "total_size": sum(row.size for row in rows)}
    if req.microversion >= (3, 36):
        merged: dict[str, list[str]] = {}
        for row in rows:
            for key, value in row.metadata.items():
                merged.setdefault(key, [])
                if value not in merged[key]:
                    merged[key].append(value)
        body["metadata"] = merged
    return {"volume-summary": body}
