"""Where a port and a router send a packet next, and what a router translates: from the same items that the agents get. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from virga.contract.items import Port, PortForwarding, Router, RouterPort
from virga.trace.model import TCP, UDP, Flight
from virga.trace.world import World

_PROTOCOLS = {"tcp": TCP, "udp": UDP}


def gateways(router: Router) -> list[RouterPort]:
    return [*([router.gateway] if router.gateway else []), *router.extra_gateways]


def ports_of(router: Router) -> list[RouterPort]:
    return [*router.interfaces, *gateways(router)]


# -- hosts of a network --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hop:
    """The next address. ``subnet_id`` is the subnet that says so; ``address`` None: it names no way."""

    address: str | None
    subnet_id: str = ""
    via: str = ""
    """``link``, ``host route`` or ``gateway``."""


def next_hop_of_port(world: World, port: Port, destination: str) -> Hop:
    """As DHCP tells the guest: on link, by a host route of the subnet, or by its gateway."""
    version = ip_address(destination).version
    subnets = [
        world.subnets[fixed.subnet_id]
        for fixed in port.fixed_ips
        if fixed.subnet_id in world.subnets and world.subnets[fixed.subnet_id].ip_version == version
    ]
    for subnet in subnets:
        if ip_address(destination) in ip_network(subnet.cidr):
            return Hop(destination, subnet.id, "link")
    for subnet in subnets:
        routes = [(ip_network(d, strict=False), hop) for d, hop in subnet.host_routes]
        fitting = [(n.prefixlen, hop) for n, hop in routes if ip_address(destination) in n]
        if fitting:
            return Hop(max(fitting)[1], subnet.id, "host route")
    for subnet in subnets:
        if subnet.gateway_ip:
            return Hop(subnet.gateway_ip, subnet.id, "gateway")
    return Hop(None, subnets[0].id if subnets else "")


# -- routers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Route:
    """The route that a router takes: out by ``port``, to ``next_hop``."""

    port: RouterPort
    next_hop: str
    text: str
    is_default: bool = False


def lookup(router: Router, destination: str) -> Route | None:
    """The longest prefix: connected subnets, static routes, and the gateways' defaults."""
    wanted = ip_address(destination)
    found: list[tuple[int, int, Route]] = []
    for port in ports_of(router):
        for subnet in port.subnets:
            network = ip_network(subnet.cidr)
            if network.version == wanted.version and wanted in network:
                route = Route(port, destination, f"{network} on link at {port.device_name}")
                found.append((network.prefixlen, 2, route))
    for static in router.routes:
        network = ip_network(static.destination, strict=False)
        if network.version == wanted.version and wanted in network:
            out = _port_towards(router, static.nexthop)
            if out is not None:
                text = f"{network} via {static.nexthop} at {out.device_name} (a route of the router)"
                found.append((network.prefixlen, 1, Route(out, static.nexthop, text)))
    for port in gateways(router):
        own = {fixed.subnet_id for fixed in port.fixed_ips}
        for subnet in port.subnets:
            hop = subnet.gateway_ip
            if hop and subnet.subnet_id in own and ip_address(hop).version == wanted.version:
                route = Route(port, hop, f"default via {hop} at {port.device_name}", is_default=True)
                found.append((0, 0, route))
    return max(found, key=lambda each: each[:2])[2] if found else None


def _port_towards(router: Router, address: str) -> RouterPort | None:
    for port in ports_of(router):
        for subnet in port.subnets:
            network = ip_network(subnet.cidr)
            if ip_address(address).version == network.version and ip_address(address) in network:
                return port
    return None


def has_address(router: Router, address: str) -> bool:
    return any(fixed.ip_address == address for port in ports_of(router) for fixed in port.fixed_ips)


# -- translation ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Translated:
    """A flight after translation, what was done, and by which floating IP."""

    flight: Flight
    note: str = ""
    floating_ip_id: str = ""


def to_inside(world: World, host: str, router: Router, flight: Flight) -> Translated:
    """Before routing: floating IPs and port forwardings lead inside."""
    if flight.version != 4:
        return Translated(flight)
    for floating in world.floating_ips(host, router.key):
        if floating.floating_ip_address == flight.destination:
            note = f"destination {flight.destination} becomes {floating.fixed_ip_address} (floating IP)"
            return Translated(replace(flight, destination=floating.fixed_ip_address), note, floating.key)
    for forwarding in world.forwardings(host, router.key):
        if port := _forwarded(forwarding, flight):
            inner = forwarding.internal_ip_address
            note = f"destination {flight.destination}:{flight.destination_port} becomes {inner}:{port} (port forwarding)"
            after = replace(flight, destination=inner, destination_port=port)
            return Translated(after, note, forwarding.floatingip_id)
    return Translated(flight)


def _forwarded(forwarding: PortForwarding, flight: Flight) -> int:
    """The inner port, 0 when the forwarding is not about this packet."""
    if forwarding.floating_ip_address != flight.destination:
        return 0
    if _PROTOCOLS.get(forwarding.protocol) != flight.protocol:
        return 0
    low, _, high = forwarding.external_port.partition(":")
    if not int(low) <= flight.destination_port <= int(high or low):
        return 0
    return int(forwarding.internal_port.partition(":")[0]) + flight.destination_port - int(low)


def to_outside(
    world: World,
    host: str,
    router: Router,
    route: Route,
    before: Flight,
    inside: Flight,
    came_in: RouterPort | None,
) -> Translated:
    """After routing: by the gateway a source becomes its floating IP, or the gateway's address where that is wished."""
    if inside.version != 4:
        return Translated(inside)
    by_gateway = route.port in gateways(router)
    was_translated = inside.destination != before.destination
    if by_gateway:
        for floating in world.floating_ips(host, router.key):
            if floating.fixed_ip_address == inside.source:
                note = f"source {inside.source} becomes {floating.floating_ip_address} (floating IP)"
                return Translated(replace(inside, source=floating.floating_ip_address), note, floating.key)
        own = _first_v4(route.port)
        if router.enable_snat and own and not same_scope(router, route.port, inside.source):
            return Translated(replace(inside, source=own), f"source {inside.source} becomes {own} (gateway)")
        return Translated(inside)
    if was_translated and came_in is not None and came_in not in gateways(router):
        own = _first_v4(gateways(router)[0]) if gateways(router) else None
        if own:
            note = f"source {inside.source} becomes {own} (an inner client of a floating IP)"
            return Translated(replace(inside, source=own), note)
    return Translated(inside)


def _first_v4(port: RouterPort) -> str | None:
    return next((f.ip_address for f in port.fixed_ips if ":" not in f.ip_address), None)


def same_scope(router: Router, gateway: RouterPort, source: str) -> bool:
    """Inside one address scope nothing is translated."""
    outer = {s.address_scope_id for s in gateway.subnets} - {None}
    for port in router.interfaces:
        for subnet in port.subnets:
            if ip_address(source).version == ip_network(subnet.cidr).version and ip_address(
                source
            ) in ip_network(subnet.cidr):
                return subnet.address_scope_id in outer
    return False
