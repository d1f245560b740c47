"""Ports on the wire: how they are rendered, filtered, and who sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, bindparam, exists, or_, select
from sqlalchemy.engine import Row

from virga.api.resource import Context, Resource, Values, bump
from virga.api.validators import Invalid
from virga.db.tx import Tx
from virga.db.within import within
from virga.services.network import faults, rbac
from virga.services.network.attributes import PORT
from virga.services.network.models import ip_allocation, network, port, tag
from virga.services.network.models_l3 import port_security_group, sub_port, trunk
from virga.services.network.port import create, delete_port, update_port
from virga.services.network.standard import Shape, by_ids, grouped, tags_of

_FIXED = (
    select(ip_allocation.c.port_id, ip_allocation.c.subnet_id, ip_allocation.c.ip_address)
    .where(within(ip_allocation.c.port_id))
    .order_by(ip_allocation.c.port_id, ip_allocation.c.position)
)
_GROUPS = select(port_security_group.c.port_id, port_security_group.c.security_group_id).where(
    within(port_security_group.c.port_id)
)
_OWNER = select(network.c.project_id).where(network.c.id == bindparam("network"))
_NETWORK_POLICIES = select(network.c.id, network.c.qos_policy_id).where(
    within(network.c.id), network.c.qos_policy_id.is_not(None)
)
_TRUNKS = select(trunk.c.port_id, trunk.c.id).where(within(trunk.c.port_id))
_SUBPORTS = (
    select(sub_port, port.c.mac_address)
    .join(port, port.c.id == sub_port.c.port_id)
    .where(within(sub_port.c.trunk_id))
)


_SHAPE = Shape(
    port,
    host_id="binding:host_id",
    vnic_type="binding:vnic_type",
    vif_type="binding:vif_type",
    vif_details="binding:vif_details",
    profile="binding:profile",
)


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    ids = [row.id for row in rows]
    fixed: dict[str, list[Values]] = {}
    for port_id, subnet_id, address in by_ids(tx, _FIXED, ids):
        fixed.setdefault(port_id, []).append({"subnet_id": subnet_id, "ip_address": address})
    groups, tags = grouped(by_ids(tx, _GROUPS, ids)), tags_of(tx, ids)
    trunks = _trunk_details(tx, ids)
    policies = dict(_pairs(tx, {row.network_id for row in rows}))
    domain = context.settings.dns_domain
    items = _SHAPE.items(rows)
    for item in items:
        port_id = item["id"]
        addresses = item["fixed_ips"] = fixed.get(port_id, [])
        item["security_groups"] = groups.get(port_id, [])
        item["dns_assignment"] = dns_assignment(item["dns_name"], addresses, domain)
        item["ip_allocation"] = "immediate"
        item["qos_network_policy_id"] = policies.get(item["network_id"])
        item["tags"] = tags.get(port_id, [])
        if not item["status_reason"]:
            del item["status_reason"]
        if port_id in trunks:
            item["trunk_details"] = trunks[port_id]
    return items


def _pairs(tx: Tx, networks: set[str]) -> list[tuple[str, str]]:
    """Those of the networks that are under a QoS policy, and under which."""
    return [(row.id, row.qos_policy_id) for row in by_ids(tx, _NETWORK_POLICIES, sorted(networks))]


def dns_assignment(dns_name: str, addresses: Sequence[Values], domain: str) -> list[Values]:
    """Each address with the name that the network's DNS gives it."""
    domain = domain.strip(".")
    result = []
    for item in addresses:
        address = item["ip_address"]
        name = dns_name or "host-" + address.replace(".", "-").replace(":", "-")
        if name.endswith("."):
            hostname, fqdn = name.split(".", 1)[0], name
        else:
            hostname, fqdn = name, f"{name}.{domain}."
        result.append({"ip_address": address, "hostname": hostname, "fqdn": fqdn})
    return result


def _trunk_details(tx: Tx, ids: Sequence[str]) -> dict[str, Values]:
    trunks = by_ids(tx, _TRUNKS, ids)
    if not trunks:
        return {}
    subs: dict[str, list[Values]] = {}
    for row in by_ids(tx, _SUBPORTS, [t.id for t in trunks]):
        subs.setdefault(row.trunk_id, []).append(
            {
                "segmentation_id": row.segmentation_id,
                "segmentation_type": row.segmentation_type,
                "port_id": row.port_id,
                "mac_address": row.mac_address,
            }
        )
    return {t.port_id: {"trunk_id": t.id, "sub_ports": subs.get(t.id, [])} for t in trunks}


def target(tx: Tx, context: Context, item: Values) -> Values:
    """Policies ask who owns the network of the port and whether it is shared."""
    row = tx.first(_OWNER, {"network": item.get("network_id")})
    if row is None:
        return {"network:tenant_id": None, "shared": False}
    if row.project_id == context.project_id:
        return {"network:tenant_id": row.project_id, "shared": False}
    return {
        "network:tenant_id": row.project_id,
        "shared": bool(rbac.shared_ids(tx, context, "network", [item["network_id"]])),
    }


def scope(context: Context) -> ColumnElement[bool]:
    """One's own ports, and all ports of one's own networks."""
    own = exists(
        select(1).where(network.c.id == port.c.network_id, network.c.project_id == context.project_id)
    )
    return or_(port.c.project_id == context.project_id, own)


def _fixed_ips_filter(context: Context, values: list[str]) -> ColumnElement[bool]:
    """``fixed_ips=ip_address=A``, ``subnet_id=S``, ``ip_address_substr=T``; of one kind any, of all kinds each."""
    asked: dict[str, list[str]] = {}
    for value in values:
        for part in value.split(","):
            name, separator, text = part.partition("=")
            if not separator or name not in ("ip_address", "subnet_id", "ip_address_substr"):
                raise Invalid(f"'{value}' is not of the form key=value")
            asked.setdefault(name, []).append(text)
    query = select(ip_allocation.c.port_id)
    if "ip_address" in asked:
        query = query.where(ip_allocation.c.ip_address.in_(asked["ip_address"]))
    if "subnet_id" in asked:
        query = query.where(ip_allocation.c.subnet_id.in_(asked["subnet_id"]))
    for text in asked.get("ip_address_substr", ()):
        query = query.where(ip_allocation.c.ip_address.contains(text, autoescape=True))
    return port.c.id.in_(query)


def _groups_filter(context: Context, values: list[str]) -> ColumnElement[bool]:
    return port.c.id.in_(
        select(port_security_group.c.port_id).where(port_security_group.c.security_group_id.in_(values))
    )


RESOURCE = Resource(
    name="port",
    collection="ports",
    table=port,
    attributes=PORT,
    not_found=lambda port_id: faults.PortNotFound(id=port_id),
    render=render,
    create=create,
    update=update_port,
    delete=delete_port,
    scope=scope,
    target=target,
    filters={"fixed_ips": _fixed_ips_filter, "security_groups": _groups_filter},
    quota="port",
    has_tags=True,
    tag_table=tag,
    changed=lambda tx, port_id: bump(tx, port, port_id),
)
