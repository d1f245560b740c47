"""Routers: a ``qrouter-`` namespace with ``qr-`` and ``qg-`` devices, addresses, routes, rules and announcements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from virga.agent.drivers.configured import Configured
from virga.agent.drivers.interfaces import LinkWishes, NamespaceWishes
from virga.agent.drivers.layer3 import AddressWishes, ConfiguredWishes, ConnectionWishes, RuleWishes
from virga.agent.managers import router_view
from virga.agent.managers.outcomes import report
from virga.agent.managers.router_view import RouterView, namespace_of
from virga.agent.render import radvd, router_rules
from virga.agent.wishes import Outcome
from virga.contract.items import AnyItem, FloatingIp, PortForwarding, Router
from virga.contract.messages import Report


@dataclass(frozen=True, slots=True)
class RouterDrivers:
    """Where the manager's wishes go."""

    namespaces: NamespaceWishes
    links: LinkWishes
    addresses: AddressWishes
    rules: RuleWishes
    radvd: ConfiguredWishes
    connections: ConnectionWishes


class RouterManager:
    """Turns router, floating_ip and port_forwarding items into wishes; a change touches its own router only."""

    name = "router"
    kinds: tuple[str, ...] = ("router", "floating_ip", "port_forwarding")

    def __init__(self, drivers: RouterDrivers) -> None:
        self._drivers = drivers
        self._routers: dict[str, Router] = {}
        self._attached: dict[tuple[str, str], FloatingIp | PortForwarding] = {}
        """By kind and key."""
        self._by_router: dict[str, set[tuple[str, str]]] = {}
        self._stale: set[str] = set()
        self._devices: dict[str, frozenset[str]] = {}

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        if isinstance(item, Router):
            self._routers[key] = item
            self._stale.add(key)
        elif isinstance(item, FloatingIp | PortForwarding):
            self._detach(kind, key)
            self._attached[kind, key] = item
            self._by_router.setdefault(item.router_id, set()).add((kind, key))
            self._stale.add(item.router_id)
        elif kind == "router":
            self._routers.pop(key, None)
            self._stale.add(key)
        else:
            self._detach(kind, key)

    def _detach(self, kind: str, key: str) -> None:
        """Also a floating IP that moves to another router leaves the old one."""
        before = self._attached.pop((kind, key), None)
        if before is not None:
            self._by_router[before.router_id].discard((kind, key))
            self._stale.add(before.router_id)

    def view(self, router_id: str) -> RouterView | None:
        """The router as it is wanted now."""
        router = self._routers.get(router_id)
        if router is None:
            return None
        attached = [self._attached[each] for each in sorted(self._by_router.get(router_id, ()))]
        return RouterView(
            router,
            tuple(each for each in attached if isinstance(each, FloatingIp)),
            tuple(each for each in attached if isinstance(each, PortForwarding)),
        )

    def resolve(self) -> None:
        for router_id in sorted(self._stale):
            view = self.view(router_id)
            self._unwant_devices(router_id, view)
            if view is None:
                self._unwant(router_id)
            else:
                self._want(view)
        self._stale.clear()

    def _unwant_devices(self, router_id: str, view: RouterView | None) -> None:
        wanted = frozenset(port.device_name for port in view.ports) if view else frozenset()
        for device in self._devices.pop(router_id, frozenset()) - wanted:
            self._drivers.links.unwant(device)
        if wanted:
            self._devices[router_id] = wanted

    def _unwant(self, router_id: str) -> None:
        namespace = namespace_of(router_id)
        self._drivers.connections.want(namespace, None)
        self._drivers.radvd.want(router_id, None)
        self._drivers.rules.want(namespace, None)
        self._drivers.addresses.want(namespace, None)
        self._drivers.namespaces.want(namespace, False)

    def _want(self, view: RouterView) -> None:
        router_id = view.router.key
        namespace = namespace_of(router_id)
        self._drivers.namespaces.want(namespace, True)
        for port in view.ports:
            self._drivers.links.want_veth(
                port.device_name, port.device_name, namespace, port.mac_address, port.mtu
            )
        self._drivers.addresses.want(namespace, router_view.addressing(view))
        self._drivers.rules.want(namespace, router_rules.render(router_view.rules(view)))
        self._drivers.connections.want(namespace, router_view.mappings(view))
        advertised = radvd.render(view.router) if view.router.admin_state_up else ""
        self._drivers.radvd.want(router_id, Configured(namespace, advertised) if advertised else None)

    def outcomes(self, router_id: str) -> list[Outcome]:
        """What became of all that the router needs."""
        namespace = namespace_of(router_id)
        return [
            self._drivers.namespaces.outcome(namespace),
            *(self._drivers.links.outcome(d) for d in sorted(self._devices.get(router_id, ()))),
            self._drivers.addresses.outcome(namespace),
            self._drivers.rules.outcome(namespace),
            self._drivers.radvd.outcome(router_id),
        ]

    def reports(self) -> Sequence[Report]:
        """The loop leaves out what it has said before."""
        found = []
        for router_id, router in self._routers.items():
            news = report("router", router_id, self.outcomes(router_id))
            if news is not None and news.status == "ACTIVE" and not router.admin_state_up:
                news = Report(kind="router", key=router_id, status="DOWN")
            if news is not None:
                found.append(news)
        return found
