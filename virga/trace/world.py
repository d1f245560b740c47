"""The cloud as the explainer sees it: the items of all hosts, and the facts of the Network service behind them. Read only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from virga.contract.items import (
    AddressGroup,
    AnyItem,
    DhcpNetwork,
    FloatingIp,
    GroupMember,
    Instance,
    Item,
    Network,
    Port,
    PortForwarding,
    Router,
    SecurityGroup,
)
from virga.desired.facts import FloatingFact, NetworkFact, PortFact, RouterFact, SubnetFact

Key = tuple[str, str]


@dataclass(slots=True)
class World:
    """Indexes over items and facts. ``hosts``: host -> kind and key -> item."""

    hosts: Mapping[str, Mapping[Key, Item]]
    networks: Mapping[str, NetworkFact]
    subnets: Mapping[str, SubnetFact]
    ports: Mapping[str, PortFact]
    routers: Mapping[str, RouterFact]
    floating: Mapping[str, FloatingFact]
    external: frozenset[str] = frozenset()
    """Ids of external networks."""
    _by_address: dict[tuple[str, str], str] = field(default_factory=dict)
    _floating_by_address: dict[str, FloatingFact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_address = {
            (fact.network_id, address): fact.id
            for fact in self.ports.values()
            for _, address in fact.fixed_ips
        }
        self._floating_by_address = {fact.address: fact for fact in self.floating.values()}

    # -- items

    def item(self, host: str, kind: str, key: str) -> Item | None:
        return self.hosts.get(host, {}).get((kind, key))

    def port(self, port_id: str) -> tuple[str, Port] | None:
        """Host and item of a port that is bound."""
        fact = self.ports.get(port_id)
        if fact is None:
            return None
        item = self.item(fact.host, "port", port_id)
        return (fact.host, item) if isinstance(item, Port) else None

    def network(self, network_id: str) -> Network | None:
        fact = self.networks.get(network_id)
        if fact is None:
            return None
        return Network(
            key=fact.id,
            network_type=fact.network_type,
            physical_network=fact.physical_network,
            segmentation_id=fact.segmentation_id,
            mtu=fact.mtu,
        )

    def router(self, router_id: str) -> tuple[str, Router] | None:
        fact = self.routers.get(router_id)
        if fact is None:
            return None
        item = self.item(fact.host, "router", router_id)
        return (fact.host, item) if isinstance(item, Router) else None

    def router_of_port(self, port: Port) -> tuple[str, Router] | None:
        return self.router(port.device_id) if port.device_owner.startswith("network:router") else None

    def floating_ips(self, host: str, router_id: str) -> list[FloatingIp]:
        items = self.hosts.get(host, {}).values()
        return [i for i in items if isinstance(i, FloatingIp) and i.router_id == router_id]

    def forwardings(self, host: str, router_id: str) -> list[PortForwarding]:
        items = self.hosts.get(host, {}).values()
        return [i for i in items if isinstance(i, PortForwarding) and i.router_id == router_id]

    def dhcp_networks(self, network_id: str) -> list[tuple[str, DhcpNetwork]]:
        found = []
        for host, items in self.hosts.items():
            item = items.get(("dhcp_network", network_id))
            if isinstance(item, DhcpNetwork):
                found.append((host, item))
        return sorted(found, key=lambda pair: pair[0])

    def instance(self, host: str, instance_id: str) -> Instance | None:
        item = self.item(host, "instance", instance_id)
        return item if isinstance(item, Instance) else None

    # -- facts

    def subnets_of(self, network_id: str) -> list[SubnetFact]:
        return [s for s in self.subnets.values() if s.network_id == network_id]

    def subnet_of(self, network_id: str, address: str) -> SubnetFact | None:
        """The subnet of the network in which the address lies."""
        wanted = ip_address(address)
        for fact in self.subnets_of(network_id):
            if fact.ip_version == wanted.version and wanted in ip_network(fact.cidr):
                return fact
        return None

    def port_at(self, network_id: str, address: str) -> str | None:
        """Id of the port of the network that has this fixed address."""
        return self._by_address.get((network_id, address))

    def floating_at(self, address: str) -> FloatingFact | None:
        return self._floating_by_address.get(address)

    def compiled(self, host: str, network_ids: Iterable[str]) -> list[AnyItem]:
        """The items of a host that decide what happens to packets of these networks there."""
        items, wanted = self.hosts.get(host, {}).values(), set(network_ids)
        found: list[AnyItem] = [i for i in items if isinstance(i, Port) and i.network_id in wanted]
        groups = {group for port in found if isinstance(port, Port) for group in port.security_group_ids}
        for item in items:
            by_group = isinstance(item, SecurityGroup) and item.key in groups
            by_network = isinstance(item, Network) and item.key in wanted
            if by_group or by_network or isinstance(item, GroupMember | AddressGroup):
                found.append(item)  # type: ignore[arg-type]
        return found
