"""Puts an agent together: which managers, which drivers, in which order. The only place that knows all of them.

Driver order: namespaces, links, leak, ipsets, bridge rules, recheck, ovsdb, flows, shapers, addresses, iptables, dnsmasq, radvd,
haproxy, conntrack, targets, instances. Creates go down this list, removals go up.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

import virga
from virga.agent.calls import CallDispatcher, CallRegistry
from virga.agent.captures import Captures, Hops
from virga.agent.config import AgentConfig
from virga.agent.drivers.capture_hops import CaptureHops
from virga.agent.drivers.fake.capture import FakeHops
from virga.agent.drivers.fake.layer2 import (
    FakeFlows,
    FakeKeyed,
    FakeLeak,
    FakeLinks,
    FakeNamespaces,
    FakeSwitch,
)
from virga.agent.drivers.flows import FlowDriver
from virga.agent.drivers.guest_kind import PortsReady
from virga.agent.drivers.interfaces import (
    FlowWishes,
    LeakWishes,
    LinkWishes,
    NamespaceWishes,
    ShaperWishes,
    SwitchWishes,
)
from virga.agent.drivers.ipsets import IpsetDriver
from virga.agent.drivers.iptables import IptablesDriver
from virga.agent.drivers.leak import LeakDriver
from virga.agent.drivers.links import LinkDriver
from virga.agent.drivers.namespaces import NamespaceDriver
from virga.agent.drivers.ovsdb import SwitchDriver
from virga.agent.drivers.recheck import RecheckDriver
from virga.agent.drivers.shapers import ShaperDriver
from virga.agent.examine.calls import Examiner
from virga.agent.feed import BusFeed, CallFailed, Connection, FileFeed
from virga.agent.heartbeat import HeartbeatSender
from virga.agent.instance_parts import instance_parts
from virga.agent.loop import Loop
from virga.agent.managers.census import CensusManager
from virga.agent.managers.hybrid import HybridDrivers, HybridManager
from virga.agent.managers.network import NetworkManager
from virga.agent.managers.plug import PlugManager
from virga.agent.managers.port import PortManager
from virga.agent.managers.security_group import SecurityGroupManager
from virga.agent.managers.trunk import TrunkManager
from virga.agent.metadata import MetadataServer, Unreachable
from virga.agent.protocol import Difference, Driver, Manager
from virga.agent.trace_calls import TraceCalls
from virga.agent.volume_parts import volume_parts
from virga.agent.wiring_layer3 import layer3, layer3_managers, metadata_socket
from virga.contract.calls import CheckHost, HostDifference, MetadataAnswer, MetadataRequest
from virga.contract.messages import AnyMessage, Resources
from virga.lib.log import log_for

log = log_for(__name__)

CHECK_S = 60.0


@dataclass(slots=True)
class Outlet:
    """What managers and drivers may use of the agent that is being built around them."""

    registry: CallRegistry = field(default_factory=CallRegistry)
    feed: BusFeed | None = None
    loop: Loop | None = None
    resources: Callable[[], Resources | None] = lambda: None
    ports_ready: PortsReady = lambda port_ids: None
    """Set by whoever wires ports. Until then no instance runs: a port without its filter must not forward."""

    def are_ports_ready(self, port_ids: Sequence[str]) -> bool | None:
        return True if not port_ids else self.ports_ready(port_ids)

    def wake(self) -> None:
        if self.loop is not None:
            self.loop.wake()

    def wake_for_repair(self, config: AgentConfig) -> Callable[[], None]:
        """What a driver calls when others changed its subsystem."""
        return self.wake if config.repair else _let_be

    def send(self, message: AnyMessage) -> None:
        if self.feed is not None:
            self.feed.send(message)

    def ask_metadata(self, request: MetadataRequest) -> MetadataAnswer:
        """What the control plane answers to a guest."""
        if self.feed is None:
            raise Unreachable("this agent runs without a control plane")
        try:
            answer: MetadataAnswer = self.feed.call("metadata.get", request, MetadataAnswer)
        except CallFailed as error:
            raise Unreachable(str(error)) from error
        return answer


def _let_be() -> None:
    """Leave what was changed as it is until there is news."""


@dataclass(frozen=True, slots=True)
class Layer2:
    """The drivers that everything else stands on."""

    namespaces: NamespaceWishes
    links: LinkWishes
    leak: LeakWishes
    switch: SwitchWishes
    flows: FlowWishes
    shapers: ShaperWishes
    hybrid: HybridDrivers

    def in_order(self) -> list[Driver]:
        """The rules of Linux bridges are in force before br-int takes anything from them."""
        under = [self.namespaces, self.links, self.leak]
        return [*under, *self.hybrid.in_order(), self.switch, self.flows, self.shapers]


@dataclass(frozen=True, slots=True)
class Parts:
    """All that does the work of one agent."""

    managers: list[Manager]
    drivers: list[Driver]
    census: CensusManager


class Agent:
    """A running host: the loop, its feed, its calls and its heartbeat, each in a thread."""

    def __init__(self, config: AgentConfig, parts: Parts, outlet: Outlet) -> None:
        self._config = config
        self.outlet = outlet
        self.parts = parts
        self.loop = Loop(parts.managers, parts.drivers, outlet.send, resync_every_s=config.resync_every_s)
        outlet.loop = self.loop
        outlet.registry.register("agent.check", CheckHost, self._check)
        TraceCalls(config, lambda: outlet.loop).register(outlet.registry)
        self.captures = Captures(capture_hops(config))
        self.captures.register(outlet.registry)
        self.examiner = Examiner(config, parts.census.largest_mtu)
        self.examiner.register(outlet.registry, self.loop.ask_resync)
        self.calls = CallDispatcher(outlet.registry, outlet.send)
        self.heartbeat = HeartbeatSender(config, parts.census, outlet.send, lambda: outlet.resources())
        self.file_feed: FileFeed | None = None
        self.metadata: MetadataServer | None = None

    def start(self, connect: Callable[[], Connection] | None = None) -> None:
        """Start the feed and the heartbeat in threads; ``run`` then is the loop."""
        if "metadata" in self._config.roles and self._config.drivers != "fake":
            self.metadata = MetadataServer(metadata_socket(self._config), self.outlet.ask_metadata)
            self.metadata.start()
        self.examiner.start()
        self.captures.begin()
        if self._config.state_file:
            file_feed = self.file_feed = FileFeed(Path(self._config.state_file))
            _thread("feed", lambda: file_feed.run(self.loop))
            return
        if connect is None:
            feed = BusFeed.over_socket(self._config.host, Path(self._config.bus), virga.__version__)
        else:
            feed = BusFeed(self._config.host, connect, virga.__version__)
        self.outlet.feed = feed
        _thread("feed", lambda: feed.run(self.loop, self.calls.dispatch, self.heartbeat.soon))
        _thread("heartbeat", self.heartbeat.run)

    def _check(self, _: CheckHost) -> list[HostDifference]:
        """What differs on this host from what should be; nothing is changed."""
        answer: queue.SimpleQueue[list[Difference]] = queue.SimpleQueue()
        self.loop.ask_differences(answer.put)
        return [
            HostDifference(driver=d.driver, key=d.key, kind=d.kind, wanted=d.wanted, actual=d.actual)
            for d in answer.get(timeout=CHECK_S)
        ]

    def run(self) -> None:
        """The loop, until ``stop``."""
        self.loop.run()

    def stop(self) -> None:
        """End the agent. The host stays as it is."""
        self.loop.stop()
        self.heartbeat.stop()
        self.calls.close()
        self.captures.close()
        if self.metadata is not None:
            self.metadata.stop()
        for feed in (self.outlet.feed, self.file_feed):
            if feed is not None:
                feed.stop()


def _thread(name: str, target: Callable[[], None]) -> None:
    threading.Thread(target=target, name=name, daemon=True).start()


def build(config: AgentConfig) -> Agent:
    """An agent as its configuration says."""
    outlet = Outlet()
    layer2 = fake_layer2() if config.drivers == "fake" else real_layer2(config, outlet)
    return Agent(config, assemble(config, layer2, outlet), outlet)


def assemble(config: AgentConfig, layer2: Layer2, outlet: Outlet) -> Parts:
    """Managers and drivers in order."""
    census = CensusManager()
    networks = NetworkManager(config, layer2.leak, layer2.switch, layer2.flows)
    groups = SecurityGroupManager(config.integration_bridge, layer2.flows)
    hybrid = HybridManager(networks, groups, layer2.hybrid, config.plug == "hybrid")
    ports = PortManager(networks, groups, layer2, hybrid.outcome)
    outlet.ports_ready = ports.are_ready
    upper = layer3(config, outlet.wake, outlet.wake_for_repair(config))
    managers: list[Manager] = [
        census,
        PlugManager(layer2.namespaces, layer2.links),
        networks,
        groups,
        hybrid,
        TrunkManager(layer2.links, layer2.switch, layer2.flows),
        ports,
        *layer3_managers(config, layer2.namespaces, layer2.links, upper),
    ]
    drivers = [*layer2.in_order(), *upper.in_order()]
    room: Callable[[], tuple[float, float]] | None = None
    if "volume" in config.roles:
        volumes = volume_parts(config, outlet.registry, outlet.wake)
        room = volumes.room
        managers.append(volumes.manager)
        drivers.append(volumes.driver)
    if "compute" in config.roles:
        instances = instance_parts(config, outlet.registry, outlet.wake, outlet.are_ports_ready)
        outlet.resources = with_pool(instances.resources, room)
        managers.append(instances.manager)
        drivers.append(instances.driver)
    return Parts(managers=managers, drivers=drivers, census=census)


def with_pool(
    resources: Callable[[], Resources], room: Callable[[], tuple[float, float]] | None
) -> Callable[[], Resources]:
    """What a host offers, with the room of its pool where it serves volumes."""
    if room is None:
        return resources

    def both() -> Resources:
        total, free = room()
        known: Resources = msgspec.structs.replace(resources(), pool_total_gb=total, pool_free_gb=free)
        return known

    return both


def capture_hops(config: AgentConfig) -> Hops:
    if config.drivers == "fake":
        return FakeHops()
    return CaptureHops(Path(config.directory), config.ovsdb_socket)


def fake_layer2() -> Layer2:
    hybrid = HybridDrivers(FakeKeyed("ipsets"), FakeKeyed("bridge rules"), FakeKeyed("recheck"))
    return Layer2(
        FakeNamespaces(), FakeLinks(), FakeLeak(), FakeSwitch(), FakeFlows(), FakeKeyed("shapers"), hybrid
    )


def real_layer2(config: AgentConfig, outlet: Outlet) -> Layer2:
    return Layer2(
        namespaces=NamespaceDriver(),
        links=LinkDriver(),
        leak=LeakDriver(),
        switch=SwitchDriver(
            config.ovsdb_socket,
            outlet.wake,
            config.facts.datapath_type,
            on_change=outlet.wake_for_repair(config),
        ),
        flows=FlowDriver(Path(config.ovs_directory), outlet.wake),
        shapers=ShaperDriver(),
        hybrid=HybridDrivers(IpsetDriver(), IptablesDriver(config.facts.iptables), RecheckDriver()),
    )
