"""Segmentation ids: what a tenant network gets, what an administrator asks for, and from which ranges."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, func, insert, or_, select

from virga.api.resource import UNSET, Context, Values
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.network import faults
from virga.services.network.models import network_segment, network_segment_range
from virga.services.network.standard import fresh
from virga.settings import Settings

TUNNELS = ("vxlan", "gre", "geneve")
OVERHEAD = {"vxlan": 50, "gre": 42, "geneve": 58}


@dataclass(frozen=True, slots=True)
class Segment:
    """Where the frames of a network travel."""

    network_type: str
    physical_network: str
    segmentation_id: int


def sync_ranges(tx: Tx, settings: Settings) -> None:
    """Make the default ranges those of the settings."""
    table = network_segment_range
    tx.execute(delete(table).where(table.c.default.is_(True)))
    rows = [
        {
            "id": new_uuid(),
            "name": "",
            "default": True,
            "shared": True,
            "project_id": None,
            "network_type": "vlan",
            "physical_network": item.physical_network,
            "minimum": item.first,
            "maximum": item.last,
            "description": "",
            **fresh(tx),
        }
        for item in settings.vlan_range_list
    ]
    if rows:
        tx.execute(insert(table), rows)


def wanted(values: Values) -> Segment | None:
    """The provider attributes of a create request, checked; None when there are none."""
    kind, physical, number = (
        None if values.get(name) is UNSET else values.get(name)
        for name in ("provider:network_type", "provider:physical_network", "provider:segmentation_id")
    )
    if kind is None:
        if physical is not None or number is not None:
            raise faults.InvalidInput(reason="network_type required")
        return None
    if kind in ("flat", "local") and number is not None:
        raise faults.InvalidInput(reason=f"segmentation_id prohibited for {kind} provider network")
    if kind == "flat" and not physical:
        raise faults.InvalidInput(reason="physical_network required for flat provider network")
    if kind in TUNNELS and physical:
        raise faults.InvalidInput(reason=f"provider:physical_network specified for {kind} network")
    if kind == "vlan" and number is not None:
        if not physical:
            raise faults.InvalidInput(
                reason="segmentation_id requires physical_network for VLAN provider network"
            )
        if not 1 <= number <= 4094:
            raise faults.InvalidInput(
                reason=f"segmentation_id out of range (1 through 4094)"  # noqa: F541
            )
    return Segment(kind, physical or "", number or 0)


def allocate(tx: Tx, context: Context, network_id: str, project_id: str, asked: Segment | None) -> Segment:
    """Reserve a segment for the network of a project and write its row."""
    settings: Settings = context.settings
    found: Segment | None = None
    if asked is not None:
        found = _specific(tx, context, project_id, asked)
    else:
        for kind in settings.tenant_network_types:
            found = _local(network_id) if kind == "local" else _from_ranges(tx, project_id, kind, "")
            if found is not None:
                break
    if found is None:
        raise faults.NoNetworkAvailable()
    tx.execute(
        insert(network_segment).values(
            id=new_uuid(),
            network_id=network_id,
            network_type=found.network_type,
            physical_network=found.physical_network,
            segmentation_id=found.segmentation_id,
            name=None,
            description="",
            **fresh(tx),
        )
    )
    return found


def _local(network_id: str) -> Segment:
    # A local network needs no number; its own id keeps the uniqueness constraint content.
    return Segment("local", network_id, 0)


def _specific(tx: Tx, context: Context, project_id: str, asked: Segment) -> Segment:
    settings: Settings = context.settings
    kind = asked.network_type
    if kind == "local":
        return _local(new_uuid())
    if kind == "flat":
        allowed = settings.flat_networks
        if "*" not in allowed and asked.physical_network not in allowed:
            raise faults.InvalidInput(
                reason=f"physical_network '{asked.physical_network}' unknown for flat provider network"
            )
    if kind == "vlan" and asked.physical_network:
        known = {row.physical_network for row in tx.all(select(network_segment_range.c.physical_network))}
        if asked.physical_network not in known | set(settings.flat_networks) - {"*"} and "*" not in (
            settings.flat_networks
        ):
            raise faults.InvalidInput(
                reason=f"physical_network '{asked.physical_network}' unknown for VLAN provider network"
            )
    if kind != "flat" and not asked.segmentation_id:
        found = _from_ranges(tx, project_id, kind, asked.physical_network)
        if found is None:
            raise faults.NoNetworkAvailable()
        return found
    table = network_segment
    if tx.first(
        select(table.c.id).where(
            table.c.network_type == kind,
            table.c.physical_network == asked.physical_network,
            table.c.segmentation_id == asked.segmentation_id,
        )
    ):
        if kind == "flat":
            raise faults.FlatNetworkInUse(physical_network=asked.physical_network)
        if kind == "vlan":
            raise faults.VlanIdInUse(
                segmentation_id=asked.segmentation_id, physical_network=asked.physical_network
            )
        raise faults.TunnelIdInUse(segmentation_id=asked.segmentation_id)
    return asked


def _from_ranges(tx: Tx, project_id: str, kind: str, physical_network: str) -> Segment | None:
    table = network_segment_range
    query = select(table).where(
        table.c.network_type == kind,
        or_(table.c.shared.is_(True), table.c.project_id == project_id),
    )
    if physical_network:
        query = query.where(table.c.physical_network == physical_network)
    for row in tx.all(query.order_by(table.c.shared, table.c.physical_network, table.c.minimum)):
        number = _free_number(tx, kind, row.physical_network, row.minimum, row.maximum)
        if number is not None:
            return Segment(kind, row.physical_network, number)
    return None


def _free_number(tx: Tx, kind: str, physical_network: str, low: int, high: int) -> int | None:
    """One above the highest in use, so that a number given back rests for a while; else the lowest gap."""
    table = network_segment
    inside = (
        table.c.network_type == kind,
        table.c.physical_network == physical_network,
        table.c.segmentation_id.between(low, high),
    )
    top = tx.scalar(select(func.max(table.c.segmentation_id)).where(*inside))
    if top is None:
        return low
    if top < high:
        return int(top) + 1
    busy = {row.segmentation_id for row in tx.all(select(table.c.segmentation_id).where(*inside))}
    return next((number for number in range(low, high + 1) if number not in busy), None)


def mtu_of(settings: Settings, segment: Segment) -> int:
    """The greatest MTU that fits on the way."""
    return settings.physical_mtu - OVERHEAD.get(segment.network_type, 0)
