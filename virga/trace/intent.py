"""What the API's objects say about a planned path: state of its ends, security groups, source guards. Pure."""

from __future__ import annotations

from dataclasses import replace

from virga.contract.explain import Ref
from virga.contract.items import Port
from virga.sdn import tables as t
from virga.trace import switching
from virga.trace.model import ICMP, ICMP6, Finding, Flight, Leg, Path
from virga.trace.switching import Passage
from virga.trace.world import World

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}


def judge(world: World, path: Path, source: Flight) -> tuple[Finding | None, dict[int, Passage]]:
    """The first thing on the path that forbids the packet, and what the meant flows do with it, leg by leg."""
    legs = [(number, step) for number, step in enumerate(path.steps) if isinstance(step, Leg)]
    if not legs:
        return path.stopped, {}
    networks = {leg.network.key for _, leg in legs}
    fabric = switching.meant(world, path.hosts, networks)
    passages: dict[int, Passage] = {}
    for number, leg in legs:
        packet = switching.packet_of(leg.flight, leg.source_mac, leg.destination_mac, reply=leg.way == "back")
        passage = passages[number] = switching.pass_leg(fabric, leg, packet)
        if not passage.arrived:
            return replace(_refusal(world, leg, passage), step=number), passages
    return path.stopped, passages


def _refusal(world: World, leg: Leg, passage: Passage) -> Finding:
    """Which table dropped it tells what forbids it."""
    tables = {step.flow.table for _, walk in passage.walks for step in walk.steps}
    sender, receiver = leg.sender.port, leg.receiver.port
    if receiver is not None and (tables & {t.INGRESS_RULES, t.INGRESS_BASE}):
        return no_rule(leg, receiver, "ingress")
    if sender is not None and t.EGRESS_RULES in tables:
        return no_rule(leg, sender, "egress")
    if sender is not None and t.EGRESS_BASE in tables:
        return spoof(leg, sender)
    last = passage.last
    return Finding(
        "UNKNOWN",
        "The flows that are meant do not lead there.",
        Ref(kind="network", id=leg.network.key),
        evidence=(f"table {last.table}: {last.match or 'anything'} -> {last.actions}",) if last else (),
        reachable=None,
    )


def spoof(leg: Leg, port: Port) -> Finding:
    own = ", ".join(f.ip_address for f in port.fixed_ips)
    return Finding(
        "SPOOF_GUARD",
        f"The port may not send from {leg.flight.source} ({leg.source_mac}): its own addresses are {own or 'none'}.",
        Ref(kind="port", id=port.key),
        f"openstack port set --allowed-address ip-address={leg.flight.source} {port.key}",
    )


def no_rule(leg: Leg, port: Port, direction: str) -> Finding:
    """No rule of any group of the port fits."""
    flight, incoming = leg.flight, direction == "ingress"
    remote = flight.source if incoming else flight.destination
    prefix = f"{remote}/{128 if flight.version == 6 else 32}"
    what = describe(flight)
    words = f"from {remote} in" if incoming else f"to {remote} out"
    code = "SG_NO_MATCH" if incoming else "SG_EGRESS_NO_MATCH"
    if not port.security_group_ids:
        return Finding(
            code,
            f"The port has port security and no security group, so nothing lets {what} {words}.",
            Ref(kind="port", id=port.key),
            f"openstack port set --security-group default {port.key}",
        )
    group = port.security_group_ids[0]
    options = [f"--{direction}", f"--ethertype IPv{flight.version}", f"--protocol {_protocol(flight)}"]
    if flight.protocol not in (ICMP, ICMP6) and flight.destination_port:
        options.append(f"--dst-port {flight.destination_port}")
    options.append(f"--remote-ip {prefix}")
    return Finding(
        code,
        f"No rule of the port's security groups lets {what} {words}.",
        Ref(kind="security_group", id=group),
        f"openstack security group rule create {' '.join(options)} {group}",
        evidence=(f"port {port.key} has the groups {', '.join(port.security_group_ids)}",),
    )


def _protocol(flight: Flight) -> str:
    return PROTOCOLS.get(flight.protocol, str(flight.protocol))


def describe(flight: Flight) -> str:
    name = _protocol(flight)
    return f"{name}/{flight.destination_port}" if flight.destination_port else name
