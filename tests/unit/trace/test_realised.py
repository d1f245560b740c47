"""Real flows against meant ones, along a path: the flow at fault is named, whatever it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.lib.l2_world import GROUP_ID, NETWORK, Guest, group, out_all, ping_in
from virga.contract.items import AnyItem
from virga.contract.trace import HostReading, SwitchPortReading
from virga.desired.facts import NetworkFact
from virga.sdn import tables as t
from virga.sdn.flow import Flow
from virga.sdn.host import Placement, compile_host
from virga.sdn.network_flows import Uplink
from virga.trace import intent, realised, switching
from virga.trace.model import ICMP, Finding, Flight, Leg, Path, Spot
from virga.trace.world import World

A, B = Guest(1), Guest(2)
TAG, UPLINK = 5, Uplink("physnet1", "br-eth1", 1, 2)
ITEMS: list[AnyItem] = [
    NETWORK, group(*out_all(), ping_in(3)), A.port, B.port, A.member(GROUP_ID), B.member(GROUP_ID)
]  # fmt: skip
Change = Callable[[list[Flow]], list[Flow]]


def world(*hosts: str) -> World:
    """Guest A on the first host, B on the last."""
    found: dict[str, dict[tuple[str, str], AnyItem]] = {}
    for number, host in enumerate(hosts):
        own = {A.port.key} if number == 0 else set()
        own |= {B.port.key} if number == len(hosts) - 1 else set()
        found[host] = {
            (str(type(i).__struct_config__.tag), i.key): i
            for i in ITEMS
            if i.key in own or i not in (A.port, B.port)
        }
    fact = NetworkFact(NETWORK.key, 1450, "", "vlan", "physnet1", 100, None)
    return World(hosts=found, networks={NETWORK.key: fact}, subnets={}, ports={}, routers={}, floating={})


def leg(*hosts: str) -> Leg:
    flight = Flight(4, ICMP, A.address, B.address)
    return Leg(
        "there", NETWORK, Spot(hosts[0], A.port), Spot(hosts[-1], B.port), flight, A.mac, B.mac, B.address
    )


def dumped(flow: Flow) -> str:
    """As ovs-ofctl prints it."""
    match = f",{flow.match}" if flow.match else ""
    return f" cookie={flow.cookie:#x}, table={flow.table}, priority={flow.priority}{match} actions={flow.actions}"


def reading(
    here: World, host: str, change: Change = lambda flows: flows, bridge: str = "br-int"
) -> HostReading:
    """A host whose switch holds what is meant, but for ``change`` on one bridge."""
    items = here.compiled(host, [NETWORK.key])
    guests = [g for g in (A, B) if g.port in items]
    placement = Placement(
        {NETWORK.key: TAG}, {g.port.key: 10 + g.number for g in guests}, {"physnet1": UPLINK}
    )
    flows = {name: of.flows() for name, of in compile_host(items, placement).items()}
    flows[bridge] = change(flows[bridge])
    ports = [
        SwitchPortReading(bridge="br-int", name="int-br-eth1", ofport=1, type="patch", peer="phy-br-eth1"),
        SwitchPortReading(bridge="br-eth1", name="phy-br-eth1", ofport=2, type="patch", peer="int-br-eth1"),
        SwitchPortReading(bridge="br-eth1", name="eth1", ofport=3),
        *(
            SwitchPortReading(
                bridge="br-int", name=g.port.device_name, ofport=10 + g.number, tag=TAG, wanted_tag=TAG,
                network_id=NETWORK.key, port_id=g.port.key,
            )
            for g in guests
        ),
    ]  # fmt: skip
    return HostReading(
        host=host,
        flows={name: [dumped(flow) for flow in of] for name, of in flows.items()},
        ports=ports,
        bridge_mappings={"physnet1": "br-eth1"},
        bridge_nics={"br-eth1": ["eth1"]},
    )


def judged(here: World, readings: dict[str, HostReading], path: Leg) -> tuple[bool, Finding | None]:
    whole = realised.build(here, readings, [NETWORK.key])
    packet = switching.packet_of(path.flight, path.source_mac, path.destination_mac, reply=False)
    passage, found = realised.judge_leg(whole, readings, path, packet)
    return passage.arrived, found or realised.judge_question(whole, readings, path)


@pytest.mark.parametrize("hosts", [("h1",), ("h1", "h2")])
def test_what_is_meant_is_not_accused(hosts: tuple[str, ...]) -> None:
    here = world(*hosts)
    assert judged(here, {host: reading(here, host) for host in hosts}, leg(*hosts)) == (True, None)
    assert intent.judge(here, Path([leg(*hosts)]), leg(*hosts).flight)[0] is None


def without(table: int, text: str) -> Change:
    return lambda flows: [f for f in flows if not (f.table == table and text in f.match)]


def with_one(flow: Flow) -> Change:
    return lambda flows: [*flows, flow]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without(t.TRANSIENT, "in_port=11"), "missing in table 60"),
        (without(t.EGRESS_BASE, "ip,"), "missing in table 71"),
        (without(t.EGRESS_BASE, "arp,"), "missing in table 71"),
        (without(t.EGRESS_RULES, ""), "missing in table 72"),
        (without(t.EGRESS_ACCEPTED_LOOKUP, B.mac), "missing in table 73"),
        (without(t.INGRESS_RULES, "icmp"), "table 82"),
        (without(t.INGRESS_ACCEPTED, ""), "missing in table 92"),
        (with_one(Flow(0, 60000, f"ip,nw_dst={B.address}", "drop")), "foreign flow in table 0"),
        (with_one(Flow(60, 60000, "icmp", "output:99")), "foreign flow in table 60"),
        (with_one(Flow(0, 60000, "arp,in_port=11", "drop")), "foreign flow in table 0"),
    ],
)
def test_a_flow_that_is_not_as_it_should_be_is_named(change: Change, says: str) -> None:
    here = world("h1")
    _, found = judged(here, {"h1": reading(here, "h1", change)}, leg("h1"))
    assert found is not None
    assert found.code == "DRIFT"
    assert says in found.sentence
    assert found.culprit is not None
    assert found.culprit.host == "h1"


def test_a_flow_that_is_not_on_the_path_is_nobodys_fault() -> None:
    here = world("h1")
    change = with_one(Flow(0, 60000, "ip,nw_dst=10.99.0.1", "drop"))
    assert judged(here, {"h1": reading(here, "h1", change)}, leg("h1")) == (True, None)


def test_a_wrong_translation_on_the_far_host_is_a_wrong_tag() -> None:
    here = world("h1", "h2")

    def wrong(flows: list[Flow]) -> list[Flow]:
        return [
            Flow(
                f.table,
                f.priority,
                f.match,
                f.actions.replace(f"set_field:{4096 + TAG}", "set_field:4195"),
                f.cookie,
            )
            for f in flows
        ]

    readings = {"h1": reading(here, "h1"), "h2": reading(here, "h2", wrong)}
    _, found = judged(here, readings, leg("h1", "h2"))
    assert found is not None
    assert found.code == "WRONG_LOCAL_TAG"
    assert found.culprit is not None
    assert found.culprit.host == "h2"


def test_a_changed_tag_of_a_port_is_named() -> None:
    here = world("h1", "h2")
    before = reading(here, "h1")
    ports = [replace(p, tag=77) if p.name == A.port.device_name else p for p in before.ports]
    _, found = judged(here, {"h1": replace(before, ports=ports), "h2": reading(here, "h2")}, leg("h1", "h2"))
    assert found is None or found.code == "WRONG_LOCAL_TAG"


def test_a_port_that_was_taken_off_the_switch_is_named() -> None:
    here = world("h1")
    before = reading(here, "h1")
    ports = [p for p in before.ports if p.name != B.port.device_name]
    _, found = judged(here, {"h1": replace(before, ports=ports)}, leg("h1"))
    assert found is not None
    assert B.port.device_name in found.sentence


def test_flows_that_cannot_be_understood_do_not_break_the_explanation() -> None:
    here = world("h1")
    strange = " cookie=0x0, table=0, priority=9,tun_id=0x5,in_port=44 actions=learn(table=3),NORMAL"
    before = reading(here, "h1")
    flows = {**before.flows, "br-int": [*before.flows["br-int"], strange]}
    assert judged(here, {"h1": replace(before, flows=flows)}, leg("h1")) == (True, None)
