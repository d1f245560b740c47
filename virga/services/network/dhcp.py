"""DHCP of a network: on which hosts it is served, and the port that it has there."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.engine import Row

from virga.api.resource import Context
from virga.db.tx import Tx
from virga.services.network import binding, ipam
from virga.services.network.models import ip_allocation, network, port, port_dhcp_binding, subnet

OWNER = "network:dhcp"


def subnet_changed(tx: Tx, context: Context, network_id: str) -> None:
    """Make the DHCP ports of the network what its subnets ask for."""
    context = context.elevated()
    served = tx.all(select(subnet).where(subnet.c.network_id == network_id, subnet.c.enable_dhcp.is_(True)))
    if not served:
        for row in _ports(tx, network_id):
            _remove_port(tx, row.id)
        return
    for host in hosts(tx, network_id) or schedule(tx, context, network_id):
        ensure_port(tx, context, network_id, host, served)


def hosts(tx: Tx, network_id: str) -> list[str]:
    rows = tx.all(select(port_dhcp_binding.c.host).where(port_dhcp_binding.c.network_id == network_id))
    return [row.host for row in rows]


def schedule(tx: Tx, context: Context, network_id: str) -> list[str]:
    """Choose the host with the fewest networks; nothing when no DHCP agent is up."""
    counted = tx.all(
        select(port_dhcp_binding.c.host, func.count().label("n")).group_by(port_dhcp_binding.c.host)
    )
    host = binding.pick_agent(tx, context, binding.DHCP_AGENT, Counter({row.host: row.n for row in counted}))
    if host is None:
        return []
    tx.execute(insert(port_dhcp_binding).values(network_id=network_id, host=host))
    return [host]


def schedule_waiting(tx: Tx, context: Context) -> None:
    """Networks that found no agent when they wanted DHCP, once there is one."""
    bound = select(port_dhcp_binding.c.network_id)
    waiting = tx.all(
        select(subnet.c.network_id)
        .where(subnet.c.enable_dhcp.is_(True), subnet.c.network_id.notin_(bound))
        .distinct()
    )
    for row in waiting:
        subnet_changed(tx, context, row.network_id)


def add_host(tx: Tx, context: Context, network_id: str, host: str) -> None:
    """Serve the network from one more host."""
    tx.execute(insert(port_dhcp_binding).values(network_id=network_id, host=host))
    subnet_changed(tx, context, network_id)


def remove_host(tx: Tx, network_id: str, host: str) -> None:
    table = port_dhcp_binding
    tx.execute(delete(table).where(table.c.network_id == network_id, table.c.host == host))
    for row in _ports(tx, network_id):
        if row.host_id == host:
            _remove_port(tx, row.id)


def _ports(tx: Tx, network_id: str) -> Sequence[Row[Any]]:
    return tx.all(select(port).where(port.c.network_id == network_id, port.c.device_owner == OWNER))


def _remove_port(tx: Tx, port_id: str) -> None:
    from virga.services.network import port_users
    from virga.services.network.port import remove

    port_users.refuse_trunk(tx, port_id)
    remove(tx, port_id)


def ensure_port(tx: Tx, context: Context, network_id: str, host: str, served: Sequence[Row[Any]]) -> None:
    """One port for DHCP on this host, with one address in each subnet that is served."""
    from virga.services.network import port as ports

    device_id = binding.dhcp_device_id(host, network_id)
    existing = next((row for row in _ports(tx, network_id) if row.device_id == device_id), None)
    if existing is None:
        owner = tx.scalar(select(network.c.project_id).where(network.c.id == network_id))
        mac = ports.new_mac(tx, network_id)
        wanted = [item for s in served if (item := _address(tx, s, mac)) is not None]
        ports.create_internal(
            tx, context, network_id, owner, OWNER, device_id, wanted, host=host, mac_address=mac
        )
        return
    held = {
        row.subnet_id
        for row in tx.all(select(ip_allocation.c.subnet_id).where(ip_allocation.c.port_id == existing.id))
    }
    wanted_ids = {s.id for s in served}
    for subnet_id in held - wanted_ids:
        ports.drop_subnet(tx, existing.id, subnet_id)
    added = [
        item
        for s in served
        if s.id not in held and (item := _address(tx, s, existing.mac_address)) is not None
    ]
    if added:
        ports.add_addresses(tx, existing.id, added)


def _address(tx: Tx, row: Row[Any], mac: str) -> ipam.Fixed | None:
    if ipam.is_auto(row):
        return ipam.fixed(row, ipam.eui64(ipaddress.ip_network(row.cidr), mac))
    return ipam.next_free(tx, row)
