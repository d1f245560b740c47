"""A router with everything that belongs to it, as one value, and what follows from it for its namespace. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from virga.agent.drivers.addressing import METADATA_V6, Addressing, Device, Route
from virga.agent.drivers.conntrack import Mappings, PortMapping
from virga.agent.render.meter_rules import LABEL_LENGTH, Meter, MeterRule
from virga.agent.render.router_rules import Floating, Forwarding, Gateway, RouterRules, RuleDevice
from virga.contract.items import FloatingIp, PortForwarding, Router, RouterPort, RouterSubnet


@dataclass(frozen=True, slots=True)
class RouterView:
    """``floating`` and ``forwardings`` are those of this router only."""

    router: Router
    floating: tuple[FloatingIp, ...] = ()
    forwardings: tuple[PortForwarding, ...] = ()

    @property
    def gateways(self) -> list[RouterPort]:
        first = [self.router.gateway] if self.router.gateway is not None else []
        return [*first, *self.router.extra_gateways]

    @property
    def ports(self) -> list[RouterPort]:
        return [*self.router.interfaces, *self.gateways]


def namespace_of(router_id: str) -> str:
    return f"qrouter-{router_id}"


def gateway_of(view: RouterView, address: str) -> RouterPort | None:
    """The gateway by whose network a floating IP is reached."""
    for port in view.gateways:
        if any(_is_in(address, subnet) for subnet in port.subnets):
            return port
    return view.router.gateway


def _is_in(address: str, subnet: RouterSubnet) -> bool:
    return ip_address(address) in ip_network(subnet.cidr)


# -- addresses and routes ---------------------------------------------------------------------------


def addressing(view: RouterView) -> Addressing:
    """A router that is administratively down keeps its devices, and nothing on them."""
    sysctls = [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv4/conf/all/arp_ignore", "1"),
        ("net/ipv4/conf/all/arp_announce", "2"),
        ("net/ipv4/conf/all/promote_secondaries", "1"),
    ]
    for port in view.ports:
        conf = f"net/ipv6/conf/{port.device_name}"
        sysctls += [(f"{conf}/accept_ra", "0"), (f"{conf}/dad_transmits", "0")]
    if not view.router.admin_state_up:
        down = tuple(Device(port.device_name, up=False) for port in view.ports)
        return Addressing(devices=down, sysctls=tuple(sysctls))
    return Addressing(devices=tuple(_devices(view)), routes=_routes(view), sysctls=tuple(sysctls))


def _devices(view: RouterView) -> list[Device]:
    floating: dict[str, set[str]] = {}
    addresses = {f.floating_ip_address for f in view.floating}
    for address in addresses | {f.floating_ip_address for f in view.forwardings}:
        port = gateway_of(view, address)
        if port is not None:
            floating.setdefault(port.device_name, set()).add(f"{address}/32")
    devices = []
    for port in view.router.interfaces:
        extra = {METADATA_V6} if _has(port, 6) else set()
        devices.append(Device(port.device_name, frozenset(_own(port) | extra)))
    for port in view.gateways:
        extra = {a for a in floating.get(port.device_name, set()) if not _carries(port, a)}
        devices.append(Device(port.device_name, frozenset(_own(port) | extra)))
    return devices


def _own(port: RouterPort) -> set[str]:
    return {f"{fixed.ip_address}/{fixed.prefixlen}" for fixed in port.fixed_ips}


def _carries(port: RouterPort, cidr: str) -> bool:
    return any(fixed.ip_address == cidr.partition("/")[0] for fixed in port.fixed_ips)


def _has(port: RouterPort, version: int) -> bool:
    return any(ip_address(fixed.ip_address).version == version for fixed in port.fixed_ips)


def _routes(view: RouterView) -> frozenset[Route]:
    routes: dict[str, Route] = {}
    for port in view.gateways:
        for route in _gateway_routes(port):
            held = routes.setdefault(route.destination, route)
            if view.router.default_route_ecmp and held.nexthops and route.nexthops and not held.device:
                several = dict.fromkeys((*held.nexthops, *route.nexthops))
                routes[route.destination] = Route(route.destination, tuple(several))
    hops: dict[str, list[str]] = {}
    for extra in view.router.routes:
        hops.setdefault(str(ip_network(extra.destination, strict=False)), []).append(extra.nexthop)
    # A static route of the user is more particular than what follows from the gateway.
    routes.update({d: Route(d, tuple(sorted(set(via)))) for d, via in hops.items()})
    return frozenset(routes.values())


def _gateway_routes(port: RouterPort) -> list[Route]:
    """Default routes, and routes on link for what lies at the gateway's network without an address of ours."""
    own = {fixed.subnet_id for fixed in port.fixed_ips}
    routes = []
    for subnet in port.subnets:
        network = ip_network(subnet.cidr)
        if subnet.subnet_id not in own:
            routes.append(Route(str(network), (), port.device_name))
            continue
        if not subnet.gateway_ip:
            continue
        gateway = ip_address(subnet.gateway_ip)
        if gateway not in network and not gateway.is_link_local:
            routes.append(Route(f"{gateway}/{gateway.max_prefixlen}", (), port.device_name))
        device = port.device_name if gateway.is_link_local else ""
        routes.append(Route("0.0.0.0/0" if gateway.version == 4 else "::/0", (str(gateway),), device))
    return routes


