"""A provider goes: with its inventories, traits and aggregates, unless somebody has a claim on it."""

from __future__ import annotations

from sqlalchemy import delete, select

from virga.db.tx import Tx
from virga.services.placement.faults import conflict
from virga.services.placement.models import (
    allocation,
    inventory,
    provider_aggregate,
    provider_trait,
    resource_provider,
)


def remove(tx: Tx, provider_id: str) -> None:
    """Raises a conflict while there are allocations or children. Done also when it is not there."""
    if tx.first(select(allocation.c.number).where(allocation.c.provider_id == provider_id)):
        raise conflict(
            f"Unable to delete resource provider {provider_id}: Resource provider has allocations.",
            "placement.resource_provider.inuse",
        )
    if tx.first(select(resource_provider.c.id).where(resource_provider.c.parent_id == provider_id)):
        raise conflict(
            f"Unable to delete parent resource provider {provider_id}: It has child resource providers.",
            "placement.resource_provider.cannot_delete_parent",
        )
    for table in (inventory, provider_trait, provider_aggregate):
        tx.execute(delete(table).where(table.c.provider_id == provider_id))
    tx.execute(delete(resource_provider).where(resource_provider.c.id == provider_id))
