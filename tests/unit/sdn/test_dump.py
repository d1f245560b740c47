"""Flows as a switch prints them: our own come back as they were, and those of others are read as well."""

from __future__ import annotations

import pytest

from virga.sdn.dump import parse_flow
from virga.sdn.flow import Flow
from virga.sdn.match import Packet
from virga.sdn.simulate import Switch, SwitchPort

OURS = " cookie=0x29ef9be8cecc4a21, table=60, priority=90,dl_vlan=1,dl_dst=fa:16:3e:84:9a:6c actions=pop_vlan,output:7"
FOREIGN = " priority=60000,ip,nw_dst=10.71.1.4 actions=drop"
FRAME = Packet.of(
    "tcp", dl_src="fa:16:3e:00:00:01", dl_dst="fa:16:3e:00:00:02", nw_src="10.0.0.1", nw_dst="10.0.0.2"
)
PORTS = {"br-int": [SwitchPort("one", 1), SwitchPort("two", 2)]}


def test_a_flow_of_ours() -> None:
    flow = parse_flow(OURS)
    assert flow is not None
    assert (flow.table, flow.priority, flow.cookie) == (60, 90, 0x29EF9BE8CECC4A21)
    assert flow.match == "dl_vlan=1,dl_dst=fa:16:3e:84:9a:6c"


def test_a_flow_without_a_cookie_is_somebody_elses() -> None:
    assert parse_flow(FOREIGN) == Flow(
        table=0, priority=60000, match="ip,nw_dst=10.71.1.4", actions="drop", cookie=0
    )
    assert parse_flow(" table=5, priority=7 actions=drop") == Flow(
        table=5, priority=7, match="", actions="drop", cookie=0
    )


@pytest.mark.parametrize("line", ["OFPST_FLOW reply (OF1.5) (xid=0x2):", ""])
def test_what_is_no_flow(line: str) -> None:
    assert parse_flow(line) is None


def test_actions_of_others_are_passed_over_only_when_told() -> None:
    flow = Flow(table=0, priority=1, match="", actions="learn(table=9),output:2", cookie=0)
    walk = Switch({"br-int": [flow]}, PORTS, lenient=True).send("one", FRAME)
    assert (walk.reached, walk.puzzles) == ({"two"}, ["learn(table=9)"])
    with pytest.raises(ValueError, match="learn"):
        Switch({"br-int": [flow]}, PORTS).send("one", FRAME)


def test_flows_that_go_in_circles_end() -> None:
    flow = Flow(table=0, priority=1, match="", actions="resubmit(,0)", cookie=0)
    assert not Switch({"br-int": [flow]}, PORTS, lenient=True).send("one", FRAME).reached


def test_a_changed_destination_is_followed() -> None:
    change = Flow(
        table=0, priority=1, match="", actions="set_field:fa:16:3e:00:00:09->eth_dst,resubmit(,1)", cookie=0
    )
    right = Flow(table=1, priority=1, match="dl_dst=fa:16:3e:00:00:02", actions="output:2", cookie=0)
    assert not Switch({"br-int": [change, right]}, PORTS).send("one", FRAME).reached
