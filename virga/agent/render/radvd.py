"""radvd.conf of a router: which interfaces announce which prefixes, and how addresses are to be had there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from virga.contract.items import Router, RouterPort, RouterSubnet

STATEFUL, STATELESS, SLAAC = "dhcpv6-stateful", "dhcpv6-stateless", "slaac"
MODES = (STATEFUL, STATELESS, SLAAC)


def render(router: Router) -> str:
    """Empty when no interface advertises, and so no radvd is needed."""
    return "".join(
        _interface(port, advertised) for port in router.interfaces if (advertised := _advertised(port))
    )


def _advertised(port: RouterPort) -> list[RouterSubnet]:
    return [s for s in port.subnets if s.ipv6_ra_mode in MODES]


def _interface(port: RouterPort, subnets: list[RouterSubnet]) -> str:
    modes = {subnet.ipv6_ra_mode for subnet in subnets}
    lines = [
        "AdvSendAdvert on;",
        "MinRtrAdvInterval 30;",
        "MaxRtrAdvInterval 100;",
        # Guests that boot ask; this keeps the answer to each of them prompt.
        "MinDelayBetweenRAs 3;",
        f"AdvLinkMTU {port.mtu};",
    ]
    if port.mac_address:
        # Not by the metadata address, which is link-local too and the same on every router.
        lines.append(f"AdvRASrcAddress {{ {link_local(port.mac_address)}; }};")
    if STATEFUL in modes:
        lines.append("AdvManagedFlag on;")
    if modes & {STATEFUL, STATELESS}:
        lines.append("AdvOtherConfigFlag on;")
    lines += _name_servers(subnets)
    for subnet in sorted(subnets, key=lambda s: s.cidr):
        lines += _prefix(subnet)
    body = "".join(f"    {line}\n" for line in lines)
    return f"interface {port.device_name}\n{{\n{body}}};\n"


def link_local(mac: str) -> str:
    """The address that the kernel derives from the MAC (EUI-64)."""
    first, *rest = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([first ^ 2, *rest[:2], 0xFF, 0xFE, *rest[2:]])
    return str(ipaddress.IPv6Address(bytes.fromhex("fe80000000000000") + identifier))


def _name_servers(subnets: Iterable[RouterSubnet]) -> list[str]:
    """At most three to an option, as the resolver of guests takes."""
    servers: list[str] = []
    for subnet in subnets:
        for server in subnet.dns_nameservers:
            if ":" in server and server != "::" and server not in servers:
                servers.append(server)
    return [f"RDNSS {' '.join(servers[:3])} {{}};"] if servers else []


def _prefix(subnet: RouterSubnet) -> list[str]:
    autonomous = "off" if subnet.ipv6_ra_mode == STATEFUL else "on"
    prefix = ipaddress.ip_network(subnet.cidr)
    return [
        f"prefix {prefix}",
        "{",
        "    AdvOnLink on;",
        f"    AdvAutonomous {autonomous};",
        "};",
    ]
