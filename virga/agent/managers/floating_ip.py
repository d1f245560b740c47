"""Floating IPs and port forwardings: says which of them work. Their wishes are part of their router's."""

from __future__ import annotations

from collections.abc import Sequence

from virga.agent.managers.outcomes import report
from virga.agent.managers.router import RouterManager
from virga.agent.managers.router_view import gateway_of
from virga.contract.items import AnyItem, FloatingIp, PortForwarding
from virga.contract.messages import Report


class FloatingIpManager:
    """ACTIVE only when address and rules are in; DOWN with the reason when the router cannot serve it."""

    name = "floating_ip"
    kinds: tuple[str, ...] = ("floating_ip", "port_forwarding")

    def __init__(self, routers: RouterManager) -> None:
        self._routers = routers
        self._items: dict[tuple[str, str], FloatingIp | PortForwarding] = {}

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        if isinstance(item, FloatingIp | PortForwarding):
            self._items[kind, key] = item
        else:
            self._items.pop((kind, key), None)

    def resolve(self) -> None:
        """Nothing: the router's rules carry them."""

    def reports(self) -> Sequence[Report]:
        found = [self._report(kind, key, item) for (kind, key), item in self._items.items()]
        return [news for news in found if news is not None]

    def _report(self, kind: str, key: str, item: FloatingIp | PortForwarding) -> Report | None:
        view = self._routers.view(item.router_id)
        address = item.floating_ip_address
        if view is None:
            return _down(kind, key, f"router {item.router_id} is not on this host")
        if not view.router.admin_state_up:
            return _down(kind, key, f"router {item.router_id} is administratively down")
        if gateway_of(view, address) is None:
            return _down(kind, key, f"router {item.router_id} has no gateway by which {address} is reached")
        return report(kind, key, self._routers.outcomes(item.router_id))


def _down(kind: str, key: str, reason: str) -> Report:
    return Report(kind=kind, key=key, status="DOWN", reason=reason)
