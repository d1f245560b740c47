"""Which router leads from an external network to an address inside."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Row

from virga.db.tx import Tx
from virga.services.network import faults
from virga.services.network.models import ip_allocation, port, subnet
from virga.services.network.models_l3 import router, router_interface

ExternalGatewayForFloatingIPNotFound = faults.refusal(
    "ExternalGatewayForFloatingIPNotFound",
    404,
    "External network {net_id} is not reachable from subnet {subnet_id}.  Therefore, cannot associate Port {port_id} "
    "with a Floating IP.",
)

RouterNotOnTheWay = faults.refusal(
    "RouterNotOnFloatingNetwork",
    409,
    "Router {router_id} does not lead from external network {net_id} to port {port_id}.",
)


def router_for(tx: Tx, fixed: Row[Any], port_id: str, external_id: str, wanted: str | None = None) -> str:
    """The router whose gateway is on the external network and that stands in the subnet of the address.

    Of several the one that holds the subnet's gateway address, for that is where replies go.
    """
    rows = tx.all(
        select(router_interface.c.router_id, ip_allocation.c.ip_address, subnet.c.gateway_ip)
        .join(router, router.c.id == router_interface.c.router_id)
        .join(port, (port.c.device_id == router.c.id) & (port.c.device_owner == "network:router_gateway"))
        .join(subnet, subnet.c.id == router_interface.c.subnet_id)
        .join(
            ip_allocation,
            (ip_allocation.c.port_id == router_interface.c.port_id)
            & (ip_allocation.c.subnet_id == router_interface.c.subnet_id),
        )
        .where(router_interface.c.subnet_id == fixed.subnet_id, port.c.network_id == external_id)
        .order_by(router_interface.c.router_id)
    )
    if wanted is not None:
        rows = [row for row in rows if row.router_id == wanted]
        if not rows and not _routes_to(tx, wanted, external_id, fixed.ip_address):
            raise RouterNotOnTheWay(router_id=wanted, net_id=external_id, port_id=port_id)
        if not rows:
            return wanted
    chosen = next((row for row in rows if row.ip_address == row.gateway_ip), rows[0] if rows else None)
    if chosen is None:
        raise ExternalGatewayForFloatingIPNotFound(
            net_id=external_id, subnet_id=fixed.subnet_id, port_id=port_id
        )
    return str(chosen.router_id)


def _routes_to(tx: Tx, router_id: str, external_id: str, address: str) -> bool:
    """The router stands on the external network and has a route to the address, by another router."""
    outside = select(port.c.id).where(
        port.c.device_id == router_id,
        port.c.device_owner == "network:router_gateway",
        port.c.network_id == external_id,
    )
    if tx.first(outside) is None:
        return False
    routes = tx.scalar(select(router.c.routes).where(router.c.id == router_id)) or []
    here = ip_address(address)
    nets = [ip_network(route["destination"], strict=False) for route in routes]
    return any(net.prefixlen and net.version == here.version and here in net for net in nets)
