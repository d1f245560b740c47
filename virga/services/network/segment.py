"""Segments and the ranges they are taken from, as an administrator sees and changes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Row

from virga.api.resource import REQUIRED, Attribute, Context, Resource, Values, change
from virga.api.validators import between, boolean, one_of, or_none, text, uuid
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.network import faults, segment_allocation
from virga.services.network.attributes import ID, NETWORK_TYPES, TIMES, both, once
from virga.services.network.models import network, network_segment, network_segment_range, subnet
from virga.services.network.standard import fresh, time

SegmentInUse = faults.refusal("SegmentInUse", 409, "Segment '{id}' cannot be deleted: {reason}.")
RangeOverlaps = faults.refusal(
    "NetworkSegmentRangeOverlaps", 409, "The network segment range overlaps with range(s) with id {id}."
)
RangeDefaultReadOnly = faults.refusal(
    "NetworkSegmentRangeDefaultReadOnly",
    409,
    "Network Segment Range {id} is a default segment range which could not be updated or deleted.",
)
RangeInUse = faults.refusal(
    "NetworkSegmentRangeReferencedByProject",
    409,
    "Network Segment Range {id} is referenced by one or more tenant networks.",
)


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    return [
        {
            "id": row.id,
            "network_id": row.network_id,
            "name": row.name,
            "description": row.description,
            "network_type": row.network_type,
            "physical_network": None if row.network_type == "local" else row.physical_network or None,
            "segmentation_id": row.segmentation_id or None,
            "revision_number": row.revision_number,
            "created_at": time(row.created_at),
            "updated_at": time(row.updated_at),
        }
        for row in rows
    ]


def create(tx: Tx, context: Context, values: Values) -> str:
    project_id = tx.scalar(select(network.c.project_id).where(network.c.id == values["network_id"]))
    if project_id is None:
        raise faults.NetworkNotFound(id=values["network_id"])
    asked = segment_allocation.wanted(
        {
            "provider:network_type": values["network_type"],
            "provider:physical_network": values["physical_network"],
            "provider:segmentation_id": values["segmentation_id"],
        }
    )
    segment_allocation.allocate(tx, context, values["network_id"], project_id, asked)
    row = tx.all(
        select(network_segment)
        .where(network_segment.c.network_id == values["network_id"])
        .order_by(network_segment.c.created_at)
    )[-1]
    change(tx, network_segment, row.id, {"name": values["name"], "description": values["description"]})
    tx.touch("network", values["network_id"])
    return str(row.id)


def update(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    change(tx, network_segment, current["id"], changes)


def delete_segment(tx: Tx, context: Context, current: Values) -> None:
    if tx.first(select(subnet.c.id).where(subnet.c.segment_id == current["id"]).limit(1)) is not None:
        raise SegmentInUse(id=current["id"], reason="The segment is still associated with subnets")
    others = select(network_segment.c.id).where(
        network_segment.c.network_id == current["network_id"], network_segment.c.id != current["id"]
    )
    if tx.first(others.limit(1)) is None:
        raise SegmentInUse(id=current["id"], reason="It is the only segment of its network")
    tx.execute(delete(network_segment).where(network_segment.c.id == current["id"]))
    tx.touch("network", current["network_id"])


SEGMENT = Resource(
    name="segment",
    collection="segments",
    table=network_segment,
    attributes=(
        ID,
        once("network_id", uuid, default=REQUIRED),
        both("name", or_none(text())),
        both("description", or_none(text()), default=""),
        once("network_type", one_of(NETWORK_TYPES), default=REQUIRED),
        once("physical_network", or_none(text())),
        once("segmentation_id", or_none(between(1, 2**24))),
        *TIMES,
    ),
    not_found=lambda segment_id: faults.SegmentNotFound(id=segment_id),
    render=render,
    create=create,
    update=update,
    delete=delete_segment,
    scope=lambda context: None,
)


# --- ranges


def _numbers(tx: Tx, row: Row[Any]) -> tuple[list[int], dict[str, str]]:
    """What is free, and which project has what."""
    table = network_segment
    rows = tx.all(
        select(table.c.segmentation_id, network.c.project_id)
        .join(network, network.c.id == table.c.network_id)
        .where(
            table.c.network_type == row.network_type,
            table.c.physical_network == row.physical_network,
            table.c.segmentation_id.between(row.minimum, row.maximum),
        )
    )
    used = {r.segmentation_id: r.project_id for r in rows}
    free = [n for n in range(row.minimum, row.maximum + 1) if n not in used]
    return free, {str(n): project for n, project in sorted(used.items())}


def render_range(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    result = []
    for row in rows:
        free, used = _numbers(tx, row)
        result.append(
            {
                "id": row.id,
                "name": row.name,
                "default": row.default,
                "shared": row.shared,
                "project_id": row.project_id,
                "tenant_id": row.project_id,
                "network_type": row.network_type,
                "physical_network": row.physical_network or None,
                "minimum": row.minimum,
                "maximum": row.maximum,
                "available": free,
                "used": used,
                "description": row.description,
                "revision_number": row.revision_number,
                "created_at": time(row.created_at),
                "updated_at": time(row.updated_at),
                "tags": [],
            }
        )
    return result


def _check_bounds(tx: Tx, values: Values, own: str = "") -> None:
    low, high = values["minimum"], values["maximum"]
    if low > high:
        raise faults.InvalidInput(
            reason=f"minimum ID of the network segment range ({low}) must not be greater than maximum ({high})"
        )
    if values["network_type"] == "vlan":
        if not values["physical_network"]:
            raise faults.InvalidInput(reason="physical_network is required for a VLAN network segment range")
        if not 1 <= low <= high <= 4094:
            raise faults.InvalidInput(reason="segmentation ids of VLANs are from 1 through 4094")
    table = network_segment_range
    if values.get("shared"):
        return
    for row in tx.all(
        select(table).where(
            table.c.network_type == values["network_type"],
            table.c.physical_network == (values["physical_network"] or ""),
            table.c.shared.is_(False),
            table.c.id != own,
        )
    ):
        if row.minimum <= high and low <= row.maximum:
            raise RangeOverlaps(id=row.id)


def create_range(tx: Tx, context: Context, values: Values) -> str:
    _check_bounds(tx, values)
    if not values["shared"] and not values["project_id"]:
        raise faults.InvalidInput(reason="project_id is required when the range is not shared")
    range_id = new_uuid()
    tx.execute(
        insert(network_segment_range).values(
            id=range_id,
            name=values["name"],
            default=False,
            shared=values["shared"],
            project_id=None if values["shared"] else values["project_id"],
            network_type=values["network_type"],
            physical_network=values["physical_network"] or "",
            minimum=values["minimum"],
            maximum=values["maximum"],
            description=values["description"],
            **fresh(tx),
        )
    )
    return range_id


def update_range(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    if current["default"]:
        raise RangeDefaultReadOnly(id=current["id"])
    merged = {**current, **changes}
    if {"minimum", "maximum"} & changes.keys():
        _check_bounds(tx, merged, current["id"])
        used = [int(n) for n in current["used"]]
        if any(not merged["minimum"] <= n <= merged["maximum"] for n in used):
            raise RangeInUse(id=current["id"])
    change(tx, network_segment_range, current["id"], changes)


def delete_range(tx: Tx, context: Context, current: Values) -> None:
    if current["default"]:
        raise RangeDefaultReadOnly(id=current["id"])
    if current["used"]:
        raise RangeInUse(id=current["id"])
    tx.execute(delete(network_segment_range).where(network_segment_range.c.id == current["id"]))


RANGE = Resource(
    name="network_segment_range",
    collection="network_segment_ranges",
    table=network_segment_range,
    attributes=(
        ID,
        both("name", text(), default=""),
        both("description", text(), default=""),
        Attribute("default"),
        once("shared", boolean, default=True),
        once("project_id", or_none(text()), default=None),
        Attribute("tenant_id", column="project_id"),
        once("network_type", one_of(["vlan", "vxlan", "gre", "geneve"]), default=REQUIRED),
        once("physical_network", or_none(text())),
        both("minimum", between(1, 2**24), default=REQUIRED),
        both("maximum", between(1, 2**24), default=REQUIRED),
        Attribute("used"),
        Attribute("available"),
        *TIMES,
    ),
    not_found=lambda range_id: faults.SegmentRangeNotFound(id=range_id),
    render=render_range,
    create=create_range,
    update=update_range,
    delete=delete_range,
    scope=lambda context: None,
)
