"""Rows of migrations: which server moves (or changes size) from where to where, and how far that is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row

from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.compute.models import migration as table
from virga.services.compute.server import Server
from virga.services.placement import claim

LIVE = "live-migration"
OPEN = (
    "pre-migrating",
    "migrating",
    "post-migrating",
    "finished",
    "reverting",
    "confirming",
    "queued",
    "preparing",
    "running",
    "cancelling",
)
IN_PROGRESS = ("accepted", "queued", "preparing", "running", "cancelling", "post-migrating")
"""Of a live migration: while it can be looked at under its server."""
ENDED = ("confirmed", "reverted", "error", "completed", "cancelled", "failed", "done")


def start(
    tx: Tx, row: Server, kind: str, destination: str | None, new_flavor: dict[str, Any] | None, caller: Any
) -> Row[Any]:
    """Note that a move begins."""
    ident = new_uuid()
    tx.execute(
        insert(table).values(
            id=ident,
            server_id=row.id,
            user_id=caller.user_id,
            project_id=caller.project_id,
            source_host=row.host,
            destination_host=destination,
            status="pre-migrating",
            migration_type=kind,
            old_flavor_number=row.flavor["number"],
            new_flavor_number=(new_flavor or row.flavor)["number"],
            created_at=tx.now,
            updated_at=tx.now,
        )
    )
    found = find(tx, ident)
    assert found is not None
    return found


def find(tx: Tx, ident: str) -> Row[Any] | None:
    return tx.first(select(table).where(table.c.id == ident))


def change(tx: Tx, ident: str, **values: Any) -> None:
    tx.execute(update(table).where(table.c.id == ident).values(updated_at=tx.now, **values))


def current(tx: Tx, server_id: str) -> Row[Any] | None:
    """The move that is under way or waits for confirmation."""
    return tx.first(
        select(table)
        .where(table.c.server_id == server_id, table.c.status.in_(OPEN))
        .order_by(table.c.number.desc())
    )


def of_servers(tx: Tx, server_ids: Iterable[str]) -> dict[str, Row[Any]]:
    rows = tx.all(
        select(table)
        .where(table.c.server_id.in_(list(server_ids)), table.c.status.in_(OPEN))
        .order_by(table.c.number)
    )
    return {row.server_id: row for row in rows}


def abandon(tx: Tx, server_id: str) -> None:
    """The server goes; its move ends with it, and so does what the move held."""
    row = current(tx, server_id)
    if row is not None:
        change(tx, row.id, status="error")
        claim.release(tx, row.id)
