"""``network_data.json``: the links, addresses and name servers of a guest."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from virga.db.tx import Tx
from virga.services.compute.networking import Vif
from virga.services.network.models import subnet


def network_data(tx: Tx, vifs: Sequence[Vif]) -> dict[str, Any]:
    """Everything a guest needs to set up its network without DHCP."""
    ids = {fixed.subnet_id for vif in vifs for fixed in vif.fixed_ips}
    subnets = {row.id: row for row in tx.all(select(subnet).where(subnet.c.id.in_(ids)))}
    links: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    servers: dict[tuple[str, str], None] = {}
    for vif in vifs:
        tap = f"tap{vif.port_id[:11]}"
        links.append(
            {
                "id": tap,
                "vif_id": vif.port_id,
                "type": "ovs",
                "mtu": vif.mtu,
                "ethernet_mac_address": vif.mac_address,
            }
        )
        for fixed in vif.fixed_ips:
            row = subnets[fixed.subnet_id]
            networks.append(_network(f"network{len(networks)}", tap, vif.network_id, fixed.ip_address, row))
            servers |= dict.fromkeys(("dns", address) for address in row.dns_nameservers)
    services = [{"type": kind, "address": address} for kind, address in servers]
    return {"links": links, "networks": networks, "services": services}


def _network(ident: str, link: str, network_id: str, address: str, row: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"id": ident, "type": _type(row), "link": link, "network_id": network_id}
    if found["type"].endswith("dhcp"):
        return found
    net = ipaddress.ip_network(row.cidr)
    routes = [
        {"network": str(n.network_address), "netmask": str(n.netmask), "gateway": r["nexthop"]}
        for r in row.host_routes
        for n in [ipaddress.ip_network(r["destination"], strict=False)]
    ]
    if row.gateway_ip:
        any_address = "0.0.0.0" if row.ip_version == 4 else "::"
        routes.insert(0, {"network": any_address, "netmask": any_address, "gateway": row.gateway_ip})
    services = [{"type": "dns", "address": a} for a in row.dns_nameservers]
    return found | {
        "ip_address": address,
        "netmask": str(net.netmask),
        "routes": routes,
        "services": services,
    }


def _type(row: Any) -> str:
    if row.ip_version == 4:
        return "ipv4_dhcp" if row.enable_dhcp else "ipv4"
    mode = row.ipv6_address_mode
    return {
        "slaac": "ipv6_slaac",
        "dhcpv6-stateful": "ipv6_dhcpv6-stateful",
        "dhcpv6-stateless": "ipv6_dhcpv6-stateless",
    }.get(mode or "", "ipv6_dhcp" if row.enable_dhcp and mode is None else "ipv6")
