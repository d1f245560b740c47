"""Metadata proxies: a haproxy in each router's namespace, and in each network's that no router serves."""

from __future__ import annotations

from collections.abc import Sequence

from virga.agent.drivers.configured import Configured
from virga.agent.drivers.layer3 import ConfiguredWishes
from virga.agent.managers import dhcp, router_view
from virga.agent.render import haproxy
from virga.contract.items import AnyItem, DhcpNetwork, Router
from virga.contract.messages import Report


class MetadataManager:
    """Keyed by the id of the router or network, which never coincide."""

    name = "metadata"
    kinds: tuple[str, ...] = ("router", "dhcp_network")

    def __init__(self, proxies: ConfiguredWishes, socket: str, ipv6: bool = True) -> None:
        self._ipv6 = ipv6
        self._proxies = proxies
        self._socket = socket
        self._items: dict[str, Router | DhcpNetwork | None] = {}
        """What changed since the last resolve; None: gone."""

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        self._items[key] = item if isinstance(item, Router | DhcpNetwork) else None

    def resolve(self) -> None:
        for key, item in self._items.items():
            self._proxies.want(key, self._configured(key, item))
        self._items.clear()

    def _configured(self, key: str, item: Router | DhcpNetwork | None) -> Configured | None:
        pid_file = self._proxies.pid_file(key)
        if isinstance(item, Router) and item.admin_state_up:
            proxy = haproxy.Proxy(haproxy.router_binds(self._ipv6), self._socket, pid_file, router_id=key)
            return Configured(router_view.namespace_of(key), haproxy.render(proxy))
        if isinstance(item, DhcpNetwork) and dhcp.serves_metadata(item):
            binds = haproxy.network_binds(item.device_name, dhcp.has_ipv6(item))
            proxy = haproxy.Proxy(binds, self._socket, pid_file, network_id=key)
            return Configured(dhcp.namespace_of(key), haproxy.render(proxy), item.device_name)
        return None

    def reports(self) -> Sequence[Report]:
        """A metadata proxy that does not start is retried and logged; router and network work without it."""
        return []
