"""Volume types: found by id or name, with who may use them; a default one that every volume gets."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, or_, select
from sqlalchemy.engine import Row

from virga.db.tx import Tx
from virga.lib.ids import is_uuid_like, new_uuid
from virga.services.block_storage.faults import type_name_not_found, type_not_found
from virga.services.block_storage.models import volume_default_type, volume_type_access
from virga.services.block_storage.models import volume_type as table

DEFAULT_NAME = "__DEFAULT__"
VISIBLE = frozenset({"RESKEY:availability_zones", "multiattach", "replication_enabled"})
"""Extra specs that everybody sees."""


def find(tx: Tx, type_id: str | None) -> Row[Any] | None:
    return tx.first(select(table).where(table.c.id == type_id))


def may_use(tx: Tx, caller: Any, row: Row[Any]) -> bool:
    if row.is_public or caller.is_admin:
        return True
    shared = select(volume_type_access.c.project_id).where(
        volume_type_access.c.volume_type_id == row.id, volume_type_access.c.project_id == caller.project_id
    )
    return tx.first(shared) is not None


def get(tx: Tx, caller: Any, type_id: str) -> Row[Any]:
    """By id, if the caller may use it."""
    row = find(tx, type_id)
    if row is None or not may_use(tx, caller, row):
        raise type_not_found(type_id)
    return row


def by_name_or_id(tx: Tx, caller: Any, text: str) -> Row[Any]:
    """As a create names it."""
    row = tx.first(
        select(table).where(
            or_(table.c.name == text, table.c.id == text) if is_uuid_like(text) else table.c.name == text
        )
    )
    if row is None or not may_use(tx, caller, row):
        raise type_not_found(text) if is_uuid_like(text) else type_name_not_found(text)
    return row


def is_multiattach(row: Row[Any] | None) -> bool:
    """Several servers may have a volume of this type at once."""
    text = str((row.extra_specs if row is not None else {}).get("multiattach", ""))
    return text.replace(" ", "").lower() == "<is>true"


def ensure_default(tx: Tx) -> None:
    """The type that a cloud starts with."""
    if tx.first(select(table.c.id).where(table.c.name == DEFAULT_NAME)) is None:
        tx.execute(
            insert(table).values(
                id=new_uuid(),
                name=DEFAULT_NAME,
                description="Default Volume Type",
                is_public=True,
                extra_specs={},
                created_at=tx.now,
            )
        )


def default(tx: Tx, project_id: str | None) -> Row[Any] | None:
    """The project's own default type, or the cloud's."""
    own = tx.scalar(
        select(volume_default_type.c.volume_type_id).where(volume_default_type.c.project_id == project_id)
    )
    return (find(tx, own) if own else None) or tx.first(select(table).where(table.c.name == DEFAULT_NAME))


def names(tx: Tx) -> dict[str, str]:
    return {row.id: row.name for row in tx.all(select(table.c.id, table.c.name))}