# -- rules ------------------------------------------------------------------------------------------


def rules(view: RouterView) -> RouterRules:
    """A router that is administratively down translates nothing."""
    if not view.router.admin_state_up:
        return RouterRules()
    return RouterRules(
        interfaces=tuple(rule_device(port) for port in view.router.interfaces),
        gateways=tuple(Gateway(rule_device(port), _first_v4(port)) for port in view.gateways),
        enable_snat=view.router.enable_snat,
        meters=tuple(
            Meter(
                label.label_id[:LABEL_LENGTH],
                tuple(MeterRule(r.direction, r.excluded, r.source, r.destination) for r in label.rules),
            )
            for label in view.router.meters
        ),
        floating=tuple(
            Floating(f.floating_ip_address, f.fixed_ip_address, _scope_of(view, f.fixed_ip_address))
            for f in view.floating
            if view.gateways
        ),
        forwardings=tuple(
            Forwarding(
                f.key,
                f.floating_ip_address,
                f.protocol,
                f.external_port,
                f.internal_ip_address,
                f.internal_port,
            )
            for f in view.forwardings
            if view.gateways
        ),
    )


def rule_device(port: RouterPort) -> RuleDevice:
    return RuleDevice(
        port.device_name, _has(port, 4), _has(port, 6), _scope(port, version=4), _scope(port, version=6)
    )


def _scope(port: RouterPort, version: int) -> str | None:
    scopes = [s.address_scope_id for s in port.subnets if ip_network(s.cidr).version == version]
    return next((scope for scope in scopes if scope), None)


def _first_v4(port: RouterPort) -> str | None:
    return next((f.ip_address for f in port.fixed_ips if ":" not in f.ip_address), None)


def _scope_of(view: RouterView, address: str) -> str | None:
    """The address scope of a machine behind the router."""
    for port in view.router.interfaces:
        for subnet in port.subnets:
            if _is_in(address, subnet):
                return subnet.address_scope_id
    return None


# -- connections ------------------------------------------------------------------------------------


def mappings(view: RouterView) -> Mappings:
    """Every translation that the rules above may do: what is translated otherwise is a leftover."""
    if not view.router.admin_state_up or not view.gateways:
        return Mappings()
    return Mappings(
        gateways=frozenset(filter(None, map(_first_v4, view.gateways if view.router.enable_snat else ()))),
        floating=frozenset((f.floating_ip_address, f.fixed_ip_address) for f in view.floating),
        ports=frozenset(_port_mapping(f) for f in view.forwardings),
    )


def _port_mapping(forwarding: PortForwarding) -> PortMapping:
    low, _, high = forwarding.external_port.partition(":")
    return PortMapping(
        forwarding.floating_ip_address,
        forwarding.protocol,
        int(low),
        int(high or low),
        forwarding.internal_ip_address,
    )
