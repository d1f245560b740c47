"""Claims as other services make them: take resources of providers for a consumer, give them back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, insert, select, update

from virga.db.tx import Tx
from virga.services.placement import inventory
from virga.services.placement.faults import PlacementFault, conflict
from virga.services.placement.models import allocation, consumer
from virga.services.placement.models import inventory as inventory_table

Resources = Mapping[str, int]


@dataclass(frozen=True)
class Owner:
    """For whom a claim is."""

    project_id: str
    user_id: str
    consumer_type: str = "INSTANCE"


def room(tx: Tx) -> dict[str, dict[str, tuple[inventory.Inventory, int]]]:
    """Provider id to class to (inventory, used): all that may be claimed, read in two statements."""
    used_rows = tx.all(
        select(
            allocation.c.provider_id, allocation.c.resource_class, func.sum(allocation.c.used).label("used")
        ).group_by(allocation.c.provider_id, allocation.c.resource_class)
    )
    used = {(row.provider_id, row.resource_class): int(row.used) for row in used_rows}
    found: dict[str, dict[str, tuple[inventory.Inventory, int]]] = {}
    for row in tx.all(select(inventory_table)):
        found.setdefault(row.provider_id, {})[row.resource_class] = (
            inventory.of_row(row),
            used.get((row.provider_id, row.resource_class), 0),
        )
    return found


def claim(tx: Tx, consumer_id: str, provider_id: str, resources: Resources, owner: Owner) -> None:
    """Take ``resources`` of a provider for a consumer, on top of what it has elsewhere. Raises PlacementFault."""
    has = inventory.of_provider(tx, provider_id)
    used = inventory.used_of(tx, provider_id)
    for name, amount in resources.items():
        if amount and (name not in has or not has[name].fits(amount, used.get(name, 0))):
            raise conflict(
                f"Unable to allocate inventory: Unable to create allocation for '{name}' on resource provider "
                f"'{provider_id}'. The requested amount would exceed the capacity."
            )
    ensure_consumer(tx, consumer_id, owner)
    tx.execute(
        sql_delete(allocation).where(
            allocation.c.consumer_id == consumer_id, allocation.c.provider_id == provider_id
        )
    )
    for name, amount in resources.items():
        if amount:
            tx.execute(
                insert(allocation).values(
                    consumer_id=consumer_id, provider_id=provider_id, resource_class=name, used=amount
                )
            )
    inventory.bump(tx, provider_id)


def ensure_consumer(tx: Tx, consumer_id: str, owner: Owner) -> None:
    row = tx.first(select(consumer.c.id).where(consumer.c.id == consumer_id))
    values: dict[str, Any] = {
        "project_id": owner.project_id,
        "user_id": owner.user_id,
        "consumer_type": owner.consumer_type,
        "updated_at": tx.now,
    }
    if row is None:
        tx.execute(insert(consumer).values(id=consumer_id, generation=1, **values))
    else:
        tx.execute(
            update(consumer)
            .where(consumer.c.id == consumer_id)
            .values(generation=consumer.c.generation + 1, **values)
        )


def release(tx: Tx, consumer_id: str) -> None:
    """Give all back. Done also when there is nothing."""
    tx.execute(sql_delete(allocation).where(allocation.c.consumer_id == consumer_id))
    tx.execute(sql_delete(consumer).where(consumer.c.id == consumer_id))


def move(tx: Tx, from_consumer: str, to_consumer: str, owner: Owner) -> None:
    """Hand what one consumer holds to another (a migration keeps the old host's share)."""
    ensure_consumer(tx, to_consumer, owner)
    tx.execute(
        update(allocation).where(allocation.c.consumer_id == from_consumer).values(consumer_id=to_consumer)
    )
    tx.execute(sql_delete(consumer).where(consumer.c.id == from_consumer))


def can_claim(tx: Tx, provider_id: str, resources: Resources) -> bool:
    has, used = inventory.of_provider(tx, provider_id), inventory.used_of(tx, provider_id)
    return all(
        not amount or (name in has and has[name].fits(amount, used.get(name, 0)))
        for name, amount in resources.items()
    )


__all__ = ["Owner", "PlacementFault", "can_claim", "claim", "ensure_consumer", "move", "release", "room"]
