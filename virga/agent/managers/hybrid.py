"""Filters of ports that are plugged by a Linux bridge: iptables chains, sets of remote addresses, OVS left open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from virga.agent.drivers.recheck import Recheck
from virga.agent.managers.attachment import is_sub_port
from virga.agent.managers.network import NetworkManager
from virga.agent.managers.plug import hybrid_names
from virga.agent.managers.security_group import SecurityGroupManager
from virga.agent.protocol import Driver
from virga.agent.render.hybrid_rules import AddressSet, HybridPort, address_sets, hybrid_rules
from virga.agent.render.tables import RuleSet
from virga.agent.wishes import Outcome
from virga.contract.items import AnyItem, Port
from virga.contract.messages import Report

HOST = ""
"""The namespace whose rules these are: the host's own."""


class HostRules(Driver, Protocol):
    """iptables rules, by namespace."""

    def want(self, namespace: str, rules: RuleSet | None) -> None: ...
    def outcome(self, namespace: str) -> Outcome: ...


class AddressSets(Driver, Protocol):
    """ipsets by name."""

    def want(self, name: str, members: AddressSet | None) -> None: ...
    def wanted(self) -> Sequence[str]: ...
    def outcome(self, name: str) -> Outcome: ...


class Rechecks(Driver, Protocol):
    """Connections that must be judged anew when rules go."""

    def want(self, port_id: str, recheck: Recheck | None) -> None: ...


@dataclass(frozen=True, slots=True)
class HybridDrivers:
    """What only this way of plugging needs."""

    sets: AddressSets
    rules: HostRules
    recheck: Rechecks

    def in_order(self) -> list[Driver]:
        return [self.sets, self.rules, self.recheck]


class HybridManager:
    """Wants nothing at all as long as no port is plugged this way."""

    name = "hybrid"
    kinds: tuple[str, ...] = ("port", "network", "security_group", "group_member", "address_group")

    def __init__(
        self,
        networks: NetworkManager,
        groups: SecurityGroupManager,
        drivers: HybridDrivers,
        usual: bool,
    ) -> None:
        """``usual``: this host plugs this way, so what is left of former ports has to be looked for."""
        self._networks = networks
        self._groups = groups
        self._rules = drivers.rules
        self._sets = drivers.sets
        self._recheck = drivers.recheck
        self._ports: dict[str, Port] = {}
        self._was_there = self._stale = usual

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        if kind == "port":
            known = self._ports.pop(key, None)
            if isinstance(item, Port) and item.plug == "hybrid" and not is_sub_port(item):
                self._ports[key] = item
            self._stale = self._stale or known is not None or key in self._ports
            if known is not None and key not in self._ports:
                self._recheck.want(key, None)
        elif self._ports:
            self._stale = True

    def resolve(self) -> None:
        if not self._stale:
            return
        self._stale = False
        ports = [self._placed(port) for key, port in sorted(self._ports.items()) if self._is_known(port)]
        addresses = self._remote_addresses(ports)
        wanted = address_sets(addresses)
        for name, members in wanted.items():
            self._sets.want(name, members)
        for name in self._sets.wanted():
            if name not in wanted:
                self._sets.want(name, None)
        rules = hybrid_rules(ports)
        self._was_there = self._was_there or bool(ports)
        self._rules.want(HOST, rules if self._was_there else None)
        for port in ports:
            self._recheck.want(port.item.key, self._judged_by(port, addresses))

    def reports(self) -> Sequence[Report]:
        return []

    def outcome(self) -> Outcome:
        """Whether the rules of all ports plugged this way are in force."""
        if self._stale:
            return Outcome(False)
        outcomes = [*(self._sets.outcome(name) for name in self._sets.wanted()), self._rules.outcome(HOST)]
        for outcome in outcomes:
            if outcome.reason:
                return outcome
        return Outcome(all(outcome.settled for outcome in outcomes))

    def _is_known(self, port: Port) -> bool:
        return self._networks.network(port.network_id) is not None

    def _placed(self, port: Port) -> HybridPort:
        tap, bridge, inside = hybrid_names(port)
        groups = tuple(self._groups.groups(port.security_group_ids))
        return HybridPort(port, tap, bridge, inside, self._networks.tag(port.network_id), groups)

    def _judged_by(self, port: HybridPort, addresses: dict[str, list[str]]) -> Recheck:
        """Everything that may accept a connection of the port, each part as text."""
        rules = [rule for group in port.groups for rule in group.rules]
        remotes = {rule.remote_group_id or rule.remote_address_group_id for rule in rules}
        parts = {f"{rule}" for rule in rules}
        parts |= {f"{remote} {address}" for remote in remotes if remote for address in addresses[remote]}
        own = tuple(ip.ip_address for ip in port.item.fixed_ips)
        return Recheck(port.zone, own, frozenset(parts))

    def _remote_addresses(self, ports: Sequence[HybridPort]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for port in ports:
            for rule in (rule for group in port.groups for rule in group.rules):
                if rule.remote_group_id:
                    members = self._groups.members(rule.remote_group_id)
                    found[rule.remote_group_id] = [a for member in members for a in member.addresses]
                elif rule.remote_address_group_id:
                    group_id = rule.remote_address_group_id
                    found[group_id] = list(self._groups.addresses(group_id))
        return found
