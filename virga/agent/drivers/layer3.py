"""What managers may ask of the layer 3 drivers; the real ones and the ones in memory both offer it."""

from __future__ import annotations

from typing import Protocol

from virga.agent.drivers.addressing import Addressing
from virga.agent.drivers.configured import Configured
from virga.agent.drivers.conntrack import Mappings
from virga.agent.drivers.dnsmasq import Dnsmasq
from virga.agent.protocol import Driver
from virga.agent.render.tables import RuleSet
from virga.agent.wishes import Outcome


class AddressWishes(Driver, Protocol):
    """Addresses, routes and sysctls, by namespace."""

    def want(self, namespace: str, addressing: Addressing | None) -> None: ...
    def outcome(self, namespace: str) -> Outcome: ...


class RuleWishes(Driver, Protocol):
    """iptables rules, by namespace."""

    def want(self, namespace: str, rules: RuleSet | None) -> None: ...
    def outcome(self, namespace: str) -> Outcome: ...


class DnsmasqWishes(Driver, Protocol):
    """DHCP and names, by network."""

    def directory(self, network_id: str) -> str:
        """Where the network's dnsmasq keeps its files."""

    def want(self, network_id: str, dnsmasq: Dnsmasq | None) -> None: ...
    def outcome(self, network_id: str) -> Outcome: ...


class ConfiguredWishes(Driver, Protocol):
    """Daemons with one configuration file, by the id of what they serve."""

    def pid_file(self, key: str) -> str:
        """The pid file that a configuration may have to name."""

    def want(self, key: str, configured: Configured | None) -> None: ...
    def outcome(self, key: str) -> Outcome: ...


class ConnectionWishes(Driver, Protocol):
    """What translated connections may exist, by namespace."""

    def want(self, namespace: str, mappings: Mappings | None) -> None: ...
    def outcome(self, namespace: str) -> Outcome: ...
