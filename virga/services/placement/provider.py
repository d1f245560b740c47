"""Resource providers as other services use them: made for hosts, marked with traits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row

from virga.db.tx import Tx
from virga.services.placement.models import provider_trait
from virga.services.placement.models import resource_provider as table


def find(tx: Tx, provider_id: str) -> Row[Any] | None:
    return tx.first(select(table).where(table.c.id == provider_id))


def ensure(tx: Tx, provider_id: str, name: str) -> None:
    """There is a provider of this id and name."""
    row = find(tx, provider_id)
    if row is None:
        tx.execute(
            insert(table).values(
                id=provider_id,
                name=name,
                generation=0,
                parent_id=None,
                root_id=provider_id,
                updated_at=tx.now,
            )
        )
    elif row.name != name:
        tx.execute(update(table).where(table.c.id == provider_id).values(name=name, updated_at=tx.now))


def traits_of(tx: Tx, provider_id: str) -> list[str]:
    rows = tx.all(select(provider_trait.c.trait).where(provider_trait.c.provider_id == provider_id))
    return sorted(row.trait for row in rows)


def ensure_traits(tx: Tx, provider_id: str, names: Iterable[str]) -> None:
    """The provider has at least these traits."""
    has = set(traits_of(tx, provider_id))
    for name in names:
        if name not in has:
            tx.execute(insert(provider_trait).values(provider_id=provider_id, trait=name))
