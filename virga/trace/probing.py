"""Which frames a probe sends, by what they are known again, and where they must be seen. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from virga.contract.trace import HostReading, Mark, Point, Shot
from virga.trace import frames, points, switching
from virga.trace.model import ICMP, ICMP6, TCP, UDP, Flight, Leg, Path, Traffic
from virga.trace.path import OUTSIDE_MAC
from virga.trace.points import Waypoint

SMALL, BIG, GUEST = "small", "big", "guest"
Numbers = Callable[[int], bytes]
"""So many random bytes."""


@dataclass(slots=True)
class Plan:
    """One probe. ``until``: host -> what must have been seen there for all to be well."""

    host: str = ""
    """Where the shots are sent."""
    shots: list[Shot] = field(default_factory=list)
    guest_shots: dict[str, list[Shot]] = field(default_factory=dict)
    """Host -> questions handed straight to a guest, for when it did not answer."""
    marks: list[Mark] = field(default_factory=list)
    points: dict[str, list[Point]] = field(default_factory=dict)
    until: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    waypoints: list[Waypoint] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a service of the network is asked, instead of the plain packets of the flight."""

    dhcp: bool = False
    name: str = ""


def make(
    path: Path,
    traffic: Traffic,
    readings: Mapping[str, HostReading],
    random: Numbers,
    asked: Asked | None = None,
) -> Plan | None:
    """None when nobody can send the first frame."""
    first = path.steps[0] if path.steps else None
    if not isinstance(first, Leg) or first.sender.host not in readings:
        return None
    plan = Plan(host=first.sender.host, waypoints=points.waypoints(path, readings))
    plan.points = points.points(plan.waypoints)
    how = _how(first, readings[first.sender.host])
    if how is None:
        return None
    question = _question(first, how)
    if question is not None:
        plan.shots.append(question)
    _packets(plan, path, first, how, random, asked or Asked())
    plan.addresses = _addresses(path)
    _await(plan, question is not None)
    _ask_guests(plan, path, readings)
    return plan


def _how(leg: Leg, reading: HostReading) -> Shot | None:
    """By which door a frame of the sender enters: its own namespace, or br-int as if its tap had sent it."""
    port = leg.sender.port
    if port is None:
        bridge = reading.bridge_mappings.get(leg.network.physical_network or "", "")
        nic = next(iter(points.nics_of(reading, leg)), "")
        there = next((p for p in reading.ports if p.name == nic), None)
        return Shot(key="", frame="", bridge=bridge, ofport=there.ofport) if there is not None else None
    if namespace := points.namespace_of(port):
        return Shot(key="", frame="", device=port.device_name, namespace=namespace)
    instance = next(
        (n for n in reading.namespaces if n.name == f"instance-{port.device_id}" and n.exists), None
    )
    own = next((link.name for link in instance.links if link.mac == port.mac_address), "") if instance else ""
    if instance is not None and own:
        return Shot(key="", frame="", device=own, namespace=instance.name)
    there = next((p for p in reading.ports if p.name == switching.attached(port)), None)
    if there is None or there.ofport <= 0:
        return None
    return Shot(key="", frame="", bridge=reading.integration_bridge, ofport=there.ofport)


def _shot(how: Shot, key: str, frame: bytes, vlan: int | None = None) -> Shot:
    return Shot(
        key=key,
        frame=frames.tagged(frame, vlan).hex(),
        device=how.device,
        namespace=how.namespace,
        bridge=how.bridge,
        ofport=how.ofport,
    )


def _wire_vlan(leg: Leg) -> int | None:
    """A frame in the name of the outside world carries the VLAN that it has on the wire."""
    return leg.network.segmentation_id if leg.sender.outside and leg.network.network_type != "flat" else None


def _question(leg: Leg, how: Shot) -> Shot | None:
    """Who has the next address? In the name of the outside world it is asked without telling who asks."""
    if leg.flight.destination == "255.255.255.255":
        return None
    six = ":" in leg.next_hop
    own = switching.sender_address(leg)
    if six:
        if leg.sender.outside:
            return None
        frame = frames.neighbour_question(leg.source_mac, own, leg.next_hop)
    else:
        frame = frames.arp_question(leg.source_mac, "0.0.0.0" if leg.sender.outside else own, leg.next_hop)
    return _shot(how, "question", frame, _wire_vlan(leg))


