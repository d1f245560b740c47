"""What the sightings of a probe say: how far the packet came, and what is between the last place and the next. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from virga.contract.explain import Ref
from virga.contract.trace import Sighting
from virga.trace import points
from virga.trace.model import Crossing, Finding, Leg, Path
from virga.trace.points import Waypoint
from virga.trace.probing import BIG, SMALL, Plan


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one mark: the last waypoint where it was seen, and the first where it was not. None: at the very start, or nowhere."""

    seen: Waypoint | None
    missing: Waypoint | None

    @property
    def complete(self) -> bool:
        return self.missing is None


def progress(plan: Plan, sightings: Sequence[Sighting], mark: str) -> Progress:
    """A place that was not seen although a later one was is no gap: some devices cannot be watched."""
    last = None
    arrived = _came_to_end(plan, sightings, mark)
    for number, waypoint in enumerate(plan.waypoints):
        if waypoint.way == "back" and not arrived:
            # An error that somebody on the way sent back is no answer.
            break
        if any(s.mark == mark and waypoint.fits(s) for s in sightings):
            last = number
    if last is None:
        return Progress(None, plan.waypoints[0] if plan.waypoints else None)
    following = last + 1
    missing = plan.waypoints[following] if following < len(plan.waypoints) else None
    return Progress(plan.waypoints[last], missing)


def _came_to_end(plan: Plan, sightings: Sequence[Sighting], mark: str) -> bool:
    """The request was seen at the end of the way there, or a true answer was seen anywhere."""
    ends = [waypoint for waypoint in plan.waypoints if waypoint.way == "there"][-1:]
    answered = any(s.mark == mark and s.kind == "reply" for s in sightings)
    return answered or any(s.mark == mark and end.fits(s) for end in ends for s in sightings)


def refused(plan: Plan, sightings: Sequence[Sighting]) -> bool:
    """The end answered that nothing listens there."""
    last = plan.waypoints[-1] if plan.waypoints else None
    return (
        last is not None
        and _came_to_end(plan, sightings, SMALL)
        and any(s.mark == SMALL and s.kind in ("refusal", "error") and last.fits(s) for s in sightings)
    )


def asked_and_answered(
    sightings: Sequence[Sighting], address: str, waypoint: Waypoint | None = None
) -> tuple[bool, bool]:
    """Whether somebody asked for the address (at this place), and whether somebody answered."""
    here = [s for s in sightings if waypoint is None or s.point == waypoint.key]
    asked = any(s.kind == "who-has" and _is_about(s, address) for s in here)
    answered = any(s.kind == "is-at" and _is_about(s, address, answer=True) for s in here)
    return asked, answered


def _is_about(sighting: Sighting, address: str, *, answer: bool = False) -> bool:
    if sighting.text.startswith(("who has", "advertised")) and ":" in address:
        return address in sighting.text.split()
    return (sighting.source if answer else sighting.destination) == address


def answering_macs(sightings: Sequence[Sighting], address: str) -> set[str]:
    return {
        s.macs[0] for s in sightings if s.kind == "is-at" and s.macs and _is_about(s, address, answer=True)
    }


def judge(path: Path, plan: Plan, sightings: Sequence[Sighting]) -> Finding | None:
    """None when all is well; else the place where it ends, and what can be said of it from sightings alone."""
    small = progress(plan, sightings, SMALL)
    if not small.complete and small.missing is not None:
        return _gap(path, plan, sightings, small)
    duplicate = _duplicate(path, sightings)
    if duplicate is not None:
        return duplicate
    if refused(plan, sightings):
        return Finding(
            "CONNECTION_REFUSED",
            "The packet arrives, and the destination refuses it: nothing listens there.",
            evidence=_last_lines(sightings, SMALL),
        )
    unanswered = _unanswered(path, plan, sightings)
    if unanswered is not None:
        return unanswered
    return _too_big(path, plan, sightings)


def _last_lines(sightings: Sequence[Sighting], mark: str) -> tuple[str, ...]:
    chosen = [s for s in sightings if s.mark == mark][-3:]
    return tuple(f"{s.point} {s.way}: {s.source} > {s.destination} {s.text}" for s in chosen)


def _duplicate(path: Path, sightings: Sequence[Sighting]) -> Finding | None:
    for number, step in enumerate(path.steps):
        if not isinstance(step, Leg):
            continue
        macs = answering_macs(sightings, step.next_hop)
        right = step.destination_mac
        if len(macs) > 1 or (macs and not step.receiver.outside and right not in macs):
            return Finding(
                "ADDRESS_DUPLICATE",
                f"{', '.join(sorted(macs))} answer for {step.next_hop}, which is {right}'s.",
                Ref(kind="network", id=step.network.key),
                f"openstack port list --network {step.network.key} --long",
                evidence=tuple(f"{step.next_hop} is at {mac}" for mac in sorted(macs)),
                step=number,
            )
    return None


