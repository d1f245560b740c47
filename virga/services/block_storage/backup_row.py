"""Rows of backups, found for a caller."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.engine import Row

from virga.db.tx import Tx
from virga.services.block_storage.faults import backup_not_found
from virga.services.block_storage.models import volume_backup as table


def find(tx: Tx, backup_id: object) -> Row[Any] | None:
    return tx.first(select(table).where(table.c.id == str(backup_id)))


def need(tx: Tx, backup_id: object) -> Row[Any]:
    row = find(tx, backup_id)
    if row is None:
        raise backup_not_found(backup_id)
    return row


def get(tx: Tx, caller: Any, backup_id: object) -> Row[Any]:
    """The backup, if the caller may see it."""
    row = need(tx, backup_id)
    if not caller.is_admin and row.project_id != caller.project_id:
        raise backup_not_found(backup_id)
    return row


def save(tx: Tx, backup_id: str, **values: Any) -> Row[Any]:
    tx.execute(update(table).where(table.c.id == backup_id).values(updated_at=tx.now, **values))
    return need(tx, backup_id)
