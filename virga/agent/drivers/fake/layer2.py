"""Namespaces, devices, switch and flows in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from virga.agent.drivers.fake.keyed import KeyedWorld
from virga.agent.drivers.interfaces import Listener, LocalVlan, WantedBridge, WantedPort
from virga.agent.drivers.links import Bridge, Tap, Veth
from virga.agent.wishes import Outcome
from virga.sdn.flow import Flow
from virga.sdn.qos_flows import Meter


class FakeNamespaces(KeyedWorld):
    """Stands in for NamespaceDriver."""

    def __init__(self) -> None:
        super().__init__("namespaces")

    def want(self, name: str, present: bool) -> None:
        self.wishes.want(name, True if present else None)


class FakeLinks(KeyedWorld):
    """Stands in for LinkDriver."""

    def __init__(self) -> None:
        super().__init__("links")

    def want_veth(
        self, name: str, peer: str, peer_namespace: str | None, mac: str | None = None, mtu: int = 1500
    ) -> None:
        self.wishes.want(name, Veth(peer, peer_namespace, mac, mtu))

    def want_tap(self, name: str, mtu: int = 1500) -> None:
        self.wishes.want(name, Tap(mtu))

    def want_bridge(self, name: str, members: Collection[str], mtu: int = 1500) -> None:
        self.wishes.want(name, Bridge(tuple(sorted(members)), mtu))

    def unwant(self, name: str) -> None:
        self.wishes.want(name, None)

    def listen(self, listener: Listener) -> None:
        self.wishes.listeners.append(listener)

    def is_wanted(self, name: str) -> bool:
        return name in self.wishes.wanted

    def realised(self, name: str) -> bool:
        return name in self.wishes.wanted and self.world.get(name) == self.wishes.wanted[name]


class FakeLeak(KeyedWorld):
    """Stands in for LeakDriver."""

    def __init__(self) -> None:
        super().__init__("leak")

    def want(self, device: str, closed: bool) -> None:
        self.wishes.want(device, True if closed else None)


class FakeSwitch(KeyedWorld):
    """Stands in for SwitchDriver: gives OpenFlow numbers in the order of arrival."""

    def __init__(self) -> None:
        super().__init__("ovsdb")
        self._ofports: dict[str, int] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def changed(self, key: str) -> None:
        for listener in self._listeners:
            listener(key)

    def want_bridge(self, wanted: WantedBridge) -> None:
        self.wishes.want(wanted.name, wanted)

    def unwant_bridge(self, name: str) -> None:
        self.wishes.want(name, None)

    def want_port(self, wanted: WantedPort) -> None:
        self.wishes.want(wanted.name, wanted)

    def unwant_port(self, name: str) -> None:
        self.wishes.want(name, None)

    def ofport(self, name: str) -> int | None:
        if name not in self.world:
            return None
        return self._ofports.setdefault(name, len(self._ofports) + 1)

    def local_vlans(self) -> Iterable[LocalVlan]:
        ports = [port for port in self.world.values() if isinstance(port, WantedPort)]
        return [
            LocalVlan(port.other_config["net_uuid"], int(port.other_config["tag"]))
            for port in ports
            if "net_uuid" in port.other_config
        ]


class FakeFlows(KeyedWorld):
    """Stands in for FlowDriver: keeps the flows of each owner of each bridge."""

    def __init__(self) -> None:
        super().__init__("flows")
        self.forgotten: list[tuple[str, int]] = []
        self.meters: dict[tuple[str, str], tuple[Meter, ...]] = {}

    def want(self, bridge: str, owner: str, flows: Iterable[Flow]) -> None:
        self.wishes.want(f"{bridge} {owner}", tuple(flows) or None)

    def want_meters(self, bridge: str, owner: str, meters: Iterable[Meter]) -> None:
        self.meters[bridge, owner] = tuple(meters)

    def forget(self, bridge: str) -> None:
        for key in [key for key in self.wishes.wanted if key.startswith(f"{bridge} ")]:
            self.wishes.want(key, None)

    def forget_connections(self, bridge: str, zone: int) -> None:
        self.forgotten.append((bridge, zone))

    def owner_outcome(self, bridge: str, owner: str) -> Outcome:
        return self.wishes.outcome(f"{bridge} {owner}")


class FakeKeyed(KeyedWorld):
    """Stands in for any driver that is told a value by key."""

    def want(self, key: str, value: object | None) -> None:
        self.wishes.want(key, value)

    def wanted(self) -> list[str]:
        return list(self.wishes.wanted)