def _unanswered(path: Path, plan: Plan, sightings: Sequence[Sighting]) -> Finding | None:
    """Packets arrive, but the question for the first address is not answered, so no guest would find the way."""
    first = path.steps[0]
    if not isinstance(first, Leg) or not any(s.key == "question" for s in plan.shots):
        return None
    here = plan.waypoints[0]
    watched = any(s.point == here.key for s in sightings)
    # An answer to a question that the probe asked later, in another name, is none for this sender.
    own = [s for s in sightings if s.kind != "is-at" or len(s.macs) < 2 or s.macs[1] == first.source_mac]
    _, answered = asked_and_answered(own, first.next_hop, here if watched else None)
    if answered:
        return None
    return Finding(
        "ARP_UNANSWERED",
        f"Nobody answers for {first.next_hop}, although packets that know the way arrive.",
        Ref(kind="network", id=first.network.key),
        step=0,
    )


def _too_big(path: Path, plan: Plan, sightings: Sequence[Sighting]) -> Finding | None:
    """Large packets do not get as far as small ones, and it is not the guest that keeps silent."""
    if BIG not in plan.sizes:
        return None
    big = progress(plan, sightings, BIG)
    if big.missing is None or _is_answer_of_end(path, big.missing):
        return None
    step = path.steps[big.missing.step]
    seen = big.seen.place if big.seen is not None else "the sender"
    return Finding(
        "MTU_BLACKHOLE",
        f"A packet of {plan.sizes[BIG]} bytes was seen at {seen} and not at {big.missing.place}; a small one was.",
        Ref(kind="device", id=big.missing.device, host=big.missing.host),
        f"virga host exec {big.missing.host} -- ip link show",
        evidence=_last_lines(sightings, BIG),
        step=big.missing.step if isinstance(step, Leg) else -1,
    )


def _is_answer_of_end(path: Path, missing: Waypoint) -> bool:
    """The first place of the way back: what is missing there the destination did not say."""
    return missing.way == "back" and missing.step == len(path.there) and missing.end == "first"


def _gap(path: Path, plan: Plan, sightings: Sequence[Sighting], small: Progress) -> Finding:
    missing = small.missing
    assert missing is not None
    step = path.steps[missing.step]
    assert isinstance(step, Leg)
    if _is_answer_of_end(path, missing):
        return _silent_end(path, sightings, missing)
    if missing.end == "wire" and missing.direction == "in":
        return _wire(step, missing)
    if missing.end == "first" and step.sender.port is not None and points.namespace_of(step.sender.port):
        return _in_router(path, plan, sightings, missing)
    seen = small.seen.place if small.seen is not None else "the sender"
    return Finding(
        "LOST",
        f"The packet was seen at {seen} and not at {missing.place}.",
        Ref(kind="device", id=missing.device, host=missing.host),
        f"virga doctor {missing.host}",
        evidence=_last_lines(sightings, SMALL),
        step=missing.step,
        reachable=False,
    )


def _wire(leg: Leg, missing: Waypoint) -> Finding:
    tag = leg.network.segmentation_id
    if leg.network.network_type in ("vxlan", "geneve", "gre"):
        code, what = "TUNNEL_DOWN", "the tunnel does not carry it"
    elif leg.network.network_type == "vlan":
        code, what = "VLAN_NOT_TRUNKED", f"the wire does not carry VLAN {tag}"
    else:
        code, what = "UNDERLAY_DOWN", "the wire carries nothing"
    return Finding(
        code,
        f"The packet left {leg.sender.host} and never came to {missing.place}: {what}.",
        Ref(kind="network", id=leg.network.key),
        f"Let the switch between {leg.sender.host} and {leg.receiver.host} carry VLAN {tag}.",
        step=missing.step,
    )


def _silent_end(path: Path, sightings: Sequence[Sighting], missing: Waypoint) -> Finding:
    """It arrived, and nothing came back."""
    last = path.there[-1]
    assert isinstance(last, Leg)
    port = last.receiver.port
    if port is None:
        return Finding(
            "OUTSIDE_SILENT",
            f"The packet left the cloud at {missing.place}, and the outside world does not answer.",
            Ref(kind="outside", name=last.next_hop),
            step=missing.step,
        )
    if points.namespace_of(port):
        return Finding(
            "LOST",
            f"The packet came to {missing.place}, and nothing answered there.",
            Ref(kind="port", id=port.key, host=last.receiver.host),
            step=missing.step,
        )
    return guest(last, sightings, missing)


