"""Guests that can be looked into (instances of kind ``namespace``): whether they could send, and would take the answer. Pure.

The probe enters by the guest's card, past its routes and rules; so what is found here is firm.
"""

from __future__ import annotations

from collections.abc import Iterator

from virga.contract.explain import Ref
from virga.contract.items import Port
from virga.contract.trace import HostReading, LinkReading, NamespaceReading
from virga.trace import kernel_routes, netfilter
from virga.trace.model import Finding, Leg
from virga.trace.netfilter import Passing

UNANSWERED = ("FAILED", "INCOMPLETE")


def judge(there: Leg, back: Leg | None, reading: HostReading | None) -> Finding | None:
    """What in the guest itself keeps it from sending the packet of its leg, or from taking the answer."""
    port = there.sender.port
    if port is None or reading is None or there.flight.destination == "255.255.255.255":
        return None
    space = next((s for s in reading.namespaces if s.name == f"instance-{port.device_id}" and s.exists), None)
    card = next((link for link in space.links if link.mac == port.mac_address), None) if space else None
    if space is None or card is None or not card.up:
        return None
    return next(_checks(there, back, port, space, card), None)


def _checks(
    there: Leg, back: Leg | None, port: Port, space: NamespaceReading, card: LinkReading
) -> Iterator[Finding]:
    yield from _route(there, port, space, card)
    yield from _neighbour(there, port, space, card)
    yield from _rules(port, space, "OUTPUT", Passing(there.flight, "", card.name))
    if back is not None:
        yield from _rules(port, space, "INPUT", Passing(back.flight, card.name, "", is_reply=True))


def _finding(code: str, port: Port, sentence: str, evidence: tuple[str, ...]) -> Finding:
    ref = Ref(kind="server", id=port.device_id)
    return Finding(code, sentence, ref, f"virga console {port.device_id}", evidence, firm=True)


def _route(there: Leg, port: Port, space: NamespaceReading, card: LinkReading) -> Iterator[Finding]:
    flight = there.flight
    routes = kernel_routes.parse(space.routes)
    policy, found = kernel_routes.decide(routes, space.policies, flight.source, flight.destination)
    if found is None or found.kind:
        evidence = tuple(filter(None, (policy, found.line if found else "")))
        yield _finding("NO_ROUTE", port, f"The guest has no route to {flight.destination}.", evidence)
        return
    if flight.version == 6 or found.device != card.name or not found.via or there.next_hop in found.via:
        # IPv6 names routers by link-local addresses, which nobody here knows.
        return
    lost = [line for line in space.neighbours if line.split()[0] in found.via and _is_unanswered(line)]
    if lost:
        sentence = (
            f"The guest sends what is for {flight.destination} to {found.via[0]}, where nobody answers."
        )
        yield _finding("NO_ROUTE", port, sentence, (found.line, *lost))


def _is_unanswered(line: str) -> bool:
    return any(word in UNANSWERED for word in line.split())


def _neighbour(there: Leg, port: Port, space: NamespaceReading, card: LinkReading) -> Iterator[Finding]:
    """Only what was set by hand: what was learnt is learnt again."""
    for line in space.neighbours:
        words = line.split()
        if words[0] != there.next_hop or card.name not in words or "PERMANENT" not in words:
            continue
        mac = words[words.index("lladdr") + 1] if "lladdr" in words[:-1] else "nowhere"
        if there.receiver.port is not None and mac != there.destination_mac:
            sentence = (
                f"The guest was told that {there.next_hop} is at {mac}, and it is at {there.destination_mac}."
            )
            yield _finding("GUEST_FIREWALL", port, sentence, (line,))


def _rules(port: Port, space: NamespaceReading, chain: str, packet: Passing) -> Iterator[Finding]:
    for rule in netfilter.deciding(space.rules, chain, packet):
        if rule.target in netfilter.STOPS:
            what = "sends" if chain == "OUTPUT" else "is answered"
            sentence = f"The guest's own rules drop what it {what} ({rule.target})."
            yield _finding("GUEST_FIREWALL", port, sentence, (rule.text,))
