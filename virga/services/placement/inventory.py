"""Inventories: how much of each resource class a provider has, and what is used of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, insert, select, update

from virga.db.tx import Tx
from virga.services.placement.faults import concurrent, conflict
from virga.services.placement.models import allocation, resource_provider
from virga.services.placement.models import inventory as table

MAX = 2147483647


@dataclass(frozen=True)
class Inventory:
    """What a provider has of one class."""

    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int = MAX
    step_size: int = 1
    allocation_ratio: float = 1.0

    @property
    def capacity(self) -> int:
        return int((self.total - self.reserved) * self.allocation_ratio)

    def fits(self, amount: int, used: int) -> bool:
        """Whether a claim of ``amount`` may be added."""
        return (
            self.min_unit <= amount <= self.max_unit
            and amount % self.step_size == 0
            and used + amount <= self.capacity
        )


FIELDS = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio")


def of_row(row: Any) -> Inventory:
    return Inventory(*(getattr(row, name) for name in FIELDS))


def of_provider(tx: Tx, provider_id: str) -> dict[str, Inventory]:
    rows = tx.all(select(table).where(table.c.provider_id == provider_id).order_by(table.c.resource_class))
    return {row.resource_class: of_row(row) for row in rows}


def used_of(tx: Tx, provider_id: str) -> dict[str, int]:
    rows = tx.all(
        select(allocation.c.resource_class, func.sum(allocation.c.used).label("used"))
        .where(allocation.c.provider_id == provider_id)
        .group_by(allocation.c.resource_class)
    )
    return {row.resource_class: int(row.used) for row in rows}


def bump(tx: Tx, provider_id: str, generation: int | None = None) -> int:
    """The next generation; with ``generation`` only if nobody was faster."""
    statement = update(resource_provider).where(resource_provider.c.id == provider_id)
    if generation is not None:
        statement = statement.where(resource_provider.c.generation == generation)
    done = tx.execute(statement.values(generation=resource_provider.c.generation + 1, updated_at=tx.now))
    if done.rowcount == 0:
        raise concurrent("resource provider generation conflict")
    found = tx.scalar(select(resource_provider.c.generation).where(resource_provider.c.id == provider_id))
    return int(found)


def replace(tx: Tx, provider_id: str, wanted: Mapping[str, Inventory], generation: int | None = None) -> int:
    """Make the provider's inventories exactly these. What is in use cannot go."""
    used = used_of(tx, provider_id)
    gone = set(of_provider(tx, provider_id)) - set(wanted)
    for name in sorted(gone & set(used)):
        raise conflict(
            f"update conflict: Inventory for '{name}' on resource provider '{provider_id}' in use.",
            "placement.inventory.inuse",
        )
    version = bump(tx, provider_id, generation)
    tx.execute(sql_delete(table).where(table.c.provider_id == provider_id))
    for name, item in wanted.items():
        tx.execute(
            insert(table).values(
                provider_id=provider_id, resource_class=name, **{f: getattr(item, f) for f in FIELDS}
            )
        )
    return version


def offer(tx: Tx, provider_id: str, wanted: Mapping[str, Inventory]) -> None:
    """Like ``replace`` for the classes named; others that an operator added stay."""
    kept = {name: item for name, item in of_provider(tx, provider_id).items() if name not in wanted}
    own = ("VCPU", "MEMORY_MB", "DISK_GB")
    used = used_of(tx, provider_id)
    kept = {name: item for name, item in kept.items() if name not in own or name in used}
    if of_provider(tx, provider_id) != {**kept, **wanted}:
        replace(tx, provider_id, {**kept, **wanted})
