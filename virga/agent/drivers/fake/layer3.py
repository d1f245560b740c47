"""Addresses, rules and daemons in memory."""

from __future__ import annotations

from virga.agent.drivers.addressing import Addressing
from virga.agent.drivers.configured import Configured
from virga.agent.drivers.conntrack import Mappings
from virga.agent.drivers.dnsmasq import Dnsmasq
from virga.agent.drivers.fake.keyed import KeyedWorld
from virga.agent.render.tables import RuleSet


class FakeAddresses(KeyedWorld):
    """Stands in for AddressDriver."""

    def __init__(self) -> None:
        super().__init__("addresses")

    def want(self, namespace: str, addressing: Addressing | None) -> None:
        self.wishes.want(namespace, addressing)


class FakeRules(KeyedWorld):
    """Stands in for IptablesDriver."""

    def __init__(self) -> None:
        super().__init__("iptables")

    def want(self, namespace: str, rules: RuleSet | None) -> None:
        self.wishes.want(namespace, rules)


class FakeDnsmasq(KeyedWorld):
    """Stands in for DnsmasqDriver."""

    def __init__(self) -> None:
        super().__init__("dnsmasq")

    def directory(self, network_id: str) -> str:
        return f"/dhcp/{network_id}"

    def want(self, network_id: str, dnsmasq: Dnsmasq | None) -> None:
        self.wishes.want(network_id, dnsmasq)


class FakeConfigured(KeyedWorld):
    """Stands in for the radvd and haproxy drivers."""

    def pid_file(self, key: str) -> str:
        return f"/pids/{key}.pid.{self.name}"

    def want(self, key: str, configured: Configured | None) -> None:
        self.wishes.want(key, configured)


class FakeConnections(KeyedWorld):
    """Stands in for ConntrackDriver."""

    def __init__(self) -> None:
        super().__init__("conntrack")

    def want(self, namespace: str, mappings: Mappings | None) -> None:
        self.wishes.want(namespace, mappings)
