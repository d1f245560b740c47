"""Counts what is on this host, for the configurations that ``GET /v2.0/agents`` shows."""

from __future__ import annotations

from collections.abc import Sequence

from virga.contract.items import AnyItem, DhcpNetwork, Network, Router
from virga.contract.messages import Report


class CensusManager:
    """Notes the items that the agents' pages count. Wishes for nothing."""

    name = "census"
    kinds: tuple[str, ...] = (
        "port",
        "network",
        "dhcp_network",
        "dhcp_host",
        "router",
        "floating_ip",
        "instance",
    )

    def __init__(self) -> None:
        self._items: dict[str, dict[str, AnyItem]] = {kind: {} for kind in self.kinds}

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        if item is None:
            self._items[kind].pop(key, None)
        else:
            self._items[kind][key] = item

    def resolve(self) -> None:
        """Nothing to wish for."""

    def reports(self) -> Sequence[Report]:
        return []

    def count(self, kind: str) -> int:
        return len(self._items[kind])

    def dhcp_subnets(self) -> int:
        """Subnets served by DHCP here."""
        networks = [n for n in list(self._items["dhcp_network"].values()) if isinstance(n, DhcpNetwork)]
        return sum(len([s for s in network.subnets if s.enable_dhcp]) for network in networks)

    def largest_mtu(self) -> int:
        """Of the networks here; 0 without any."""
        networks = [n for n in list(self._items["network"].values()) if isinstance(n, Network)]
        return max((network.mtu for network in networks if network.physical_network), default=0)

    def router_ports(self) -> tuple[int, int]:
        """Gateways and interfaces of the routers here."""
        routers = [r for r in list(self._items["router"].values()) if isinstance(r, Router)]
        return sum(r.gateway is not None for r in routers), sum(len(r.interfaces) for r in routers)
