"""DHCP networks: a ``qdhcp-`` namespace with the DHCP port's device, its addresses, and a dnsmasq."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from virga.agent.drivers.addressing import METADATA_V6, Addressing, Device, Route
from virga.agent.drivers.dnsmasq import Dnsmasq
from virga.agent.drivers.interfaces import LinkWishes, NamespaceWishes
from virga.agent.drivers.layer3 import AddressWishes, DnsmasqWishes
from virga.agent.managers.outcomes import report
from virga.agent.render import dnsmasq
from virga.contract.items import AnyItem, DhcpHost, DhcpNetwork
from virga.contract.messages import Report

METADATA_V4 = "169.254.169.254/32"


def namespace_of(network_id: str) -> str:
    return f"qdhcp-{network_id}"


def serves_metadata(network: DhcpNetwork) -> bool:
    """No router does it on at least one subnet."""
    return any(subnet.metadata_route for subnet in network.subnets)


def addressing(network: DhcpNetwork) -> Addressing:
    """The namespace's layer 3: the port's addresses, metadata's where isolated, default routes to answer by."""
    addresses = {f"{fixed.ip_address}/{fixed.prefixlen}" for fixed in network.fixed_ips}
    if serves_metadata(network):
        addresses.add(METADATA_V4)
        if has_ipv6(network):
            addresses.add(METADATA_V6)
    conf = f"net/ipv6/conf/{network.device_name}"
    return Addressing(
        devices=(Device(network.device_name, frozenset(addresses)),),
        routes=_default_routes(network),
        sysctls=(
            ("net/ipv4/conf/all/promote_secondaries", "1"),
            (f"{conf}/accept_ra", "0"),
            (f"{conf}/dad_transmits", "0"),
        ),
    )


def has_ipv6(network: DhcpNetwork) -> bool:
    return any(":" in fixed.ip_address for fixed in network.fixed_ips)


def _default_routes(network: DhcpNetwork) -> frozenset[Route]:
    """One a family, by the first subnet that has a gateway and an address of the port."""
    own = {fixed.subnet_id for fixed in network.fixed_ips}
    routes: dict[int, Route] = {}
    for subnet in sorted(network.subnets, key=lambda s: ip_network(s.cidr).network_address.packed):
        if subnet.gateway_ip and subnet.subnet_id in own and subnet.ip_version not in routes:
            destination = "0.0.0.0/0" if subnet.ip_version == 4 else "::/0"
            device = network.device_name if subnet.gateway_ip.startswith("fe80:") else ""
            routes[subnet.ip_version] = Route(destination, (subnet.gateway_ip,), device)
    return frozenset(routes.values())


@dataclass(frozen=True, slots=True)
class DhcpDrivers:
    """Where the manager's wishes go."""

    namespaces: NamespaceWishes
    links: LinkWishes
    addresses: AddressWishes
    dnsmasq: DnsmasqWishes


class DhcpManager:
    """Turns dhcp_network and dhcp_host items into namespaces, devices, addresses and dnsmasq files."""

    name = "dhcp"
    kinds: tuple[str, ...] = ("dhcp_network", "dhcp_host")

    def __init__(self, drivers: DhcpDrivers, servers: tuple[str, ...] = (), user: str = "") -> None:
        self._drivers = drivers
        self._servers = servers
        self._user = user
        self._networks: dict[str, DhcpNetwork] = {}
        self._hosts: dict[str, dict[str, DhcpHost]] = {}
        self._lines: dict[str, dict[str, dnsmasq.HostLines]] = {}
        """What each port adds to its network's files, kept: one more port costs one port's lines."""
        self._network_of: dict[str, str] = {}
        self._stale: set[str] = set()
        self._devices: dict[str, str] = {}

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        if isinstance(item, DhcpNetwork):
            self._networks[key] = item
            self._lines.pop(key, None)
            self._stale.add(key)
        elif isinstance(item, DhcpHost):
            self._forget_host(key)
            self._network_of[key] = item.network_id
            self._hosts.setdefault(item.network_id, {})[key] = item
            self._stale.add(item.network_id)
        elif kind == "dhcp_network":
            self._networks.pop(key, None)
            self._lines.pop(key, None)
            self._stale.add(key)
        else:
            self._forget_host(key)

    def _forget_host(self, key: str) -> None:
        network_id = self._network_of.pop(key, None)
        if network_id is not None:
            self._hosts[network_id].pop(key, None)
            self._lines.get(network_id, {}).pop(key, None)
            self._stale.add(network_id)

    def resolve(self) -> None:
        for network_id in sorted(self._stale):
            network = self._networks.get(network_id)
            self._unwant_device(network_id, network)
            if network is None:
                self._unwant(network_id)
            else:
                self._want(network)
        self._stale.clear()

    def _unwant_device(self, network_id: str, network: DhcpNetwork | None) -> None:
        """Also when the port was replaced by another one."""
        device = self._devices.get(network_id)
        if device is not None and (network is None or network.device_name != device):
            self._drivers.links.unwant(device)
            del self._devices[network_id]

    def _unwant(self, network_id: str) -> None:
        namespace = namespace_of(network_id)
        self._drivers.dnsmasq.want(network_id, None)
        self._drivers.addresses.want(namespace, None)
        self._drivers.namespaces.want(namespace, False)

    def _want(self, network: DhcpNetwork) -> None:
        namespace = namespace_of(network.key)
        device = network.device_name
        self._devices[network.key] = device
        self._drivers.namespaces.want(namespace, True)
        self._drivers.links.want_veth(device, device, namespace, network.mac_address, network.mtu)
        self._drivers.addresses.want(namespace, addressing(network))
        if not dnsmasq.serves(network):
            self._drivers.dnsmasq.want(network.key, None)
            return
        place = dnsmasq.Place(self._drivers.dnsmasq.directory(network.key), self._servers, self._user)
        files = dnsmasq.assembled(network, self._lines_of(network), place)
        self._drivers.dnsmasq.want(network.key, Dnsmasq(namespace, device, files))

    def _lines_of(self, network: DhcpNetwork) -> Iterable[dnsmasq.HostLines]:
        """In the order of the ports' ids."""
        hosts, lines = self._hosts.get(network.key, {}), self._lines.get(network.key, {})
        if fresh := hosts.keys() - lines.keys():
            lines |= {key: dnsmasq.host_lines(network, hosts[key]) for key in fresh}
            lines = self._lines[network.key] = {key: lines[key] for key in sorted(lines)}
        return lines.values()

    def reports(self) -> Sequence[Report]:
        """The loop leaves out what it has said before."""
        found = []
        for network_id, network in self._networks.items():
            namespace = namespace_of(network_id)
            outcomes = [
                self._drivers.namespaces.outcome(namespace),
                self._drivers.links.outcome(network.device_name),
                self._drivers.addresses.outcome(namespace),
                self._drivers.dnsmasq.outcome(network_id),
            ]
            if news := report("dhcp_network", network_id, outcomes):
                found.append(news)
        return found
