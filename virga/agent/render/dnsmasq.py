"""The command line and the three files of one network's dnsmasq, as OpenStack's DHCP agent writes them.

    host        one line an address:  MAC,name.domain,address[,set:port]
    opts        one line an option of a subnet (tag:subnet-…) or of a port (tag:<port>)
    addn_hosts  one line an address:  address<TAB>name.domain name

A change in the files needs a SIGHUP; a change of the command line (subnets, MTU) needs a new process.
Values that tenants chose stand in these files, so nothing that could start another line or field gets in.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from virga.contract.items import DhcpHost, DhcpNetwork, DhcpSubnet, FixedIp

METADATA_CIDR = "169.254.169.254/32"
LEASE_MAX = 16777216
STATEFUL, STATELESS, SLAAC = "dhcpv6-stateful", "dhcpv6-stateless", "slaac"
CLIENT_ID = "client-id"


@dataclass(frozen=True, slots=True)
class DnsmasqFiles:
    argv: tuple[str, ...]
    host: str
    opts: str
    addn_hosts: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a dnsmasq keeps its files, and what the host decides for all of them."""

    directory: str
    servers: tuple[str, ...] = ()
    """DNS servers to forward to; without any, only names of the network are known."""
    user: str = ""


@dataclass(frozen=True, slots=True)
class HostLines:
    """What one port adds to each file."""

    host: str
    opts: str
    addn_hosts: str


def host_lines(network: DhcpNetwork, host: DhcpHost) -> HostLines:
    return HostLines(
        host=host_file(network, [host]),
        opts=_text(_port_options(host)) if host.leases else "",
        addn_hosts=addn_hosts_file(network, [host]),
    )


def render(network: DhcpNetwork, hosts: Iterable[DhcpHost], place: Place) -> DnsmasqFiles:
    ordered = sorted(hosts, key=lambda host: host.key)
    return assembled(network, [host_lines(network, host) for host in ordered], place)


def assembled(network: DhcpNetwork, lines: Iterable[HostLines], place: Place) -> DnsmasqFiles:
    ordered = list(lines)
    return DnsmasqFiles(
        argv=command_line(network, place),
        host="".join([each.host for each in ordered]),
        opts=opts_file(network) + "".join([each.opts for each in ordered]),
        addn_hosts="".join([each.addn_hosts for each in ordered]),
    )


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def serves(network: DhcpNetwork) -> bool:
    """Whether the network needs a dnsmasq at all."""
    return any(subnet.enable_dhcp for subnet in network.subnets)


def command_line(network: DhcpNetwork, place: Place) -> tuple[str, ...]:
    ranges = [r for r in (_range(s, network.lease_seconds) for s in _subnets(network)) if r]
    leases = sum(ipaddress.ip_network(s.cidr).num_addresses for s in _subnets(network))
    at = place.directory
    return (
        "dnsmasq",
        "--no-hosts",
        "--no-resolv",
        f"--pid-file={at}/pid",
        f"--dhcp-hostsfile={at}/host",
        f"--addn-hosts={at}/addn_hosts",
        f"--dhcp-optsfile={at}/opts",
        f"--dhcp-leasefile={at}/leases",
        "--dhcp-match=set:ipxe,175",
        "--dhcp-userclass=set:ipxe6,iPXE",
        "--local-service",
        "--bind-dynamic",
        *(f"--dhcp-range={text}" for text in ranges),
        f"--dhcp-option-force=option:mtu,{network.mtu}",
        f"--dhcp-lease-max={min(leases, LEASE_MAX)}",
        "--conf-file=/dev/null",
        *(f"--server={server}" for server in place.servers),
        *_domain(network.dns_domain),
        *([f"--user={place.user}"] if place.user else []),
    )


def _domain(domain: str) -> tuple[str, ...]:
    """``local`` makes "no IPv6 address" an answer; else it is a refusal, which some resolvers take for the whole."""
    return (f"--domain={domain}", f"--local=/{domain.strip('.')}/") if domain else ()


def _subnets(network: DhcpNetwork) -> list[DhcpSubnet]:
    return sorted((s for s in network.subnets if s.enable_dhcp), key=lambda s: s.subnet_id)


def _range(subnet: DhcpSubnet, lease_seconds: int) -> str:
    """Only addresses of the host file are given out (``static``); SLAAC needs no range."""
    cidr = ipaddress.ip_network(subnet.cidr)
    lease = "infinite" if lease_seconds < 0 else f"{lease_seconds}s"
    start = f"set:{_tag(subnet)},{cidr.network_address},static"
    if isinstance(cidr, ipaddress.IPv4Network):
        return f"{start},{cidr.netmask},{lease}"
    unmanaged = subnet.ipv6_address_mode is None and subnet.ipv6_ra_mode is None
    if cidr.prefixlen < 64 or not (subnet.ipv6_address_mode in (STATEFUL, STATELESS) or unmanaged):
        return ""
    return f"{start},{cidr.prefixlen},{lease}"


def _tag(subnet: DhcpSubnet) -> str:
    return f"subnet-{subnet.subnet_id}"


# -- host file and names ----------------------------------------------------------------------------


def host_file(network: DhcpNetwork, hosts: Sequence[DhcpHost]) -> str:
    by_id = {subnet.subnet_id: subnet for subnet in network.subnets}
    return _text(line for host in hosts if host.leases for line in _host_lines(network, by_id, host))


