"""What the switches of the hosts really do with a packet, compared flow by flow with what is meant for these very hosts. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from virga.contract.explain import Ref
from virga.contract.items import AnyItem, Port
from virga.contract.trace import HostReading, SwitchPortReading
from virga.sdn.dump import parse_flow
from virga.sdn.flow import Flow, FlowKey, cookie_of, flow_line
from virga.sdn.host import Placement, compile_host
from virga.sdn.match import Packet, matcher
from virga.sdn.network_flows import Uplink
from virga.sdn.simulate import Switch, SwitchPort
from virga.trace import switching
from virga.trace.model import Finding, Leg
from virga.trace.switching import Fabric, Passage
from virga.trace.world import World

_VLAN = re.compile(r"set_field:\d+->vlan_vid")
Readings = Mapping[str, HostReading]


@dataclass(slots=True)
class HostFlows:
    """One host: its flows as they are and as they are meant there, by bridge and key."""

    actual: dict[str, dict[FlowKey, Flow]] = field(default_factory=dict)
    meant: dict[str, dict[FlowKey, Flow]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    """Flows that are there and cannot be understood."""
    owners: dict[int, Ref] = field(default_factory=dict)
    """Cookie -> object."""


@dataclass(slots=True)
class Realised:
    """The switches of all hosts that were read: as they are, and as they are meant with the numbers that are there."""

    actual: Fabric = field(default_factory=Fabric)
    meant: Fabric = field(default_factory=Fabric)
    hosts: dict[str, HostFlows] = field(default_factory=dict)


def build(world: World, readings: Readings, network_ids: Sequence[str]) -> Realised:
    found = Realised()
    for host, reading in readings.items():
        if reading.switch_problem:
            continue
        items = world.compiled(host, network_ids)
        placement = placement_of(reading, items)
        known = set(placement.tags)
        usable = [i for i in items if not isinstance(i, Port) or i.network_id in known]
        flows = found.hosts[host] = HostFlows()
        for bridge, of in compile_host([i for i in usable if _placed(i, known)], placement).items():
            flows.meant[bridge] = {flow.key: flow for flow in of.flows()}
        for bridge, lines in reading.flows.items():
            flows.actual[bridge] = _understood(lines, flows.strange)
        flows.owners = {cookie_of(i.key.partition("/")[0]): _ref(i) for i in items}
        found.actual.switches[host] = Switch(
            {b: f.values() for b, f in flows.actual.items()}, ports_of(reading, None), lenient=True
        )
        found.meant.switches[host] = Switch(
            {b: f.values() for b, f in flows.meant.items()}, ports_of(reading, placement)
        )
        for fabric in (found.actual, found.meant):
            for physical, bridge in reading.bridge_mappings.items():
                fabric.nics[host, physical] = tuple(reading.bridge_nics.get(bridge, ()))
                fabric.bridges[host, physical] = bridge
    return found


def _placed(item: AnyItem, known: set[str]) -> bool:
    return type(item).__name__ != "Network" or item.key in known


def _ref(item: AnyItem) -> Ref:
    kind = str(type(item).__struct_config__.tag)
    if kind == "group_member":
        return Ref(kind="security_group", id=item.key.partition("/")[0])
    return Ref(kind=kind, id=item.key)


def _understood(lines: Sequence[str], strange: list[str]) -> dict[FlowKey, Flow]:
    found = {}
    for line in lines:
        flow = parse_flow(line)
        if flow is None:
            continue
        try:
            matcher(flow.match)
        except (KeyError, ValueError):
            strange.append(line)
            continue
        found[flow.key] = flow
    return found


def placement_of(reading: HostReading, items: Sequence[AnyItem]) -> Placement:
    """Tags as the agent remembers them with the ports, numbers as the switch gave them."""
    by_name = {port.name: port for port in reading.ports if port.bridge == reading.integration_bridge}
    ports = [item for item in items if isinstance(item, Port)]
    votes: dict[str, Counter[int]] = {}
    for port in by_name.values():
        if port.network_id and port.wanted_tag is not None:
            votes.setdefault(port.network_id, Counter())[port.wanted_tag] += 1
    ofports = {}
    for port_item in ports:
        there = by_name.get(switching.attached(port_item))
        if there is not None and there.ofport > 0:
            ofports[port_item.key] = there.ofport
    return Placement(
        tags={network: count.most_common(1)[0][0] for network, count in votes.items()},
        ofports=ofports,
        uplinks=_uplinks(reading, by_name),
        integration_bridge=reading.integration_bridge,
    )


def _uplinks(reading: HostReading, inside: Mapping[str, SwitchPortReading]) -> dict[str, Uplink]:
    found = {}
    for physical, bridge in reading.bridge_mappings.items():
        inner = inside.get(f"int-{bridge}"[:15])
        outer = next(
            (p for p in reading.ports if p.bridge == bridge and p.name == f"phy-{bridge}"[:15]), None
        )
        if inner is not None and outer is not None:
            found[physical] = Uplink(physical, bridge, inner.ofport, outer.ofport)
    return found


def ports_of(reading: HostReading, placement: Placement | None) -> dict[str, list[SwitchPort]]:
    """With ``placement``: tagged as is meant; else as they are. Patches of trunks are ends here."""
    numbers = {(p.bridge, p.name): p for p in reading.ports}
    found: dict[str, list[SwitchPort]] = {}
    for port in reading.ports:
        if port.ofport <= 0:
            continue
        tag = port.tag
        if placement is not None and port.network_id in placement.tags:
            tag = placement.tags[port.network_id]
        peer = None
        if port.type == "patch" and not port.name.startswith(("spi-", "tpi-")):
            other = next((p for (_, name), p in numbers.items() if name == port.peer), None)
            if other is None:
                continue
            peer = (other.bridge, other.ofport)
        found.setdefault(port.bridge, []).append(SwitchPort(port.name, port.ofport, tag, peer))
    return found


def judge_leg(
    realised: Realised, readings: Readings, leg: Leg, packet: Packet
) -> tuple[Passage, Finding | None]:
    """What the real flows do with the packet of a leg; a finding when they do not take it where they should."""
    actual = switching.pass_leg(realised.actual, leg, packet)
    meant = switching.pass_leg(realised.meant, leg, packet)
    if actual.arrived or leg.sender.host not in realised.hosts:
        return actual, None
    return actual, _unplugged(realised, readings, leg) or _divergence(realised, readings, meant, actual)


def judge_question(realised: Realised, readings: Readings, leg: Leg) -> Finding | None:
    """Whether the question for the next address, and its answer, would pass the real flows."""
    for packet, backwards in ((switching.question_of(leg), False), (switching.answer_of(leg), True)):
        if packet is None or leg.sender.host not in realised.hosts or leg.receiver.host not in realised.hosts:
            continue
        if leg.flight.destination == "255.255.255.255":
            continue
        meant = switching.pass_leg(realised.meant, leg, packet, backwards=backwards)
        actual = switching.pass_leg(realised.actual, leg, packet, backwards=backwards)
        if meant.arrived and not actual.arrived:
            return _unplugged(realised, readings, leg) or _divergence(realised, readings, meant, actual)
    return None


def _unplugged(realised: Realised, readings: Readings, leg: Leg) -> Finding | None:
    """An end that is no port of the switch, or not with the tag of its network."""
    for spot in (leg.sender, leg.receiver):
        if spot.port is None or spot.host not in realised.hosts:
            continue
        reading = readings[spot.host]
        name = switching.attached(spot.port)
        there = next((p for p in reading.ports if p.name == name), None)
        ref = Ref(kind="port", id=spot.port.key, host=spot.host)
        if there is None or there.ofport <= 0 or there.bridge != reading.integration_bridge:
            said = f" ({there.error})" if there is not None and there.error else ""
            return Finding(
                "DRIFT",
                f"The device {name} is no working port of {reading.integration_bridge}{said}.",
                ref,
                f"virga doctor {spot.host} --fix",
            )
        if there.wanted_tag is not None and there.tag != there.wanted_tag:
            has = "no tag" if there.tag is None else f"tag {there.tag}"
            return Finding(
                "WRONG_LOCAL_TAG",
                f"The device {name} has {has} on {reading.integration_bridge}; its network has {there.wanted_tag}.",
                ref,
                f"virga doctor {spot.host} --fix",
                evidence=(f"ovs-vsctl get Port {name} tag: {there.tag}",),
            )
    return None


def _divergence(realised: Realised, readings: Readings, meant: Passage, actual: Passage) -> Finding | None:
    """The first flow that is not met as it should be."""
    wanted = [(host, step) for host, walk in meant.walks for step in walk.steps]
    found = [(host, step) for host, walk in actual.walks for step in walk.steps]
    for number, (host, step) in enumerate(wanted):
        there = found[number] if number < len(found) else None
        if there is not None and there[1].bridge == step.bridge and _alike(there[1].flow, step.flow):
            continue
        return _explain(realised.hosts[host], host, step.bridge, step.flow, there[1].flow if there else None)
    return _patches(readings, meant, actual)


def _alike(one: Flow, other: Flow) -> bool:
    """Whoever put it there: it does the same."""
    return one.key == other.key and one.actions == other.actions


def _explain(flows: HostFlows, host: str, bridge: str, wanted: Flow, met: Flow | None) -> Finding | None:
    holds = flows.actual.get(bridge, {}).get(wanted.key)
    owner = flows.owners.get(wanted.cookie)
    ref = Ref(kind="flow", id=f"{bridge} table={wanted.table}", name=wanted.match, host=host)
    evidence = [f"meant: {flow_line(wanted)}"]
    of = f" of {owner.kind} {owner.id}" if owner else ""
    if holds is None:
        what = f"A flow{of} is missing in table {wanted.table} of {bridge}."
    elif holds.actions != wanted.actions and _VLAN.sub("", holds.actions) == _VLAN.sub("", wanted.actions):
        return Finding(
            "WRONG_LOCAL_TAG",
            f"A flow{of} in table {wanted.table} of {bridge} translates to another VLAN than is meant.",
            ref,
            f"virga doctor {host} --fix",
            evidence=(*evidence, f"there:  {flow_line(holds)}"),
        )
    elif holds.actions != wanted.actions:
        what = f"A flow{of} in table {wanted.table} of {bridge} does something else than is meant."
        evidence.append(f"there:  {flow_line(holds)}")
    elif met is not None and met.key != wanted.key and met.key not in flows.meant.get(bridge, {}):
        return _foreign(host, bridge, met, evidence)
    else:
        return _missing_parts(flows, host, bridge, wanted)
    return Finding("DRIFT", what, ref, f"virga doctor {host} --fix", evidence=tuple(evidence))


def _foreign(host: str, bridge: str, met: Flow, evidence: Sequence[str] = ()) -> Finding:
    removal = f"table={met.table},priority={met.priority}" + (f",{met.match}" if met.match else "")
    return Finding(
        "DRIFT",
        f"A foreign flow in table {met.table} of {bridge} takes the packet.",
        Ref(kind="flow", id=f"{bridge} table={met.table}", name=met.match, host=host),
        f"virga host exec {host} -- ovs-ofctl -O OpenFlow15 --strict del-flows {bridge} '{removal}'",
        evidence=(*evidence, f"there:  {flow_line(met)}"),
    )


def detours(realised: Realised, readings: Readings, leg: Leg, packet: Packet) -> list[Finding]:
    """Of a packet that arrives by other flows than is meant: they may do more than the simulation knows."""
    actual = switching.pass_leg(realised.actual, leg, packet)
    meant = switching.pass_leg(realised.meant, leg, packet)
    if not actual.arrived or not meant.arrived:
        return []
    first = _divergence(realised, readings, meant, actual)
    return [*([first] if first is not None else []), *_strangers(realised, actual)]


def _strangers(realised: Realised, passage: Passage) -> list[Finding]:
    """Flows that the packet meets and that are not meant."""
    found = []
    for host, walk in passage.walks:
        flows = realised.hosts.get(host)
        for step in walk.steps if flows is not None else ():
            meant = flows.meant.get(step.bridge, {}) if flows is not None else {}
            if step.flow.key not in meant:
                found.append(_foreign(host, step.bridge, step.flow))
    return found


def _missing_parts(flows: HostFlows, host: str, bridge: str, wanted: Flow) -> Finding | None:
    """The flow itself is there, but it is met by a conjunction whose dimensions are not all there."""
    meant, actual = flows.meant.get(bridge, {}), flows.actual.get(bridge, {})
    for key, flow in meant.items():
        there = actual.get(key)
        if (
            key.table == wanted.table
            and flow.is_conjunctive
            and (there is None or there.actions != flow.actions)
        ):
            owner = flows.owners.get(flow.cookie)
            of = f" of {owner.kind} {owner.id}" if owner else ""
            state = "is missing" if there is None else "does something else than is meant"
            evidence = [f"meant: {flow_line(flow)}", *([f"there:  {flow_line(there)}"] if there else [])]
            return Finding(
                "DRIFT",
                f"A part of the rules{of} {state} in table {key.table} of {bridge}.",
                Ref(kind="flow", id=f"{bridge} table={key.table}", name=flow.match, host=host),
                f"virga doctor {host} --fix",
                evidence=tuple(evidence),
            )
    return None


def _patches(readings: Readings, meant: Passage, actual: Passage) -> Finding | None:
    """All flows are met, and yet it does not come out where it should: a port of the way is missing or tagged."""
    for host, walk in meant.walks:
        there = next((w for h, w in actual.walks if h == host), None)
        missing = walk.reached - (there.reached if there is not None else set())
        for name in sorted(missing):
            port = next((p for p in readings[host].ports if p.name == name), None)
            if port is None:
                continue
            link = "up" if port.link_up and port.up else "down"
            return Finding(
                "LINK_DOWN" if link == "down" else "DRIFT",
                f"The port {name} of {port.bridge} does not take the packet (tag {port.tag}, link {link}).",
                Ref(kind="device", id=name, host=host),
                f"virga doctor {host} --fix",
            )
    return None