def guest(leg: Leg, sightings: Sequence[Sighting], missing: Waypoint) -> Finding:
    """The guest got it. Does it at least answer for its own address?"""
    port = leg.receiver.port
    assert port is not None
    here = [s for s in sightings if s.point == missing.key and s.way == "in"]
    _, answers = asked_and_answered(here, leg.next_hop)
    ref = Ref(
        kind="server" if port.device_owner.startswith("compute:") else "port", id=port.device_id or port.key
    )
    if answers:
        return Finding(
            "GUEST_FIREWALL",
            "The packet was handed to the guest, which answers for its address but not to this packet.",
            ref,
            f"virga console {ref.id}",
            evidence=(f"{leg.next_hop} answers ARP at {missing.place}",),
            step=missing.step,
        )
    return Finding(
        "GUEST_SILENT",
        "The packet was handed to the guest, and the guest answers nothing at all.",
        ref,
        f"virga console {ref.id}",
        evidence=(f"{leg.next_hop} answers nothing at {missing.place}",),
        step=missing.step,
    )


def _in_router(path: Path, plan: Plan, sightings: Sequence[Sighting], missing: Waypoint) -> Finding:
    """A router got it and did not send it on: it does not know the next address, or something inside dropped it."""
    leg = path.steps[missing.step]
    assert isinstance(leg, Leg)
    asked, answered = asked_and_answered(sightings, leg.next_hop, missing)
    crossing = path.steps[missing.step - 1] if missing.step else None
    if asked and not answered:
        return _neighbour(leg, plan, sightings, missing)
    router = crossing.router if isinstance(crossing, Crossing) else None
    return Finding(
        "LOST",
        f"The packet went into {missing.namespace} and did not come out at {missing.device}.",
        Ref(kind="router", id=router.key, name=router.name, host=missing.host) if router else None,
        f"virga doctor {missing.host}",
        step=missing.step - 1,
    )


def _neighbour(leg: Leg, plan: Plan, sightings: Sequence[Sighting], missing: Waypoint) -> Finding:
    """Asked for, and not answered: did the question come to the one who is to answer?"""
    last = next((w for w in plan.waypoints if w.step == missing.step and w.end == "last"), None)
    if last is not None and leg.receiver.port is not None and not points.namespace_of(leg.receiver.port):
        asked_there = any(
            s.point == last.key and s.way == "out" and s.kind == "who-has" and _is_about(s, leg.next_hop)
            for s in sightings
        )
        if asked_there:
            back = Waypoint(last.step, last.way, last.host, last.device, last.namespace, "in", "last")
            found = guest(leg, sightings, back)
            if found.code == "GUEST_SILENT":
                return found
    wire = next(
        (w for w in plan.waypoints if w.step == missing.step and w.end == "wire" and w.direction == "in"),
        None,
    )
    if wire is not None:
        came_out = [
            w for w in plan.waypoints if w.step == missing.step and w.end == "wire" and w.direction == "out"
        ]
        left = any(
            s.point == came_out[0].key and s.kind == "who-has" and _is_about(s, leg.next_hop)
            for s in sightings
        )
        arrived = any(
            s.point == wire.key and s.kind == "who-has" and _is_about(s, leg.next_hop) for s in sightings
        )
        answer_left = asked_and_answered(sightings, leg.next_hop, wire)[1]
        answer_came = any(asked_and_answered(sightings, leg.next_hop, w)[1] for w in came_out)
        if (left and not arrived) or (answer_left and not answer_came):
            return _wire(leg, wire)
        said = any(s.point == wire.key and s.way == "out" and s.kind == "is-at" for s in sightings)
        heard = any(s.point == came_out[0].key and s.way == "in" and s.kind == "is-at" for s in sightings)
        if said and not heard:
            return _wire(leg, replace(came_out[0], direction="in"))
    code = "OUTSIDE_SILENT" if leg.receiver.outside else "ARP_UNANSWERED"
    return Finding(
        code,
        f"{missing.device} in {missing.namespace} asks who has {leg.next_hop}, and nobody answers.",
        Ref(kind="network", id=leg.network.key),
        evidence=(f"who has {leg.next_hop}: asked at {missing.place}, no answer",),
        step=missing.step,
    )
