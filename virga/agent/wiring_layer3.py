"""The routers' and DHCP's part of an agent: which managers, which drivers, in which order."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from virga.agent.config import AgentConfig
from virga.agent.drivers.addresses import AddressDriver
from virga.agent.drivers.announce import Announcer
from virga.agent.drivers.conntrack import ConntrackDriver
from virga.agent.drivers.dnsmasq import DnsmasqDriver
from virga.agent.drivers.fake.layer3 import (
    FakeAddresses,
    FakeConfigured,
    FakeConnections,
    FakeDnsmasq,
    FakeRules,
)
from virga.agent.drivers.haproxy import haproxy_driver
from virga.agent.drivers.interfaces import LinkWishes, NamespaceWishes
from virga.agent.drivers.iptables import IptablesDriver
from virga.agent.drivers.layer3 import (
    AddressWishes,
    ConfiguredWishes,
    ConnectionWishes,
    DnsmasqWishes,
    RuleWishes,
)
from virga.agent.drivers.radvd import radvd_driver
from virga.agent.managers.dhcp import DhcpDrivers, DhcpManager
from virga.agent.managers.floating_ip import FloatingIpManager
from virga.agent.managers.metadata import MetadataManager
from virga.agent.managers.router import RouterDrivers, RouterManager
from virga.agent.protocol import Driver, Manager


@dataclass(frozen=True, slots=True)
class Layer3:
    """The drivers inside namespaces."""

    addresses: AddressWishes
    rules: RuleWishes
    dnsmasq: DnsmasqWishes
    radvd: ConfiguredWishes
    haproxy: ConfiguredWishes
    connections: ConnectionWishes

    def in_order(self) -> list[Driver]:
        return [self.addresses, self.rules, self.dnsmasq, self.radvd, self.haproxy, self.connections]


def metadata_socket(config: AgentConfig) -> Path:
    """Where the proxies hand requests over."""
    return Path(config.directory) / "metadata_proxy"


def layer3(
    config: AgentConfig, wake: Callable[[], None], on_exit: Callable[[], None] | None = None
) -> Layer3:
    """Drivers of the kind that the configuration says. ``on_exit`` is told of daemons that ended; else ``wake``."""
    if config.drivers == "fake":
        return Layer3(
            FakeAddresses(),
            FakeRules(),
            FakeDnsmasq(),
            FakeConfigured("radvd"),
            FakeConfigured("haproxy"),
            FakeConnections(),
        )
    state = Path(config.directory)
    return Layer3(
        AddressDriver(Announcer(), wake=wake),
        IptablesDriver(config.facts.iptables, wake=wake, versions=(4, 6) if has_ipv6() else (4,)),
        DnsmasqDriver(state, wake, on_exit=on_exit),
        radvd_driver(state, wake, on_exit=on_exit),
        haproxy_driver(state, wake, on_exit=on_exit),
        ConntrackDriver(wake=wake),
    )


def layer3_managers(
    config: AgentConfig, namespaces: NamespaceWishes, links: LinkWishes, drivers: Layer3
) -> list[Manager]:
    """Managers of networks' DHCP, routers, floating IPs and metadata."""
    user = "" if world_searchable(Path(config.directory)) else "root"
    dhcp = DhcpManager(
        DhcpDrivers(namespaces, links, drivers.addresses, drivers.dnsmasq), tuple(config.dns_servers), user
    )
    routers = RouterManager(
        RouterDrivers(namespaces, links, drivers.addresses, drivers.rules, drivers.radvd, drivers.connections)
    )
    metadata = MetadataManager(drivers.haproxy, str(metadata_socket(config)), has_ipv6())
    return [dhcp, routers, FloatingIpManager(routers), metadata]


def has_ipv6() -> bool:
    """Whether this kernel speaks IPv6 at all."""
    return Path("/proc/net/if_inet6").exists()


def world_searchable(directory: Path) -> bool:
    """Whether a daemon that gave up its privileges still reaches its files below ``directory``."""
    resolved = directory.resolve()
    for part in (resolved, *resolved.parents):
        try:
            if not part.stat().st_mode & os.X_OK:
                return False
        except OSError:
            continue
    return True
