"""Trunks: a bridge for each, where the VLANs that a guest tags become ports of their own on br-int."""

from __future__ import annotations

from collections.abc import Sequence

from virga.agent.drivers.interfaces import FlowWishes, LinkWishes, SwitchWishes, WantedBridge, WantedPort
from virga.agent.managers.attachment import parent_ends, sub_port_ends, trunk_bridge
from virga.contract.items import AnyItem, Port
from virga.contract.messages import Report
from virga.sdn import base_flows


class TrunkManager:
    """Wants the trunk's bridge, the guest's device on it, and its end of every patch. The other ends are ports."""

    name = "trunk"
    kinds: tuple[str, ...] = ("port",)

    def __init__(self, links: LinkWishes, switch: SwitchWishes, flows: FlowWishes) -> None:
        self._links = links
        self._switch = switch
        self._flows = flows
        self._parents: dict[str, Port] = {}
        self._made: dict[str, tuple[str, frozenset[str]]] = {}
        """Parent -> bridge and its ports."""
        self._stale: set[str] = set()

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        was = self._parents.pop(key, None)
        if isinstance(item, Port) and item.trunk_id:
            self._parents[key] = item
        if was is not None or key in self._parents:
            self._stale.add(key)

    def resolve(self) -> None:
        for key in sorted(self._stale):
            port = self._parents.get(key)
            if port is not None and not self._links.is_wanted(port.device_name):
                continue
            self._stale.discard(key)
            self._take_away(key, self._want(port) if port is not None else frozenset())

    def reports(self) -> Sequence[Report]:
        return []

    def _want(self, port: Port) -> frozenset[str]:
        bridge = trunk_bridge(port.trunk_id or "")
        before = self._made.get(port.key)
        if before is not None and before[0] != bridge:
            self._take_away(port.key, frozenset())
        self._switch.want_bridge(WantedBridge(bridge))
        self._flows.want(bridge, "base", base_flows.provider_bridge())
        outer, inner = parent_ends(port.key)
        ports = [
            WantedPort(bridge, port.device_name),
            WantedPort(bridge, outer, "patch", {"peer": inner}, tag=0, vlan_mode="access"),
        ]
        for sub in port.sub_ports:
            outer, inner = sub_port_ends(sub.port_id)
            ports.append(
                WantedPort(bridge, outer, "patch", {"peer": inner}, sub.segmentation_id, vlan_mode="access")
            )
        for each in ports:
            self._switch.want_port(each)
        names = frozenset(each.name for each in ports)
        former = self._made.get(port.key, (bridge, frozenset()))[1]
        self._made[port.key] = (bridge, names | former)
        return names

    def _take_away(self, key: str, kept: frozenset[str]) -> None:
        bridge, names = self._made.pop(key, ("", frozenset()))
        for name in sorted(names - kept):
            self._switch.unwant_port(name)
        if kept:
            self._made[key] = (bridge, kept)
        elif bridge:
            self._flows.forget(bridge)
            self._switch.unwant_bridge(bridge)
