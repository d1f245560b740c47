"""The way out of a router: its port on an external network, and whether addresses are translated there."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.engine import Row

from virga.api.resource import UNSET, Context, Values, bump
from virga.db.tx import Tx
from virga.services.network import faults, port_addresses
from virga.services.network import network as networks
from virga.services.network import port as ports
from virga.services.network.models import ip_allocation, port, subnet
from virga.services.network.models_l3 import floating_ip, router, router_interface

OWNER = "network:router_gateway"

GatewayInUseByFloatingIp = faults.refusal(
    "RouterExternalGatewayInUseByFloatingIp",
    409,
    "Gateway cannot be updated for router {router_id}, since a gateway to external network {net_id} is required by "
    "one or more floating IPs.",
)


def row_of(tx: Tx, router_id: str) -> Row[Any]:
    row = tx.first(select(router).where(router.c.id == router_id))
    if row is None:
        raise faults.RouterNotFound(id=router_id)
    return row


def set_gateway(tx: Tx, context: Context, router_id: str, info: Values) -> None:
    """Give the router its port outside: the first, if there will be several."""
    values = {
        "gw_port_id": make_port(tx, context, router_id, info),
        "enable_snat": info.get("enable_snat", True),
    }
    tx.execute(update(router).where(router.c.id == router_id).values(**values))
    bump(tx, router, router_id)
    tx.touch("router", router_id)


def make_port(tx: Tx, context: Context, router_id: str, info: Values, several: bool = False) -> str:
    """A gateway port; with ``several`` also on a network where the router has one already."""
    if "network_id" not in info:
        raise faults.BadRequest(resource="router", reason="network_id is required in external_gateway_info")
    row = row_of(tx, router_id)
    net = networks.exists(tx, context, info["network_id"])
    if not net.external:
        raise faults.BadRequest(resource="router", reason=f"Network {net.id} is not an external network")
    subnets = port_addresses.subnets_of(tx, net.id)
    for outside in subnets:
        refuse_overlap(tx, router_id, outside, several)
    wish = info.get("external_fixed_ips") or UNSET
    mac = ports.new_mac(tx, net.id)
    addresses = port_addresses.decide(tx, net.id, wish, OWNER, mac)
    return ports.create_internal(
        tx, context.elevated(), net.id, "", OWNER, router_id, addresses, host=row.host, mac_address=mac
    )


def update_gateway(tx: Tx, context: Context, router_id: str, info: Values | None) -> None:
    """What a PUT of ``external_gateway_info`` means: nothing is none, the same network keeps the port."""
    row = row_of(tx, router_id)
    held = None if row.gw_port_id is None else tx.first(select(port).where(port.c.id == row.gw_port_id))
    if not info:
        clear_gateway(tx, router_id)
        return
    if held is None:
        set_gateway(tx, context, router_id, info)
        return
    if info.get("network_id", held.network_id) != held.network_id:
        clear_gateway(tx, router_id)
        set_gateway(tx, context, router_id, info)
        return
    if info.get("external_fixed_ips"):
        _move_addresses(tx, held, info["external_fixed_ips"])
    tx.execute(
        update(router).where(router.c.id == router_id).values(enable_snat=info.get("enable_snat", True))
    )
    tx.touch("router", router_id)


def _move_addresses(tx: Tx, held: Row[Any], wish: Sequence[Values]) -> None:
    rows = ports.addresses_of(tx, held.id)
    wanted = port_addresses.decide(
        tx, held.network_id, ports.keep(wish, rows), OWNER, held.mac_address, [r.address_key for r in rows]
    )
    if port_addresses.replace(tx, held.id, rows, wanted):
        bump(tx, port, held.id)
        tx.touch("port", held.id)


def clear_gateway(tx: Tx, router_id: str) -> None:
    row = row_of(tx, router_id)
    if row.gw_port_id is None:
        return
    from virga.services.network.router_gateways import next_after

    net_id = tx.scalar(select(port.c.network_id).where(port.c.id == row.gw_port_id))
    needed = select(floating_ip.c.id).where(
        floating_ip.c.router_id == router_id, floating_ip.c.floating_network_id == net_id
    )
    if tx.first(needed.limit(1)) is not None:
        raise GatewayInUseByFloatingIp(router_id=router_id, net_id=net_id)
    following = next_after(tx, router_id, row.gw_port_id)
    snat = row.enable_snat if following else True
    tx.execute(update(router).where(router.c.id == router_id).values(gw_port_id=following, enable_snat=snat))
    ports.remove(tx, row.gw_port_id)
    tx.touch("router", router_id)


def subnets_of_router(tx: Tx, router_id: str) -> Sequence[Row[Any]]:
    """Subnets that the router stands in, inside and outside."""
    return tx.all(
        select(subnet.c.id, subnet.c.cidr)
        .join(ip_allocation, ip_allocation.c.subnet_id == subnet.c.id)
        .join(port, port.c.id == ip_allocation.c.port_id)
        .where(port.c.device_id == router_id, port.c.device_owner.like("network:router%"))
    )


def refuse_overlap(tx: Tx, router_id: str, wanted: Row[Any], several: bool = False) -> None:
    """No two subnets of a router may share addresses."""
    here = ipaddress.ip_network(wanted.cidr)
    for other in subnets_of_router(tx, router_id):
        there = ipaddress.ip_network(other.cidr)
        if other.id == wanted.id and several:
            continue
        if other.id == wanted.id:
            raise faults.BadRequest(
                resource="router", reason=f"Router already has a port on subnet {wanted.id}"
            )
        if there.version == here.version and there.overlaps(here):
            raise faults.BadRequest(
                resource="router",
                reason=f"Cidr {wanted.cidr} of subnet {wanted.id} overlaps with cidr {other.cidr} of subnet {other.id}",
            )


def interface_on(tx: Tx, router_id: str, subnet_id: str) -> str | None:
    """The router's port in a subnet."""
    table = router_interface
    found: str | None = tx.scalar(
        select(table.c.port_id).where(table.c.router_id == router_id, table.c.subnet_id == subnet_id)
    )
    return found