def _host_lines(network: DhcpNetwork, by_id: dict[str, DhcpSubnet], host: DhcpHost) -> Iterator[str]:
    options = _options(host)
    mark = f"set:{host.key}"
    by_options_only = False
    for fixed in host.fixed_ips:
        subnet = by_id.get(fixed.subnet_id)
        if subnet is None or not subnet.enable_dhcp:
            continue
        if subnet.ip_version == 6 and subnet.ipv6_address_mode in (SLAAC, STATELESS):
            by_options_only = by_options_only or bool(options)
            continue
        tag = ["tag:dhcpv6"] if subnet.ip_version == 6 else []
        address = f"[{fixed.ip_address}]" if subnet.ip_version == 6 else fixed.ip_address
        client = [f"id:{value}" for name, value in options if name == CLIENT_ID]
        settings = [mark] if any(name != CLIENT_ID for name, _ in options) else []
        name = fqdn(network, host, fixed)
        yield ",".join([host.mac_address, *tag, *client, name, address, *settings])
    if by_options_only:
        yield f"{host.mac_address},tag:dhcpv6,{mark}"


def host_name(host: DhcpHost, fixed: FixedIp) -> str:
    """The port's own name, or one made of the address as OpenStack does."""
    given = re.sub(r"[^A-Za-z0-9.-]", "", host.hostname).strip(".")
    if given:
        return given
    return "host-" + ipaddress.ip_address(fixed.ip_address).exploded.replace(".", "-").replace(":", "-")


def fqdn(network: DhcpNetwork, host: DhcpHost, fixed: FixedIp) -> str:
    name = host_name(host, fixed)
    domain = network.dns_domain.strip(".")
    return f"{name}.{domain}" if domain and not name.endswith("." + domain) else name


def addn_hosts_file(network: DhcpNetwork, hosts: Sequence[DhcpHost]) -> str:
    lines = []
    for host in hosts:
        for fixed in host.fixed_ips:
            full = fqdn(network, host, fixed)
            short = full.removesuffix("." + network.dns_domain.strip("."))
            names = full if full == short else f"{full} {short}"
            lines.append(f"{fixed.ip_address}\t{names}\n")
    return "".join(lines)


def _options(host: DhcpHost) -> list[tuple[str, str]]:
    return [(o.name, o.value) for o in host.options if _harmless(o.name, o.value)]


def _harmless(name: str, value: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9-]+", name) is not None and value.isprintable()


# -- options ----------------------------------------------------------------------------------------


def opts_file(network: DhcpNetwork, hosts: Sequence[DhcpHost] = ()) -> str:
    of_subnets = _text(line for subnet in _subnets(network) for line in _subnet_options(network, subnet))
    return of_subnets + _text(line for host in hosts if host.leases for line in _port_options(host))


def _subnet_options(network: DhcpNetwork, subnet: DhcpSubnet) -> Iterator[str]:
    if subnet.ip_version == 6:
        if subnet.ipv6_address_mode == SLAAC:
            return
        tag = f"tag:{_tag(subnet)},option6:"
        yield from (f"{tag}dns-server,{s}" if s else f"{tag}dns-server" for s in _name_servers(subnet))
        if network.dns_domain:
            yield f"{tag}domain-search,{network.dns_domain}"
        return
    tag = f"tag:{_tag(subnet)},"
    yield from (
        f"{tag}option:dns-server,{s}" if s else f"{tag}option:dns-server" for s in _name_servers(subnet)
    )
    gateway = subnet.gateway_ip
    routes, default = _routes(network, subnet)
    gateway = gateway or default
    if routes:
        routes += [f"0.0.0.0/0,{gateway}"] if gateway else []
        yield f"{tag}option:classless-static-route,{','.join(routes)}"
        yield f"{tag}249,{','.join(routes)}"
    yield f"{tag}option:router,{gateway}" if gateway else f"{tag}option:router"


def _name_servers(subnet: DhcpSubnet) -> list[str]:
    """None: dnsmasq names itself. An empty string: none shall be named (0.0.0.0 or ::)."""
    if not subnet.dns_nameservers:
        return []
    if subnet.dns_nameservers in (["0.0.0.0"], ["::"]):
        return [""]
    same = [s for s in subnet.dns_nameservers if (":" in s) == (subnet.ip_version == 6)]
    return [",".join(f"[{s}]" if ":" in s else s for s in same)] if same else []


def _routes(network: DhcpNetwork, subnet: DhcpSubnet) -> tuple[list[str], str]:
    """Static routes of an IPv4 subnet (neighbours on the link, its own, metadata), and a default among them."""
    default = ""
    own: list[str] = []
    for route in subnet.host_routes:
        if route.destination == "0.0.0.0/0":
            default = default or route.nexthop
        else:
            own.append(f"{route.destination},{route.nexthop}")
    metadata = _metadata_next_hop(network, subnet)
    if metadata and not any(text.startswith(METADATA_CIDR) for text in own):
        own.append(f"{METADATA_CIDR},{metadata}")
    named = {route.destination for route in subnet.host_routes}
    neighbours = [
        f"{other.cidr},0.0.0.0"
        for other in sorted(network.subnets, key=lambda s: s.cidr)
        if other.ip_version == 4 and other.subnet_id != subnet.subnet_id and other.cidr not in named
    ]
    return [*neighbours, *own], default


def _metadata_next_hop(network: DhcpNetwork, subnet: DhcpSubnet) -> str:
    if not subnet.metadata_route:
        return subnet.gateway_ip or ""
    return next((f.ip_address for f in network.fixed_ips if f.subnet_id == subnet.subnet_id), "")


def _port_options(host: DhcpHost) -> Iterator[str]:
    versions = {6 if ":" in fixed.ip_address else 4 for fixed in host.fixed_ips}
    for option in host.options:
        if option.name == CLIENT_ID or option.ip_version not in versions:
            continue
        if not _harmless(option.name, option.value):
            continue
        if option.ip_version == 6:
            name = f"option6:{option.name}"
        else:
            name = option.name if option.name.isdigit() else f"option:{option.name}"
        yield f"tag:{host.key},{name},{option.value}"
