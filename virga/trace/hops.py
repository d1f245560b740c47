"""The places that a packet passes, hop by hop, with what is meant, what is there and what was seen. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from virga.contract.explain import Column, Hop, Ref, State
from virga.contract.trace import HostReading, Sighting
from virga.sdn import tables
from virga.sdn.flow import flow_line
from virga.trace.model import Crossing, Finding, Leg, Path, Spot
from virga.trace.points import Waypoint
from virga.trace.switching import Passage

DETAILS = 12


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of a path, by index of its steps."""

    path: Path
    meant: Mapping[int, Passage]
    actual: Mapping[int, Passage]
    intent: Finding | None
    found: Sequence[Finding]
    readings: Mapping[str, HostReading]
    waypoints: Sequence[Waypoint] = ()
    sightings: Sequence[Sighting] = ()
    probed: bool = False


def hops(evidence: Evidence) -> list[Hop]:
    found: list[Hop] = []
    for number, step in enumerate(evidence.path.steps):
        if isinstance(step, Crossing):
            found.append(_crossing(evidence, number, step))
        else:
            found += _leg(evidence, number, step)
    return found


def _crossing(evidence: Evidence, number: int, step: Crossing) -> Hop:
    stopped = evidence.intent is not None and evidence.intent.step < number
    expected = Column(
        state="skipped" if stopped else "ok",
        text=f"{step.before.text} becomes {step.after.text}"
        if step.before != step.after
        else step.after.text,
        details=list(step.notes),
    )
    objects = [Ref(kind="router", id=step.router.key, name=step.router.name)]
    if step.floating_ip_id:
        objects.append(Ref(kind="floating_ip", id=step.floating_ip_id))
    return Hop(
        direction=step.way,
        host=step.host,
        kind="qrouter",
        name=f"qrouter-{step.router.key}",
        expected=expected,
        realised=_realised(evidence, number, step.host, ""),
        observed=_between(evidence, number),
        objects=objects,
    )


def _between(evidence: Evidence, number: int) -> Column:
    """Seen on the way into the router and on the way out of it."""
    if not evidence.probed:
        return Column()
    last_in = [w for w in evidence.waypoints if w.step == number - 1][-1:]
    first_out = [w for w in evidence.waypoints if w.step == number + 1][:1]
    if last_in and first_out:
        into, out = _seen(evidence, last_in[0]), _seen(evidence, first_out[0])
        if into and out:
            return Column(state="ok", text=f"{_flight(into[0])} in, {_flight(out[0])} out")
        return Column(state="stopped" if into else "missing")
    return Column(state="unknown")


def _flight(sighting: Sighting) -> str:
    return f"{sighting.source} > {sighting.destination}"


def _leg(evidence: Evidence, number: int, leg: Leg) -> list[Hop]:
    found = [_end_hop(evidence, number, leg, leg.sender, first=True)]
    for host in dict.fromkeys((leg.sender.host, leg.receiver.host)):
        found.append(_switch_hop(evidence, number, leg, host))
        if _uses_wire(leg):
            found.append(_nic_hop(evidence, number, leg, host))
    if leg.receiver.host != leg.sender.host:
        # The far host is entered by its NIC first.
        found[-2], found[-1] = found[-1], found[-2]
    if leg.sender.outside:
        found[1], found[2] = found[2], found[1]
    found.append(_end_hop(evidence, number, leg, leg.receiver, first=False))
    return found


def _uses_wire(leg: Leg) -> bool:
    return leg.sender.outside or leg.receiver.outside or leg.sender.host != leg.receiver.host


def _end_hop(evidence: Evidence, number: int, leg: Leg, spot: Spot, *, first: bool) -> Hop:
    if spot.port is None:
        kind, name, objects = "outside", leg.next_hop if not first else leg.flight.source, []
    else:
        name = spot.port.device_name
        kind = name[:3].rstrip("-") if not name.startswith("qvo") else "tap"
        if spot.port.device_owner == "network:dhcp":
            kind = "qdhcp"
        objects = [Ref(kind="port", id=spot.port.key, host=spot.host)]
    where = [w for w in evidence.waypoints if w.step == number and w.end == ("first" if first else "last")]
    return Hop(
        direction=leg.way,
        host=spot.host,
        kind=kind,
        name=name,
        expected=_expected_end(evidence, number, leg, first),
        realised=_realised(evidence, number, spot.host, name),
        observed=_observed(evidence, where[0] if where else None, first=first),
        objects=objects,
    )


def _expected_end(evidence: Evidence, number: int, leg: Leg, first: bool) -> Column:
    intent = evidence.intent
    if intent is not None and intent.step < number:
        return Column(state="skipped")
    if first or intent is None or intent.step > number:
        return Column(state="ok", text=leg.flight.text)
    return Column(state="missing", text=leg.flight.text)


