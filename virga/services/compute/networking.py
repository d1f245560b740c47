"""What Compute asks of Network: ports of servers, their addresses and groups; made, bound, given back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import select

from virga.api.policy import Policy
from virga.api.request import Caller
from virga.api.resource import Context
from virga.db.tx import Tx
from virga.db.within import within
from virga.services.compute.models import server, server_port
from virga.services.network import port_resource
from virga.services.network.models import ip_allocation, network, port
from virga.services.network.models_l3 import floating_ip, port_security_group, security_group
from virga.services.network.policies import POLICIES
from virga.settings import Settings

_PORTS = (
    select(
        port.c.id,
        server_port.c.server_id,
        port.c.network_id,
        port.c.mac_address,
        port.c.status,
        port.c.vif_type,
        network.c.name.label("network_name"),
        network.c.mtu,
        server_port.c.tag,
    )
    .join(network, network.c.id == port.c.network_id)
    .join(server_port, server_port.c.port_id == port.c.id)
    .where(within(server_port.c.server_id))
    .order_by(server_port.c.number)
)
_ADDRESSES = (
    select(ip_allocation.c.port_id, ip_allocation.c.subnet_id, ip_allocation.c.ip_address)
    .join(server_port, server_port.c.port_id == ip_allocation.c.port_id)
    .where(within(server_port.c.server_id))
    .order_by(ip_allocation.c.position)
)
_GROUPS = (
    select(port_security_group.c.port_id, security_group.c.id, security_group.c.name)
    .join(security_group, security_group.c.id == port_security_group.c.security_group_id)
    .join(server_port, server_port.c.port_id == port_security_group.c.port_id)
    .where(within(server_port.c.server_id))
)
_FLOATING = (
    select(floating_ip.c.port_id, floating_ip.c.fixed_ip_address, floating_ip.c.floating_ip_address)
    .join(server_port, server_port.c.port_id == floating_ip.c.port_id)
    .where(within(server_port.c.server_id))
)


@dataclass(slots=True)
class Fixed:
    """An address of a port, and the floating ones that lead to it."""

    subnet_id: str
    ip_address: str
    floating_ips: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Vif:
    """A port of a server, as its views need it."""

    port_id: str
    network_id: str
    network_name: str
    mac_address: str
    status: str
    mtu: int
    vif_type: str
    tag: str | None = None
    fixed_ips: list[Fixed] = field(default_factory=list)
    security_groups: dict[str, str] = field(default_factory=dict)
    """Id to name."""


_SERVICE = Caller(roles=frozenset({"admin"}))


@cache
def _policy() -> Policy:
    return Policy(POLICIES)


def service_context() -> Context:
    """Compute acting for itself."""
    return Context(_SERVICE, _policy(), Settings(), is_admin=True)


def caller_context(caller: Caller) -> Context:
    """Compute asking on behalf of a caller."""
    return Context(caller, _policy(), Settings(), is_admin=caller.is_admin)


def vifs_of(tx: Tx, server_ids: Sequence[str]) -> dict[str, list[Vif]]:
    """Ports of servers in the order in which they were attached: four statements for any number of servers."""
    found: dict[str, list[Vif]] = {}
    ids = {"ids": list(server_ids)}
    by_port: dict[str, Vif] = {}
    for port_id, server_id, network_id, mac, status, kind, name, mtu, tag in tx.all(_PORTS, ids):
        vif = Vif(port_id, network_id, name, mac, status, mtu, kind, tag)
        by_port[port_id] = vif
        found.setdefault(server_id, []).append(vif)
    if not by_port:
        return found
    floating: dict[tuple[str, str], list[str]] = {}
    for port_id, fixed, outside in tx.all(_FLOATING, ids):
        floating.setdefault((port_id, fixed), []).append(outside)
    for port_id, subnet_id, address in tx.all(_ADDRESSES, ids):
        by_port[port_id].fixed_ips.append(Fixed(subnet_id, address, floating.get((port_id, address), [])))
    for port_id, group_id, name in tx.all(_GROUPS, ids):
        by_port[port_id].security_groups[group_id] = name
    return found


def servers_with_address(tx: Tx, pattern: str, version: int) -> list[str]:
    """Servers one of whose fixed addresses matches the regular expression."""
    expression = re.compile(pattern)
    rows = tx.all(
        select(server_port.c.server_id, ip_allocation.c.ip_address)
        .join(server_port, server_port.c.port_id == ip_allocation.c.port_id)
        .join(server, server.c.id == server_port.c.server_id)
        .where(server.c.deleted.is_(False))
    )
    return sorted(
        {
            row.server_id
            for row in rows
            if (":" in row.ip_address) == (version == 6) and expression.search(row.ip_address)
        }
    )


def nics_of(tx: Tx, server_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The network cards of servers, as the contract's Nic has them."""
    return {
        server_id: [
            {
                "port_id": vif.port_id,
                "network_id": vif.network_id,
                "mac_address": vif.mac_address,
                "tap": f"tap{vif.port_id[:11]}",
                "mtu": vif.mtu,
            }
            for vif in vifs
        ]
        for server_id, vifs in vifs_of(tx, server_ids).items()
    }


def find_port(tx: Tx, context: Context, port_id: str) -> dict[str, Any]:
    """The port as Network renders it; its own 404 otherwise."""
    return port_resource.RESOURCE.find(tx, context, port_id)
