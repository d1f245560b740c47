"""Managers over drivers in memory: the flows they keep by increments are those that a whole host compiles to."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.lib.l2_world import (
    GROUP_ID,
    NETWORK,
    Guest,
    group,
    numbered,
    out_all,
    ping_in,
    rule,
    tcp_in,
)
from virga.agent.config import AgentConfig
from virga.agent.drivers.interfaces import WantedPort
from virga.agent.managers.network import NetworkManager
from virga.agent.wiring import Agent, build
from virga.contract.items import AddressGroup, AnyItem, Network, Port
from virga.contract.messages import Report, State
from virga.sdn.flowset import FlowSet
from virga.sdn.host import Placement, compile_host
from virga.sdn.tables import DEAD_VLAN

A, B, C = Guest(1), Guest(2), Guest(3)
OTHER = numbered("b", 1)
ADDRESSES = AddressGroup(key=numbered("f", 1), addresses=["10.0.0.0/8"])
WEB = group(
    *out_all(), tcp_in(3, 22), ping_in(4, remote_group_id=GROUP_ID), tcp_in(5, 80, 90, remote_group_id=OTHER)
)
BACK = group(*out_all(20), rule(22, "ingress", remote_group_id=GROUP_ID), key=OTHER)


class Bench:
    """An agent with drivers in memory, stepped by hand."""

    def __init__(self, directory: Path, former: Bench | None = None) -> None:
        config = AgentConfig(
            host="host1",
            directory=str(directory),
            bus=str(directory / "bus.sock"),
            drivers="fake",
            roles=["network"],
            bridge_mappings={"physnet1": "br-eth1"},
        )
        self.agent: Agent = build(config)
        self.drivers: dict[str, Any] = {driver.name: driver for driver in self.agent.parts.drivers}
        self.reports: dict[str, Report] = {}
        self.agent.loop._send = lambda reports: self.reports.update({r.key: r for r in reports.reports})
        self.items: dict[str, AnyItem] = {}
        self.revision = 0
        if former is not None:
            for name, driver in self.drivers.items():
                driver.__dict__.update(
                    {k: v for k, v in former.drivers[name].__dict__.items() if k in ("world", "_ofports")}
                )
                driver.writes = 0

    def full(self) -> None:
        self.revision += 1
        self.offer(State(epoch="e", revision=self.revision, full=True, items=list(self.items.values())))

    def offer(self, state: State) -> None:
        self.agent.loop.offer(state)
        self.agent.loop.step()

    def put(self, *items: AnyItem) -> None:
        self.items |= {item.key: item for item in items}
        self.revision += 1
        self.offer(State(epoch="e", revision=self.revision, items=list(items)))

    def remove(self, *items: AnyItem) -> None:
        for item in items:
            self.items.pop(item.key, None)
        self.revision += 1
        gone = [(str(item.__struct_config__.tag), item.key) for item in items]
        self.offer(State(epoch="e", revision=self.revision, removed=gone))

    def kept(self) -> dict[str, set[str]]:
        """Bridge to its flows as the agent keeps them."""
        sets: dict[str, FlowSet] = {}
        for key, flows in self.drivers["flows"].world.items():
            bridge, _, owner = key.partition(" ")
            sets.setdefault(bridge, FlowSet()).put(owner, flows)
        return {bridge: {str(flow) for flow in found.flows()} for bridge, found in sets.items()}

    def expected(self) -> dict[str, set[str]]:
        """The same from the pure compilation of all items."""
        networks: NetworkManager = next(m for m in self.agent.parts.managers if isinstance(m, NetworkManager))
        switch = self.drivers["ovsdb"]
        ports = [item for item in self.items.values() if isinstance(item, Port)]
        placement = Placement(
            {n.key: networks.tag(n.key) for n in self.items.values() if isinstance(n, Network)},
            {port.key: number for port in ports if (number := switch.ofport(port.device_name))},
            dict(networks._uplinks),
        )
        compiled = compile_host(self.items.values(), placement)
        return {bridge: {str(flow) for flow in found.flows()} for bridge, found in compiled.items()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def everything() -> list[AnyItem]:
    guests = [A, B, C, Guest(4, groups=(OTHER,)), Guest(5, groups=(GROUP_ID, OTHER))]
    members = [guest.member(g) for guest in guests for g in guest.groups]
    return [NETWORK, WEB, BACK, ADDRESSES, *(guest.port for guest in guests), *members]


@pytest.mark.parametrize("seed", range(8))
def test_increments_and_whole_compilation_agree_on_any_road(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    bench.full()
    pool = everything()
    variants: list[AnyItem] = [
        *pool,
        group(*out_all(), tcp_in(3, 443), tcp_in(6, 25, remote_address_group_id=ADDRESSES.key)),
        msgspec.structs.replace(ADDRESSES, addresses=["10.1.0.0/16"]),
        Guest(1, changes={"port_security_enabled": False, "security_group_ids": []}).port,
        Guest(2, changes={"admin_state_up": False}).port,
        msgspec.structs.replace(NETWORK, segmentation_id=321),
    ]
    for _ in range(40):
        item = chance.choice(variants)
        if item.key in bench.items and item.key != NETWORK.key and chance.random() < 0.4:
            bench.remove(bench.items[item.key])
        else:
            bench.put(item)
    bench.put(NETWORK)
    assert bench.kept() == bench.expected()


def test_a_restarted_agent_keeps_tags_and_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    second = Network(
        key=numbered("d", 2), network_type="vlan", physical_network="physnet1", segmentation_id=7
    )
    bench.items = {item.key: item for item in [second, Guest(9, network_id=second.key).port, *everything()]}
    bench.full()
    again = Bench(tmp_path, former=bench)
    again.items = dict(reversed(bench.items.items()))
    again.full()
    assert again.kept() == bench.kept()
    assert {name: driver.writes for name, driver in again.drivers.items() if driver.writes} == {}


def test_a_port_is_active_when_device_switch_and_flows_are_so(bench: Bench) -> None:
    bench.full()
    bench.put(A.port)
    assert (bench.reports[A.port.key].status, bench.reports[A.port.key].reason) == (
        "DOWN",
        "its network is not known here yet",
    )
    bench.put(NETWORK, WEB, A.member())
    assert bench.reports[A.port.key].status == "ACTIVE"


def test_a_port_whose_flows_are_refused_is_closed_and_says_why(bench: Bench) -> None:
    bench.full()
    bench.drivers["flows"].failing[f"br-int port/{A.port.key}"] = "no such field"
    bench.put(NETWORK, WEB, A.member(), A.port, B.port)
    assert (bench.reports[A.port.key].status, bench.reports[A.port.key].reason) == ("ERROR", "no such field")
    assert bench.reports[B.port.key].status == "ACTIVE"
    bench.agent.loop.wake()
    bench.agent.loop.step()

    def tag() -> int | None:
        port: WantedPort = bench.drivers["ovsdb"].world[A.port.device_name]
        return port.tag

    assert tag() == DEAD_VLAN
    bench.drivers["flows"].failing.clear()
    for _ in range(3):
        bench.agent.loop.wake()
        bench.agent.loop.step()
    assert tag() == 1
    assert bench.reports[A.port.key].status == "ACTIVE"


def test_a_failing_device_is_reported_and_others_go_on(bench: Bench) -> None:
    bench.full()
    bench.drivers["links"].failing[A.port.device_name] = "no room for devices"
    bench.put(NETWORK, WEB, A.port, B.port)
    assert bench.reports[A.port.key].reason == "no room for devices"
    assert bench.reports[B.port.key].status == "ACTIVE"


def test_everything_of_a_removed_port_goes(bench: Bench) -> None:
    bench.full()
    before = {name: dict(driver.world) for name, driver in bench.drivers.items()}
    bench.put(*everything())
    bench.remove(*everything())
    assert {name: dict(driver.world) for name, driver in bench.drivers.items()} == before


def test_a_port_that_goes_down_leaves_no_flow_though_the_switch_does_not_know_it(bench: Bench) -> None:
    bench.full()
    bench.put(NETWORK, WEB, A.port, B.port)
    bench.drivers["links"].want_tap(A.port.device_name)
    bench.agent.loop.wake()
    bench.agent.loop.step()
    flows = bench.drivers["flows"].world
    owner = f"br-int port/{A.port.key}"
    assert bench.reports[A.port.key].status == "ACTIVE" and flows[owner]
    bench.drivers["ovsdb"].ofport = lambda name: None
    bench.put(Guest(1, changes={"admin_state_up": False}).port)
    assert not flows.get(owner)
    assert bench.reports[A.port.key].status == "DOWN"
