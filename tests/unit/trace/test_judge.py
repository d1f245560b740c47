"""From evidence to verdict: who is named, and who never is."""

from __future__ import annotations

from typing import Any

from virga.contract.items import Network, Port
from virga.contract.trace import Mark, Shot, Sighting
from virga.trace.judge import Facts, judge
from virga.trace.model import ICMP, Finding, Flight, Leg, Path, Spot
from virga.trace.points import Waypoint
from virga.trace.probing import Plan

NET = Network(key="net", network_type="vlan", physical_network="physnet1", segmentation_id=7)
ONE, TWO = (
    Port(key=f"{n}{n}", network_id="net", mac_address=f"fa:00:00:00:00:0{n}", device_name=f"tap{n}",
         device_owner="compute:nova", device_id=f"vm{n}")
    for n in (1, 2)
)  # fmt: skip
FLIGHT = Flight(4, ICMP, "10.0.0.1", "10.0.0.2")
THERE = Leg(
    "there", NET, Spot("h1", ONE), Spot("h2", TWO), FLIGHT, ONE.mac_address, TWO.mac_address, "10.0.0.2"
)
BACK = Leg(
    "back",
    NET,
    Spot("h2", TWO),
    Spot("h1", ONE),
    FLIGHT.turned(),
    TWO.mac_address,
    ONE.mac_address,
    "10.0.0.1",
)
PATH = Path([THERE], [BACK])
WAY: list[tuple[int, Any, str, str, Any, Any]] = [
    (0, "there", "h1", "tap1", "in", "first"),
    (0, "there", "h1", "eth1", "out", "wire"),
    (0, "there", "h2", "eth1", "in", "wire"),
    (0, "there", "h2", "tap2", "out", "last"),
    (1, "back", "h2", "tap2", "in", "first"),
    (1, "back", "h2", "eth1", "out", "wire"),
    (1, "back", "h1", "eth1", "in", "wire"),
    (1, "back", "h1", "tap1", "out", "last"),
]
WAYPOINTS = [
    Waypoint(step, way, host, device, "", direction, end) for step, way, host, device, direction, end in WAY
]
PLAN = Plan(
    host="h1",
    marks=[Mark(key="small"), Mark(key="big")],
    waypoints=WAYPOINTS,
    sizes={"small": 60, "big": 1500},
)


def seen(count: int, mark: str = "small", last: str = "reply") -> list[Sighting]:
    """The mark at the first so many places."""
    return [
        Sighting(
            point=w.key, at=float(n), way=w.direction, mark=mark, kind="request" if w.way == "there" else last
        )
        for n, w in enumerate(WAYPOINTS[:count])
    ]


def said(
    count: int, big: int | None = None, last: str = "reply", more: list[Sighting] | None = None, **facts: Any
) -> Finding:
    sightings = [*seen(count, last=last), *seen(count if big is None else big, "big"), *(more or [])]
    return judge(Facts(PATH, plan=PLAN, sightings=sightings, probed=True, **facts))


DRIFT = Finding("DRIFT", "a flow is missing", step=0)


def test_what_arrived_is_never_accused_whatever_else_was_found() -> None:
    found = said(8, certain=[DRIFT], suspects=[DRIFT], unread={"h2": "silent"})
    assert (found.code, found.reachable) == ("REACHABLE", True)
    assert any("DRIFT" in line for line in found.evidence)


def test_intent_comes_before_everything() -> None:
    assert said(8, intent=Finding("SG_NO_MATCH", "no rule")).code == "SG_NO_MATCH"


def test_what_hosts_hold_comes_before_what_was_seen() -> None:
    assert said(2, certain=[DRIFT]).code == "DRIFT"
    assert said(2, certain=[DRIFT, Finding("LINK_DOWN", "eth1", step=0)]).code == "LINK_DOWN"


def test_the_place_where_it_was_lost_names_the_culprit() -> None:
    assert said(2).code == "VLAN_NOT_TRUNKED"
    assert said(6).code == "VLAN_NOT_TRUNKED"
    assert said(1).code == "LOST"
    assert said(3).code == "LOST"


def test_a_guest_that_answers_for_its_address_has_a_firewall_and_one_that_does_not_is_silent() -> None:
    answer = Sighting(point="h2//tap2", at=9.0, way="in", kind="is-at", source="10.0.0.2")
    assert said(4, more=[answer]).code == "GUEST_FIREWALL"
    assert said(4).code == "GUEST_SILENT"
    elsewhere = Sighting(point="h1//tap1", at=9.0, way="out", kind="is-at", source="10.0.0.2")
    assert said(4, more=[elsewhere]).code == "GUEST_SILENT"


def test_only_large_packets_are_lost() -> None:
    assert said(8, big=3).code == "MTU_BLACKHOLE"
    assert said(8, big=4).code == "REACHABLE", "a guest need not answer large packets"
    assert said(8, big=6).code == "MTU_BLACKHOLE"


def test_a_refusal_counts_only_from_the_destination() -> None:
    assert said(8, last="refusal").code == "CONNECTION_REFUSED"
    rejected = [*seen(2), Sighting(point="h1//tap1", at=3.0, way="out", mark="small", kind="refusal")]
    facts = Facts(PATH, plan=PLAN, sightings=rejected, probed=True)
    assert judge(facts).code == "VLAN_NOT_TRUNKED"


def test_two_who_answer_for_one_address() -> None:
    both = [
        Sighting(point="h1//tap1", at=1.0, way="out", kind="is-at", source="10.0.0.2", macs=[mac, ""])
        for mac in (TWO.mac_address, "fa:00:00:00:00:99")
    ]
    assert said(8, more=both).code == "ADDRESS_DUPLICATE"
    assert said(8, more=both[:1]).code == "REACHABLE"


def test_an_answer_to_another_question_is_none() -> None:
    plan = Plan(
        host="h1",
        marks=PLAN.marks,
        waypoints=WAYPOINTS,
        sizes=PLAN.sizes,
        shots=[Shot(key="question", frame="")],
    )
    codes = []
    for asker in (ONE.mac_address, "02:00:00:00:00:99"):
        answer = Sighting(
            point="h1//tap1",
            at=1.0,
            way="out",
            kind="is-at",
            source="10.0.0.2",
            macs=[TWO.mac_address, asker],
        )
        sightings = [*seen(8), *seen(8, "big"), answer]
        codes.append(judge(Facts(PATH, plan=plan, sightings=sightings, probed=True)).code)
    assert codes == ["REACHABLE", "ARP_UNANSWERED"]


def test_a_host_that_does_not_answer_is_told_and_nobody_is_accused() -> None:
    quiet = judge(Facts(PATH, unread={"h2": "timeout"}))
    assert (quiet.code, quiet.reachable) == ("AGENT_STALE", None)
    lost = said(2, unread={"h2": "timeout"})
    assert (lost.code, lost.reachable) == ("AGENT_STALE", False)


def test_without_a_probe_only_what_is_certain_counts() -> None:
    assert judge(Facts(PATH, suspects=[DRIFT])).code == "REACHABLE"
    assert judge(Facts(PATH, certain=[DRIFT])).code == "DRIFT"


def test_what_is_firm_stands_against_an_answer() -> None:
    wrong_line = Finding("NO_DHCP_LEASE", "another address", firm=True, step=0)
    assert said(8, certain=[wrong_line]).code == "NO_DHCP_LEASE"
    no_way = Finding("NO_ROUTE", "the guest has no route", firm=True, step=1)
    assert said(3, certain=[no_way, Finding("LINK_DOWN", "tap2 is down", step=0)]).code == "LINK_DOWN"
