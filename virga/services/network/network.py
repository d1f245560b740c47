"""Networks: a layer 2 segment with its provider attributes, sharing, and whether it leads outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, or_, select, update
from sqlalchemy.engine import Row

from virga.api.lists import equals
from virga.api.resource import UNSET, Context, Filter, Resource, Values, bump, change
from virga.db.tx import Tx
from virga.db.within import within
from virga.lib.ids import new_uuid
from virga.services.network import faults, qos_binding, rbac, segment_allocation
from virga.services.network.attributes import NETWORK
from virga.services.network.models import (
    address_scope,
    network,
    network_segment,
    port,
    port_dhcp_binding,
    rbac_policy,
    subnet,
    subnetpool,
    tag,
)
from virga.services.network.standard import Shape, add_tags, by_ids, fresh, grouped, tags_of

AUTO_DELETE_OWNERS = ("network:dhcp", "network:dhcp_old", "network:distributed")
DIRECT = {
    "name": "name",
    "description": "description",
    "admin_state_up": "admin_state_up",
    "is_default": "is_default",
    "port_security_enabled": "port_security_enabled",
    "dns_domain": "dns_domain",
}

_SUBNETS = select(subnet.c.network_id, subnet.c.id, subnet.c.ip_version, subnet.c.subnetpool_id).where(
    within(subnet.c.network_id)
)
_SEGMENTS = select(
    network_segment.c.network_id,
    network_segment.c.network_type,
    network_segment.c.physical_network,
    network_segment.c.segmentation_id,
).where(within(network_segment.c.network_id))
_ZONES = select(port_dhcp_binding.c.network_id, port_dhcp_binding.c.host).where(
    within(port_dhcp_binding.c.network_id)
)
_POOL_SCOPES = select(subnetpool.c.id, subnetpool.c.address_scope_id).where(within(subnetpool.c.id))


_SHAPE = Shape(network, external="router:external")


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    """Networks as the API shows them; a handful of queries however many there are."""
    ids = [row.id for row in rows]
    subnets: dict[str, list[Row[Any]]] = {}
    for one in by_ids(tx, _SUBNETS, ids):
        subnets.setdefault(one.network_id, []).append(one)
    segments: dict[str, list[Sequence[Any]]] = {}
    for network_id, *segment in by_ids(tx, _SEGMENTS, ids):
        segments.setdefault(network_id, []).append(segment)
    tags, zones = tags_of(tx, ids), grouped(by_ids(tx, _ZONES, ids))
    shared = rbac.shared_ids(tx, context, "network", ids)
    pools = {item.subnetpool_id for found in subnets.values() for item in found if item.subnetpool_id}
    scopes = {row.id: row.address_scope_id for row in by_ids(tx, _POOL_SCOPES, sorted(pools))}
    items = _SHAPE.items(rows)
    for item in items:
        network_id = item["id"]
        own = subnets.get(network_id, ())
        item["subnets"] = [s.id for s in own]
        item["shared"] = network_id in shared
        item["availability_zones"] = ["nova"] if network_id in zones else []
        item["ipv4_address_scope"] = _scope(own, scopes, 4) if scopes else None
        item["ipv6_address_scope"] = _scope(own, scopes, 6) if scopes else None
        item["l2_adjacency"] = True
        item["tags"] = tags.get(network_id, [])
        if not item["router:external"]:
            del item["is_default"]
        item.update(_provider(segments.get(network_id, ())))
    return items


def _scope(own: Sequence[Row[Any]], scopes: dict[str, str | None], version: int) -> str | None:
    return next(
        (scopes.get(s.subnetpool_id) for s in own if s.ip_version == version and s.subnetpool_id), None
    )


def _provider(segments: Sequence[Sequence[Any]]) -> Values:
    shown = [
        {
            "provider:network_type": kind,
            "provider:physical_network": None if kind == "local" else physical or None,
            "provider:segmentation_id": number or None,
        }
        for kind, physical, number in segments
    ]
    if len(shown) > 1:
        return {"segments": shown}
    return shown[0] if shown else {}


def create(tx: Tx, context: Context, values: Values) -> str:
    network_id = new_uuid()
    asked = _asked_segment(values)
    qos = qos_binding.for_network(tx, context, network_id, values["project_id"], values["qos_policy_id"])
    tx.execute(
        insert(network).values(
            id=network_id,
            project_id=values["project_id"],
            name=values["name"],
            description=values["description"],
            admin_state_up=values["admin_state_up"],
            status="ACTIVE",
            mtu=values["mtu"],
            external=values["router:external"],
            is_default=values["is_default"],
            port_security_enabled=values["port_security_enabled"],
            dns_domain=values["dns_domain"],
            availability_zone_hints=values["availability_zone_hints"],
            qos_policy_id=qos,
            **fresh(tx, 1),
        )
    )
    segment = segment_allocation.allocate(tx, context, network_id, values["project_id"], asked)
    greatest = segment_allocation.mtu_of(context.settings, segment)
    if values["mtu"] > greatest:
        raise faults.InvalidInput(reason=f"Requested MTU is too big, maximum is {greatest}")
    if not values["mtu"]:
        tx.execute(update(network).where(network.c.id == network_id).values(mtu=greatest))
    if values["is_default"]:
        _only_default(tx, network_id)
    if values["shared"]:
        rbac.grant(tx, values["project_id"], "network", network_id)
    if values["router:external"]:
        rbac.grant(tx, values["project_id"], "network", network_id, rbac.EXTERNAL)
    add_tags(tx, network_id, values["tags"])
    tx.touch("network", network_id)
    return network_id


def _asked_segment(values: Values) -> segment_allocation.Segment | None:
    asked = segment_allocation.wanted(values)
    several = values.get("segments", UNSET)
    if several is UNSET:
        return asked
    if asked is not None:
        raise faults.InvalidInput(reason="Plugin does not support multiple segments and provider attributes")
    if len(several) != 1:
        raise faults.InvalidInput(reason="A network of several segments is made by the segments API")
    return segment_allocation.wanted(several[0])


def _only_default(tx: Tx, network_id: str) -> None:
    tx.execute(update(network).where(network.c.id != network_id).values(is_default=False))


def update_network(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    network_id = current["id"]
    columns = {DIRECT[name]: value for name, value in changes.items() if name in DIRECT}
    if "qos_policy_id" in changes:
        kind, wanted = qos_binding.NotSupportedByNetwork, changes["qos_policy_id"]
        columns["qos_policy_id"] = qos_binding.changed(tx, context, kind, current, wanted)
    if "mtu" in changes:
        columns["mtu"] = _checked_mtu(tx, context, network_id, changes["mtu"])
    if "shared" in changes and changes["shared"] != shared_with_all(tx, network_id):
        _set_shared(tx, current, changes["shared"])
    if "router:external" in changes and changes["router:external"] != current["router:external"]:
        columns["external"] = changes["router:external"]
        _set_external(tx, current, changes["router:external"])
    _refuse_other_segment(current, changes)
    if changes.get("is_default"):
        _only_default(tx, network_id)
    change(tx, network, network_id, columns)
    tx.touch("network", network_id)


def _refuse_other_segment(current: Values, changes: Values) -> None:
    asked = {name: value for name, value in changes.items() if name.startswith("provider:")}
    if any(current.get(name) != value for name, value in asked.items()):
        raise faults.InvalidInput(reason="Plugin does not support updating provider attributes")


LEAST_MTU = {4: 68, 6: 1280}


def check_least_mtu(network_id: str, mtu: int, version: int) -> None:
    """The smallest packets that each IP version must be able to send have to fit."""
    if mtu < LEAST_MTU[version]:
        raise faults.NetworkMTUSubnetConflict(
            mtu=mtu, id=network_id, least=LEAST_MTU[version], version=version
        )


def _checked_mtu(tx: Tx, context: Context, network_id: str, mtu: int) -> int:
    row = tx.first(select(network_segment).where(network_segment.c.network_id == network_id))
    assert row is not None
    segment = segment_allocation.Segment(row.network_type, row.physical_network, row.segmentation_id)
    greatest = segment_allocation.mtu_of(context.settings, segment)
    if mtu > greatest:
        raise faults.InvalidInput(reason=f"Requested MTU is too big, maximum is {greatest}")
    versions = {
        row.ip_version
        for row in tx.all(select(subnet.c.ip_version).where(subnet.c.network_id == network_id).distinct())
    }
    for version in versions if mtu else ():
        check_least_mtu(network_id, mtu, version)
    return mtu or greatest


def shared_with_all(tx: Tx, network_id: str) -> bool:
    return tx.first(_wildcard(network_id, rbac.SHARED)) is not None


def _wildcard(network_id: str, action: str):  # type: ignore[no-untyped-def]
    return select(rbac_policy.c.id).where(
        rbac_policy.c.object_type == "network",
        rbac_policy.c.object_id == network_id,
        rbac_policy.c.action == action,
        rbac_policy.c.target_project == "*",
    )


def _set_shared(tx: Tx, current: Values, wanted: bool) -> None:
    if wanted:
        rbac.grant(tx, current["project_id"], "network", current["id"])
        return
    refuse_if_used_by_others(tx, current["id"], current["name"], current["project_id"])
    tx.execute(delete(rbac_policy).where(rbac_policy.c.id.in_(_wildcard(current["id"], rbac.SHARED))))


def refuse_if_used_by_others(tx: Tx, network_id: str, name: str, owner: str, only: str | None = None) -> None:
    """A network cannot be taken away from projects that have ports on it, unless it is shared with them otherwise."""
    table = rbac_policy
    still = select(table.c.target_project).where(
        table.c.object_id == network_id,
        table.c.action == rbac.SHARED,
        table.c.target_project != (only or "*"),
    )
    query = select(port.c.project_id).where(
        port.c.network_id == network_id,
        port.c.project_id.notin_(["", owner]),
        port.c.project_id.notin_(still),
        ~port.c.device_owner.like("network:%"),
    )
    if only is not None:
        query = query.where(port.c.project_id == only)
    if tx.first(query.limit(1)) is not None:
        raise faults.InvalidSharedSetting(network=name)


def _set_external(tx: Tx, current: Values, wanted: bool) -> None:
    if wanted:
        rbac.grant(tx, current["project_id"], "network", current["id"], rbac.EXTERNAL)
        return
    used = port.c.device_owner.in_(["network:router_gateway", "network:floatingip"])
    if tx.first(select(port.c.id).where(port.c.network_id == current["id"], used).limit(1)):
        raise faults.ExternalNetworkInUse(id=current["id"])
    tx.execute(
        delete(rbac_policy).where(
            rbac_policy.c.object_id == current["id"], rbac_policy.c.action == rbac.EXTERNAL
        )
    )


def delete_network(tx: Tx, context: Context, current: Values) -> None:
    """Gone with its subnets, and with the ports that the service itself made on it."""
    from virga.services.network import floating_ip
    from virga.services.network.port import remove
    from virga.services.network.subnet import remove_row

    network_id = current["id"]
    floating_ip.remove_unused(tx, context, network_id)
    ports = tx.all(select(port.c.id, port.c.device_owner).where(port.c.network_id == network_id))
    in_use = [row.id for row in ports if row.device_owner not in AUTO_DELETE_OWNERS]
    if in_use:
        raise faults.NetworkInUse(id=network_id, ports=", ".join(sorted(in_use)))
    for row in ports:
        remove(tx, row.id)
    for row in tx.all(select(subnet.c.id).where(subnet.c.network_id == network_id)):
        remove_row(tx, row.id)
    tx.execute(delete(rbac_policy).where(rbac_policy.c.object_id == network_id))
    tx.execute(delete(network).where(network.c.id == network_id))
    tx.touch("network", network_id)


# --- filters


def _external_filter(context: Context, values: list[str]) -> ColumnElement[bool]:
    return equals(network.c.external, values)


def _by_segment(column: ColumnElement[Any]) -> Filter:
    def condition(context: Context, values: list[str]) -> ColumnElement[bool]:
        return network.c.id.in_(select(network_segment.c.network_id).where(equals(column, values)))

    return condition


def _by_scope(version: int) -> Filter:
    def condition(context: Context, values: list[str]) -> ColumnElement[bool]:
        joined = (
            select(subnet.c.network_id)
            .join(subnetpool, subnetpool.c.id == subnet.c.subnetpool_id)
            .join(address_scope, address_scope.c.id == subnetpool.c.address_scope_id)
            .where(address_scope.c.ip_version == version)
        )
        found = [network.c.id.in_(joined.where(address_scope.c.id.in_([v for v in values if v])))]
        if any(not value or value == "None" for value in values):
            found.append(network.c.id.notin_(joined))
        return or_(*found)

    return condition


def exists(tx: Tx, context: Context, network_id: str) -> Row[Any]:
    """The row, if the caller may see the network; NetworkNotFound otherwise."""
    row = RESOURCE.row(tx, context, network_id)
    if row is None:
        raise faults.NetworkNotFound(id=network_id)
    return row


def changed(tx: Tx, network_id: str) -> None:
    bump(tx, network, network_id)


RESOURCE = Resource(
    name="network",
    collection="networks",
    table=network,
    attributes=NETWORK,
    not_found=lambda network_id: faults.NetworkNotFound(id=network_id),
    render=render,
    create=create,
    update=update_network,
    delete=delete_network,
    scope=rbac.visible("network", network),
    filters={
        "shared": rbac.shared_filter("network", network),
        "router:external": _external_filter,
        "provider:network_type": _by_segment(network_segment.c.network_type),
        "provider:physical_network": _by_segment(network_segment.c.physical_network),
        "provider:segmentation_id": _by_segment(network_segment.c.segmentation_id),
        "ipv4_address_scope": _by_scope(4),
        "ipv6_address_scope": _by_scope(6),
    },
    quota="network",
    has_tags=True,
    tag_table=tag,
    changed=changed,
)
