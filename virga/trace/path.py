"""The way of a packet as the API's objects mean it: stretches of layer 2, and the routers between them. Pure.

there   source -> [router ->]* destination        translations are remembered by router
back    destination -> [router ->]* source        ... and undone on the way back
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from virga.contract.items import Network, Router, RouterPort
from virga.trace import routing, words
from virga.trace.model import Crossing, End, Finding, Flight, Leg, Path, Spot, Way
from virga.trace.routing import Route
from virga.trace.world import World

LONGEST = 12
OUTSIDE_MAC = "02:76:69:72:67:61"
"""Of frames that the probe sends in the name of the outside world."""
BROADCAST = "ff:ff:ff:ff:ff:ff"


class _Stopped(Exception):
    """The API's objects forbid it."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.sentence)
        self.finding = finding


@dataclass(frozen=True, slots=True)
class _Session:
    """What a router did to the request, so that it is undone for the reply."""

    before: Flight
    after: Flight


@dataclass(slots=True)
class _Walk:
    """One direction on its way."""

    world: World
    way: Way
    sessions: dict[str, _Session]
    """Router -> what it did."""
    ends_at: End
    steps: list[Leg | Crossing] = field(default_factory=list)


def plan(world: World, source: End, destination: End, flight: Flight) -> Path:
    """Both directions; the way back only when the way there is possible."""
    path = Path()
    there = _Walk(world, "there", {}, destination)
    back = _Walk(world, "back", there.sessions, source, [])
    try:
        arrived = _from_end(there, source, flight)
        path.there = there.steps
        _is_the_right_place(there, destination, flight)
        _from_end(back, _responder(there, destination), arrived.turned())
        _is_the_right_place(back, source, arrived.turned())
    except _Stopped as stop:
        path.there = there.steps
        path.stopped = replace(stop.finding, step=len(there.steps) + len(back.steps) - 1)
    path.back = back.steps
    return path


def _is_the_right_place(walk: _Walk, end: End, flight: Flight) -> None:
    """A default route takes everything, also what it does not lead to: then somebody before it lacks a route."""
    last = walk.steps[-1] if walk.steps else None
    if end.port is None or not isinstance(last, Leg) or end.router_id:
        return
    if last.receiver.port is not None and last.receiver.port.key == end.port.key:
        return
    crossings = [step for step in walk.steps if isinstance(step, Crossing)]
    if crossings:
        raise _Stopped(words.no_route(crossings[-1].router, flight, external=False))


def _responder(walk: _Walk, destination: End) -> End:
    """Who really got the packet answers it: behind a floating IP that is a port."""
    last = walk.steps[-1] if walk.steps else None
    if not isinstance(last, Leg) or last.receiver.port is None:
        return destination
    port = last.receiver.port
    router = port.device_id if port.device_owner.startswith("network:router") else ""
    return replace(
        destination, port=port, host=last.receiver.host, network_id=port.network_id, router_id=router
    )


def plan_local(world: World, source: End, service: End, flight: Flight) -> Path:
    """To a service of the network itself (DHCP, metadata, names): one stretch of layer 2, whatever the address."""
    assert source.port is not None
    assert service.port is not None
    network = world.network(source.port.network_id)
    if network is None:
        return Path(stopped=words.unbound(world, source.port.key))
    one, other = Spot(source.host, source.port), Spot(service.host, service.port)
    for port in (source.port, service.port):
        if not port.admin_state_up:
            return Path(stopped=words.port_down(world, port.key))
    address = next(
        (f.ip_address for f in service.port.fixed_ips if ":" not in f.ip_address or flight.version == 6),
        service.address,
    )
    there = _leg("there", network, one, other, flight, address)
    return Path([there], [_leg("back", network, other, one, flight.turned(), source.address)])


def _from_end(walk: _Walk, end: End, flight: Flight) -> Flight:
    """Follow the packet from an end; its addresses when it arrives."""
    if end.router_id:
        return _out_of_router(walk, *_router(walk, end.router_id), None, flight)
    if end.port is None:
        network = walk.world.network(end.network_id)
        if network is None:
            raise _Stopped(Finding("UNKNOWN", "There is no external network.", reachable=None))
        return _over(walk, network, Spot(""), flight, flight.destination)
    network = walk.world.network(end.port.network_id)
    if network is None or not end.port.admin_state_up:
        raise _Stopped(words.port_down(walk.world, end.port.key))
    hop = routing.next_hop_of_port(walk.world, end.port, flight.destination)
    if hop.address is None:
        external = _is_external(walk.world, flight.destination) or _has_router(walk.world, network.key)
        raise _Stopped(words.no_gateway_address(hop.subnet_id, flight.destination, external))
    return _over(walk, network, Spot(end.host, end.port), flight, hop.address)


def _router(walk: _Walk, router_id: str) -> tuple[str, Router]:
    found = walk.world.router(router_id)
    if found is None:
        raise _Stopped(words.router_not_there(router_id))
    if not found[1].admin_state_up:
        raise _Stopped(words.router_down(router_id))
    return found


def _over(walk: _Walk, network: Network, sender: Spot, flight: Flight, next_hop: str) -> Flight:
    """One stretch of layer 2, and on from where it ends."""
    if len(walk.steps) > LONGEST:
        raise _Stopped(words.circle(network.key))
    receiver = _owner(walk.world, network, next_hop, _is_external(walk.world, flight.destination))
    if receiver.outside and sender.outside:
        raise _Stopped(words.nobody_at(walk.world, network.key, next_hop))
    if receiver.outside and _is_inside(walk.ends_at, flight.destination):
        raise _Stopped(words.leads_outside(_last_router(walk, sender), flight))
    if receiver.outside:
        receiver = Spot(sender.host)
    if sender.outside:
        sender = Spot(receiver.host)
    walk.steps.append(_leg(walk.way, network, sender, receiver, flight, next_hop))
    if receiver.port is None or not receiver.port.device_owner.startswith("network:router"):
        return flight
    host, router = _router(walk, receiver.port.device_id)
    return _out_of_router(walk, host, router, receiver.port.key, flight)


