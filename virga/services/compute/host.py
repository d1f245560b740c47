"""Hosts that run servers, as their agents' heartbeats tell: services, hypervisors, zones, what they offer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row

from virga.contract.messages import Heartbeat, Resources
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.compute.models import aggregate, aggregate_host
from virga.services.compute.models import compute_service as table
from virga.services.placement import inventory, provider
from virga.services.placement.inventory import Inventory
from virga.settings import Settings

DEFAULT_ZONE = "nova"
INTERNAL_ZONE = "internal"
DOWN_AFTER_US = 60 * 1_000_000
TRAITS = ("COMPUTE_NODE", "COMPUTE_NET_ATTACH_INTERFACE", "COMPUTE_RESCUE_BFV", "COMPUTE_VOLUME_EXTEND")
CONTROL_BINARIES = ("nova-conductor", "nova-scheduler")


def heartbeat(tx: Tx, beat: Heartbeat, settings: Settings) -> None:
    """A host lives: note its service, what it offers, and its resource provider."""
    if "compute" not in beat.roles or beat.resources is None:
        return
    resources = _as_dict(beat.resources)
    row = _service(tx, beat.host, "nova-compute")
    if row is None:
        node_id = new_uuid()
        _register(tx, beat.host, "nova-compute", node_id, resources)
        for binary in CONTROL_BINARIES:
            if tx.first(select(table.c.number).where(table.c.binary == binary)) is None:
                _register(tx, beat.host, binary, new_uuid(), None)
    else:
        node_id = row.node_id
        tx.execute(
            update(table)
            .where(table.c.number == row.number)
            .values(seen_at=tx.now, updated_at=tx.now, resources=resources)
        )
    if row is None or row.resources != resources:
        _offer(tx, node_id, beat.host, beat.resources, settings)


def _register(tx: Tx, host: str, binary: str, node_id: str, resources: dict[str, Any] | None) -> None:
    tx.execute(
        insert(table).values(
            id=new_uuid(),
            host=host,
            binary=binary,
            disabled=False,
            forced_down=False,
            created_at=tx.now,
            updated_at=tx.now,
            seen_at=tx.now,
            resources=resources,
            node_id=node_id,
        )
    )


def _as_dict(resources: Resources) -> dict[str, Any]:
    return {name: getattr(resources, name) for name in resources.__struct_fields__}


def _offer(tx: Tx, node_id: str, host: str, resources: Resources, settings: Settings) -> None:
    """The host's inventory in Placement. Traits say what images and flavors may ask for."""
    provider.ensure(tx, node_id, host)
    wanted = {
        "VCPU": Inventory(
            resources.vcpus, allocation_ratio=settings.cpu_allocation_ratio, max_unit=resources.vcpus
        ),
        "MEMORY_MB": Inventory(
            resources.memory_mb, allocation_ratio=settings.ram_allocation_ratio, max_unit=resources.memory_mb
        ),
    }
    if resources.disk_gb > 0:
        wanted["DISK_GB"] = Inventory(
            resources.disk_gb, allocation_ratio=settings.disk_allocation_ratio, max_unit=resources.disk_gb
        )
    inventory.offer(tx, node_id, wanted)
    provider.ensure_traits(tx, node_id, TRAITS)


def _service(tx: Tx, host: str, binary: str) -> Row[Any] | None:
    return tx.first(select(table).where(table.c.host == host, table.c.binary == binary))


def service_of(tx: Tx, host: str) -> Row[Any] | None:
    """The compute service of a host."""
    return _service(tx, host, "nova-compute")


def compute_services(tx: Tx) -> list[Row[Any]]:
    return list(tx.all(select(table).where(table.c.binary == "nova-compute").order_by(table.c.host)))


def is_up(row: Row[Any], now: int) -> bool:
    """Heard of lately, and not declared dead by an operator."""
    if row.forced_down:
        return False
    if row.binary != "nova-compute":
        return True
    return row.seen_at is not None and now - row.seen_at <= DOWN_AFTER_US


def host_is_up(tx: Tx, host: str | None) -> bool:
    row = service_of(tx, host) if host else None
    return row is not None and is_up(row, tx.now)


def host_statuses(tx: Tx) -> dict[str, str]:
    """``host_status`` of servers, by host."""
    return {row.host: _status(row, tx.now) for row in compute_services(tx)}


def _status(row: Row[Any], now: int) -> str:
    if row.forced_down:
        return "DOWN"
    if not is_up(row, now):
        return "UNKNOWN"
    return "MAINTENANCE" if row.disabled else "UP"


def zones_by_host(tx: Tx) -> dict[str, str]:
    """Hosts that an aggregate puts into an availability zone; all others are in the default one."""
    rows = tx.all(
        select(aggregate.c.metadata, aggregate_host.c.host).join(
            aggregate_host, aggregate_host.c.aggregate_number == aggregate.c.number
        )
    )
    return {
        row.host: row.metadata["availability_zone"] for row in rows if row.metadata.get("availability_zone")
    }


def zone_of(tx: Tx, host: str) -> str:
    return zones_by_host(tx).get(host, DEFAULT_ZONE)