def _packets(plan: Plan, path: Path, first: Leg, how: Shot, random: Numbers, asked: Asked) -> None:
    vlan = _wire_vlan(first)
    if asked.dhcp:
        transaction = random(4)
        plan.shots.append(_shot(how, SMALL, frames.discover(first.source_mac, transaction), vlan))
        plan.marks.append(Mark(key=SMALL, bytes_hex=transaction.hex(), port=67))
        return
    flight = first.flight
    limit = min(step.network.mtu for step in path.steps if isinstance(step, Leg))
    for key, size in ((SMALL, frames.header_size(flight) + frames.SMALL), (BIG, limit)):
        if asked.name and key == BIG:
            continue
        mark, number = random(8), int.from_bytes(random(4))
        payload = mark + bytes(max(size - frames.header_size(flight) - len(mark), 0))
        if asked.name:
            payload = frames.name_question(asked.name, number, flight.version)
            # The question stands in the answer as well.
        sent = _own_port(flight, number, key)
        plan.shots.append(
            _shot(
                how, key, frames.packet(first.source_mac, first.destination_mac, sent, payload, number), vlan
            )
        )
        plan.sizes[key] = size
        acknowledged = [(number + 1 + extra) & 0xFFFFFFFF for extra in (0, len(payload))]
        plan.marks.append(
            Mark(
                key=key,
                bytes_hex=(payload[12:] if asked.name else mark).hex(),
                acknowledges=acknowledged if flight.protocol == TCP else [],
                port=flight.destination_port,
            )
        )


def _own_port(flight: Flight, number: int, key: str) -> Flight:
    """The big packet is a connection of its own."""
    if flight.protocol not in (TCP, UDP) or key == SMALL:
        return flight
    return replace(flight, source_port=40000 + (flight.source_port + 1 - 40000) % 20000)


def _addresses(path: Path) -> list[str]:
    """Those that are asked for by ARP or neighbour discovery on the way."""
    return list(dict.fromkeys(step.next_hop for step in path.steps if isinstance(step, Leg)))


def _await(plan: Plan, asks: bool) -> None:
    """All is well when every answer came to the end of the way back."""
    if not plan.waypoints:
        return
    last = plan.waypoints[-1]
    if last.way == "back":
        plan.until = [f"{mark.key}@{last.key}@{last.direction}" for mark in plan.marks]
        if asks and last.host == plan.host:
            plan.until.append(f"is-at@{last.key}@{last.direction}")


def _ask_guests(plan: Plan, path: Path, readings: Mapping[str, HostReading]) -> None:
    """A question handed to the guest itself, past all flows: is it there at all? And those that routers would ask."""
    for step in path.steps:
        if isinstance(step, Leg) and step.sender.port is not None and step.sender.host in readings:
            space = points.namespace_of(step.sender.port)
            how = Shot(key="", frame="", device=step.sender.port.device_name, namespace=space)
            question = _question(step, how) if space else None
            if question is not None:
                plan.guest_shots.setdefault(step.sender.host, []).append(question)
        if not isinstance(step, Leg) or step.receiver.port is None or points.namespace_of(step.receiver.port):
            continue
        port, reading = step.receiver.port, readings.get(step.receiver.host)
        there = (
            next((p for p in reading.ports if p.name == switching.attached(port)), None) if reading else None
        )
        if there is None or there.ofport <= 0 or reading is None:
            continue
        address = step.next_hop
        if ":" in address:
            frame = frames.neighbour_question(OUTSIDE_MAC, "::", address, port.mac_address)
        else:
            frame = frames.arp_question(OUTSIDE_MAC, "0.0.0.0", address, port.mac_address)
        shot = Shot(
            key=f"{GUEST} {address}",
            frame=frame.hex(),
            bridge=reading.integration_bridge,
            ofport=there.ofport,
            output=True,
        )
        plan.guest_shots.setdefault(step.receiver.host, []).append(shot)


def source_port(random: Numbers) -> int:
    return 40000 + int(struct.unpack("!H", random(2))[0]) % 20000


def is_echo(flight: Flight) -> bool:
    return flight.protocol in (ICMP, ICMP6)
