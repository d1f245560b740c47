"""What all resources of the Identity service do alike: bodies, ids, conflicts, options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.exc import IntegrityError

from virga.api.faults import Fault, Forbidden
from virga.api.request import Request
from virga.db.tx import Tx
from virga.services.identity.faults import ResourceConflict, ResourceNotFound, ValidationError
from virga.services.identity.schema import Checker

_NO = frozenset({"false", "0", "n", "off", "no", ""})


def body(req: Request, key: str, checker: Checker) -> dict[str, Any]:
    """The part of the body under ``key``, checked."""
    checker.check(req.body if req.body is not None else {})
    return dict(req.body.get(key) or {})


def row_or_fault(tx: Tx, table: Table, key: str, kind: str) -> Any:
    """The row of this id. Raises ResourceNotFound."""
    row = tx.first(select(table).where(table.c.id == key))
    if row is None:
        raise ResourceNotFound(kind, key)
    return row


def require_same_id(values: Mapping[str, Any], key: str, what: str = "ID") -> None:
    """The body may repeat the id of the URL, not contradict it."""
    if "id" in values and values["id"] != key:
        raise ValidationError(f"Cannot change {what}")


def boolean(value: Any) -> bool:
    """What the schemas let through for true and false."""
    return value.lower() not in _NO if isinstance(value, str) else bool(value)


def split(values: Mapping[str, Any], columns: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Known columns, and everything else (which the API keeps and shows)."""
    known = {name: value for name, value in values.items() if name in columns}
    extra = {
        name: value for name, value in values.items() if name not in columns and name not in ("id", "links")
    }
    return known, extra


def merged_options(current: Mapping[str, Any], wanted: Any) -> dict[str, Any]:
    """Options set, changed, or (by null) dropped."""
    found = {**current, **(wanted or {})}
    return {name: value for name, value in found.items() if value is not None}


def check_immutable(current: Mapping[str, Any], wanted: Any, kind: str, key: str) -> None:
    """Raise Forbidden for a change of something immutable, unless the change ends that."""
    if current.get("immutable") and not (isinstance(wanted, Mapping) and not wanted.get("immutable", True)):
        raise Forbidden(
            f'Unable to update immutable {kind} resource: `{key}. Set resource option "immutable" to false first.'
        )


def check_deletable(current: Mapping[str, Any], kind: str, key: str) -> None:
    """Raise Forbidden for something immutable."""
    if current.get("immutable"):
        raise Forbidden(
            f'Unable to delete immutable {kind} resource: `{key}. Set resource option "immutable" to false first.'
        )


def duplicate(kind: str, name: str | None, domain_id: str | None = None) -> Fault:
    """The name is taken."""
    if name is None:
        return ResourceConflict(kind, "Duplicate entry")
    where = f" at domain ID {domain_id}" if domain_id else ""
    return ResourceConflict(kind, f"Duplicate entry found with name {name}{where}")


@contextmanager
def unique(fault: Fault) -> Iterator[None]:
    """Turns the database's refusal of a second row with the same name into ``fault``."""
    try:
        yield
    except IntegrityError:
        raise fault from None