def _leg(way: Way, network: Network, sender: Spot, receiver: Spot, flight: Flight, next_hop: str) -> Leg:
    return Leg(
        way=way,
        network=network,
        sender=sender,
        receiver=receiver,
        flight=flight,
        source_mac=sender.port.mac_address if sender.port else OUTSIDE_MAC,
        destination_mac=receiver.port.mac_address if receiver.port else OUTSIDE_MAC,
        next_hop=next_hop,
    )


def _owner(world: World, network: Network, address: str, external: bool) -> Spot:
    """Who answers for an address on a network. ``external``: the packet is on its way outside."""
    port_id = world.port_at(network.key, address)
    floating = world.floating_at(address)
    if floating is not None and (
        port_id is None or world.ports[port_id].device_owner == "network:floatingip"
    ):
        router_id = floating.router_id
        if router_id is None:
            raise _Stopped(words.unassociated(floating.id, address))
        found = world.router(router_id)
        if found is None:
            raise _Stopped(words.router_not_there(router_id))
        gateway = next((g for g in routing.gateways(found[1]) if g.network_id == network.key), None)
        port_id = gateway.port_id if gateway is not None else None
    if port_id is None:
        if network.key in world.external:
            return Spot("")
        raise _Stopped(words.nobody_at(world, network.key, address, external))
    return _placed(world, port_id)


def _placed(world: World, port_id: str) -> Spot:
    fact = world.ports[port_id]
    if not fact.admin_state_up:
        raise _Stopped(words.port_down(world, port_id))
    placed = world.port(port_id)
    if placed is None:
        raise _Stopped(words.unbound(world, port_id))
    return Spot(*placed)


def _out_of_router(walk: _Walk, host: str, router: Router, in_port: str | None, flight: Flight) -> Flight:
    """Translate, route, translate, and on."""
    came_in = next((p for p in routing.ports_of(router) if p.port_id == in_port), None)
    session = walk.sessions.get(router.key)
    if walk.way == "back" and session is not None and session.after.turned() == flight:
        inside, note, floating_id = session.before.turned(), _undone(flight, session.before.turned()), ""
        # The source is given back only after routing, as the kernel does it.
        routed = replace(flight, destination=inside.destination, destination_port=inside.destination_port)
    else:
        translated = routing.to_inside(walk.world, host, router, flight)
        inside, note, floating_id = translated.flight, translated.note, translated.floating_ip_id
        session, routed = None, inside
    if came_in is not None and routing.has_address(router, routed.destination):
        return flight
    route = routing.lookup(router, routed.destination)
    if route is None:
        raise _Stopped(words.no_route(router, routed, _is_external(walk.world, routed.destination)))
    notes = [note] if note else []
    notes.append(route.text)
    if session is not None:
        after = inside
    else:
        done = routing.to_outside(walk.world, host, router, route, flight, inside, came_in)
        after, floating_id = done.flight, floating_id or done.floating_ip_id
        notes += [done.note] if done.note else []
        if walk.way == "there" and after != flight:
            walk.sessions[router.key] = _Session(flight, after)
        _needs_translation(walk, router, route, after)
    if came_in is not None:
        walk.steps.append(
            Crossing(walk.way, router, host, came_in, route.port, flight, after, tuple(notes), floating_id)
        )
    return _out_by(walk, route.port, after, route.next_hop)


def _out_by(walk: _Walk, port: RouterPort, flight: Flight, next_hop: str) -> Flight:
    network = walk.world.network(port.network_id)
    if network is None:
        raise _Stopped(words.unbound(walk.world, port.port_id))
    return _over(walk, network, _placed(walk.world, port.port_id), flight, next_hop)


def _undone(flight: Flight, inside: Flight) -> str:
    parts = []
    if flight.destination != inside.destination:
        parts.append(f"destination {flight.destination} becomes {inside.destination} again")
    if flight.source != inside.source:
        parts.append(f"source {flight.source} becomes {inside.source} again")
    return ", ".join(parts)


def _is_inside(end: End, address: str) -> bool:
    """The packet is for a port of an inner network, which the outside world does not know."""
    return end.port is not None and any(f.ip_address == address for f in end.port.fixed_ips)


def _last_router(walk: _Walk, sender: Spot) -> str:
    return sender.port.device_id if sender.port is not None else ""


def _has_router(world: World, network_id: str) -> bool:
    return any(
        fact.network_id == network_id and fact.device_owner.startswith("network:router_")
        for fact in world.ports.values()
    )


def _is_external(world: World, address: str) -> bool:
    """No subnet of the cloud's own networks has it."""
    return not any(
        world.subnet_of(network_id, address)
        for network_id in {s.network_id for s in world.subnets.values()} - set(world.external)
    )


def _needs_translation(walk: _Walk, router: Router, route: Route, after: Flight) -> None:
    """The outside world does not know the addresses of inner networks, unless it shares their address scope."""
    if walk.way == "back" or after.version != 4 or route.port not in routing.gateways(router):
        return
    if after.source in {f.ip_address for f in route.port.fixed_ips} or walk.world.floating_at(after.source):
        return
    if not routing.same_scope(router, route.port, after.source) and not router.enable_snat:
        raise _Stopped(words.no_nat(router, after.source))