def _switch_hop(evidence: Evidence, number: int, leg: Leg, host: str) -> Hop:
    intent = evidence.intent
    meant, actual = evidence.meant.get(number), evidence.actual.get(number)
    expected = _walked(meant, host, leg)
    if (
        intent is not None
        and intent.step == number
        and meant is not None
        and meant.walks
        and meant.walks[-1][0] == host
    ):
        expected = Column(state="stopped", text=intent.sentence, details=expected.details)
    objects = [Ref(kind="network", id=leg.network.key)]
    if intent is not None and intent.step == number and intent.culprit is not None:
        objects.append(intent.culprit)
    realised = _walked(actual, host, leg)
    own = _realised(evidence, number, host, "br-int")
    if own.state == "stopped":
        realised = Column(state="stopped", text=own.text, details=[*own.details, *realised.details])
    return Hop(
        direction=leg.way,
        host=host,
        kind="br-int",
        name="br-int",
        expected=expected,
        realised=realised,
        observed=_through(evidence, number, host),
        objects=objects,
    )


def _through(evidence: Evidence, number: int, host: str) -> Column:
    """A switch cannot be looked into by itself: what went in and came out on this host tells."""
    here = [w for w in evidence.waypoints if w.step == number and w.host == host]
    if not evidence.probed or len(here) < 2:
        return Column()
    into = bool(_seen(evidence, here[0])) or _is_start(evidence, here[0])
    out = bool(_seen(evidence, here[-1]))
    if out:
        return Column(state="ok")
    return Column(state="stopped" if into else "missing", text="went in and did not come out" if into else "")


def _walked(passage: Passage | None, host: str, leg: Leg) -> Column:
    """The flows that the packet meets on a host."""
    walk = next((w for h, w in passage.walks if h == host), None) if passage is not None else None
    if walk is None or passage is None:
        return Column(state="skipped" if passage is None else "missing")
    details = [f"{step.bridge} {flow_line(step.flow)}" for step in walk.steps]
    passed = bool(walk.deliveries) and (passage.arrived or (passage.left and host == leg.sender.host))
    state: State = "ok" if passed else "stopped"
    last = walk.steps[-1].flow if walk.steps else None
    text = tables.NAMES.get(last.table, f"table {last.table}") if last is not None else "no flow"
    return Column(
        state=state,
        text=f"{len(walk.steps)} flows" if state == "ok" else f"stopped in {text}",
        details=details[-DETAILS:],
    )


def _nic_hop(evidence: Evidence, number: int, leg: Leg, host: str) -> Hop:
    physical = leg.network.physical_network or leg.network.network_type
    where = [w for w in evidence.waypoints if w.step == number and w.host == host and w.end == "wire"]
    tag = f", VLAN {leg.network.segmentation_id}" if leg.network.network_type == "vlan" else ", untagged"
    reading = evidence.readings.get(host)
    bridge = reading.bridge_mappings.get(physical, "") if reading else ""
    nic = (reading.bridge_nics.get(bridge) or [bridge])[0] if reading else physical
    intent = evidence.intent
    skipped = intent is not None and intent.step <= number
    return Hop(
        direction=leg.way,
        host=host,
        kind="nic",
        name=nic or physical,
        expected=Column(state="skipped" if skipped else "ok", text=physical + tag),
        realised=_realised(evidence, number, host, nic),
        observed=_observed(evidence, where[0] if where else None, first=False),
        objects=[Ref(kind="network", id=leg.network.key)],
    )


def _realised(evidence: Evidence, number: int, host: str, name: str) -> Column:
    """Stopped when something was found at this very place."""
    if host and host not in evidence.readings:
        return Column(state="unknown", text="the host was not read") if evidence.readings else Column()
    if not evidence.readings:
        return Column()
    for one in evidence.found:
        at = one.culprit.id.split(" ")[0] if one.culprit and one.culprit.kind in ("flow", "device") else ""
        if one.step == number and (
            at == name or (name == "" and not at) or (name == "br-int" and at.startswith("br-"))
        ):
            return Column(state="stopped", text=one.sentence, details=list(one.evidence))
    return Column(state="ok")


def _observed(evidence: Evidence, waypoint: Waypoint | None, *, first: bool) -> Column:
    if not evidence.probed or waypoint is None:
        return Column()
    seen = _seen(evidence, waypoint)
    if not seen and _is_start(evidence, waypoint):
        return Column(state="ok", text="sent from here")
    if not seen:
        return Column(state="missing", text="not seen")
    best = seen[0]
    tag = f", VLAN {best.vlan}" if best.vlan is not None else ""
    text = f"{_flight(best)} ({best.text}{tag})"
    return Column(
        state="ok",
        text=text,
        details=[f"{one.at:.6f} {one.mark or one.kind} {_flight(one)} {one.text}" for one in seen[:6]],
    )


def _is_start(evidence: Evidence, waypoint: Waypoint) -> bool:
    """Where the probe itself put the packet into the switch, past the device."""
    return waypoint == evidence.waypoints[0]


def _seen(evidence: Evidence, waypoint: Waypoint) -> list[Sighting]:
    return [s for s in evidence.sightings if waypoint.fits(s) and s.mark]
