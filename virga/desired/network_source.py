"""The Network service as a source of items: facts in memory, and indexes that say which slots a change reaches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from virga.contract.items import Item
from virga.db.tx import Tx
from virga.desired import compile_network, facts
from virga.desired.facts import (
    FloatingFact,
    ForwardingFact,
    GroupFact,
    LabelFact,
    NetworkFact,
    PortFact,
    QosFact,
    RouterFact,
    SubnetFact,
)
from virga.desired.source import Slot


class NetworkSource:
    """Work for a change is in proportion to the object and to what its security groups reach on the hosts."""

    touches = frozenset(
        {
            "network",
            "subnet",
            "port",
            "security_group",
            "address_group",
            "router",
            "floating_ip",
            "port_forwarding",
            "trunk",
            "qos_policy",
            "metering_label",
        }
    )

    def __init__(self, dns_domain: str, lease_seconds: int) -> None:
        self._dns_domain, self._lease_seconds = dns_domain, lease_seconds
        self.networks: dict[str, NetworkFact] = {}
        self.subnets: dict[str, SubnetFact] = {}
        self.ports: dict[str, PortFact] = {}
        self.groups: dict[str, GroupFact] = {}
        self.address_groups: dict[str, tuple[str, ...]] = {}
        self.routers: dict[str, RouterFact] = {}
        self.floating: dict[str, FloatingFact] = {}
        self.forwardings: dict[str, ForwardingFact] = {}
        self.qos: dict[str, QosFact] = {}
        self.labels: dict[str, LabelFact] = {}
        # Indexes. The inner sets are of ids.
        self._subnets_of: dict[str, set[str]] = defaultdict(set)
        self._ports_of: dict[str, set[str]] = defaultdict(set)
        self._host_ports: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._group_ports: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._members: dict[str, set[str]] = defaultdict(set)
        self._group_hosts: dict[str, set[str]] = defaultdict(set)
        self._naming: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._naming_hosts: dict[str, set[str]] = defaultdict(set)
        self._named_by: dict[tuple[str, str], frozenset[str]] = {}
        self._dhcp_ports: dict[str, set[str]] = defaultdict(set)
        self._router_ports: dict[str, set[str]] = defaultdict(set)
        self._interfaces_in: dict[str, set[str]] = defaultdict(set)
        self._floating_of: dict[str, set[str]] = defaultdict(set)
        self._forwardings_of: dict[str, set[str]] = defaultdict(set)
        self._parent_of: dict[str, str] = {}
        self._routers_of: dict[str, set[str]] = defaultdict(set)
        """By project."""
        self._under_qos: dict[str, set[str]] = defaultdict(set)
        self._networks_under_qos: dict[str, set[str]] = defaultdict(set)
        self._dirty: dict[Slot, None] = {}
        self._groups_to_settle: dict[tuple[str, str], None] = {}
        self._compilers: dict[str, Callable[[str, str], Item | None]] = {
            "network": self._network,
            "port": self._port,
            "security_group": self._security_group,
            "group_member": self._group_member,
            "address_group": self._address_group,
            "dhcp_network": self._dhcp_network,
            "dhcp_host": self._dhcp_host,
            "router": self._router,
            "floating_ip": self._floating_ip,
            "port_forwarding": self._port_forwarding,
        }

    # --- Source

    def load(self, tx: Tx) -> None:
        for kind in ("network", "subnet", "security_group", "address_group", "router", "floating_ip"):
            self._read(tx, kind, None)
        self._read(tx, "qos_policy", None)
        self._read(tx, "metering_label", None)
        self._read(tx, "port_forwarding", None)
        self._read(tx, "port", None)

    def touched(self, tx: Tx, kind: str, object_ids: Sequence[str]) -> None:
        self._read(tx, "port" if kind == "trunk" else kind, object_ids)

    def settle(self) -> Mapping[Slot, Item | None]:
        self._settle_groups()
        dirty, self._dirty = self._dirty, {}
        return {slot: self._compilers[slot.kind](slot.host, slot.key) for slot in dirty}

    def _read(self, tx: Tx, kind: str, object_ids: Sequence[str] | None) -> None:
        load, put = self._readers()[kind]
        gone = dict.fromkeys(object_ids or ())
        for fact in load(tx, object_ids):
            found = fact[0] if kind == "address_group" else fact.id
            gone.pop(found, None)
            put(fact, found)
        for object_id in gone:
            put(None, object_id)

    def _readers(
        self,
    ) -> dict[str, tuple[Callable[[Tx, facts.Ids], Iterable[Any]], Callable[[Any, str], None]]]:
        return {
            "network": (facts.networks, self._put_network),
            "subnet": (facts.subnets, self._put_subnet),
            "port": (facts.ports, self._put_port),
            "security_group": (facts.groups, self._put_group),
            "address_group": (facts.address_groups, self._put_address_group),
            "router": (facts.routers, self._put_router),
            "floating_ip": (facts.floating_ips, self._put_floating),
            "port_forwarding": (facts.port_forwardings, self._put_forwarding),
            "qos_policy": (facts.qos_policies, self._put_qos),
            "metering_label": (facts.metering_labels, self._put_label),
        }

    def _mark(self, host: str, kind: str, key: str) -> None:
        if host:
            self._dirty[Slot(host, kind, key)] = None

    # --- what a change reaches

    def _put_network(self, fact: NetworkFact | None, network_id: str) -> None:
        old = _store(self.networks, network_id, fact)
        for item in (old, fact):
            if item is not None and item.qos_policy_id:
                _turn(self._networks_under_qos[item.qos_policy_id], network_id, item == fact)
        if old is not None and fact is not None and old.qos_policy_id != fact.qos_policy_id:
            self._mark_limited(self._ports_of.get(network_id, ()))
        for port_id in self._dhcp_ports.get(network_id, ()):
            self._mark(self.ports[port_id].host, "dhcp_network", network_id)
        for port_id in self._ports_of.get(network_id, ()):
            port = self.ports[port_id]
            for host in port.hosts if port.bound else ():
                self._mark(host, "network", network_id)
            if port.is_router:
                self._mark_router(port.device_id)

    def _put_label(self, fact: LabelFact | None, label_id: str) -> None:
        old = _store(self.labels, label_id, fact)
        for item in (old, fact):
            if item is None:
                continue
            everywhere = item.project_id is None
            for router_id in self.routers if everywhere else self._routers_of.get(item.project_id or "", ()):
                self._mark_router(router_id)

    def _labels_for(self, fact: RouterFact) -> list[LabelFact]:
        found = [label for label in self.labels.values() if label.project_id in (None, fact.project_id)]
        return sorted(found, key=lambda label: label.id)

    def _put_qos(self, fact: QosFact | None, policy_id: str) -> None:
        _store(self.qos, policy_id, fact)
        self._mark_limited(self._under_qos.get(policy_id, ()))
        for network_id in self._networks_under_qos.get(policy_id, ()):
            self._mark_limited(self._ports_of.get(network_id, ()))

    def _mark_limited(self, ports: Iterable[str]) -> None:
        for port_id in ports:
            if self.ports[port_id].bound:
                self._mark(self.ports[port_id].host, "port", port_id)

    def _policy_of(self, fact: PortFact) -> QosFact | None:
        """The port's own, else its network's; that holds for instances only."""
        policy_id = fact.qos_policy_id
        if policy_id is None and not fact.device_owner.startswith("network:"):
            network = self.networks.get(fact.network_id)
            policy_id = network.qos_policy_id if network else None
        return self.qos.get(policy_id) if policy_id else None

    def _put_subnet(self, fact: SubnetFact | None, subnet_id: str) -> None:
        old = _store(self.subnets, subnet_id, fact)
        for item in (old, fact):
            if item is None:
                continue
            _turn(self._subnets_of[item.network_id], subnet_id, item == fact)
            self._mark_dhcp_network(item.network_id)
            for port_id in self._ports_of.get(item.network_id, ()):
                if self.ports[port_id].is_router:
                    self._mark_router(self.ports[port_id].device_id)

    def _put_port(self, fact: PortFact | None, port_id: str) -> None:
        old = self.ports.get(port_id)
        if old is not None:
            self._index_port(old, add=False)
        _store(self.ports, port_id, fact)
        if fact is not None:
            self._index_port(fact, add=True)
        for item in (old, fact):
            if item is not None:
                self._reach_of_port(item)

    def _index_port(self, fact: PortFact, add: bool) -> None:
        def turn(index: dict[Any, set[str]], key: Any) -> None:
            if add:
                index[key].add(fact.id)
            else:
                index[key].discard(fact.id)
                if not index[key]:
                    del index[key]

        turn(self._ports_of, fact.network_id)
        if fact.qos_policy_id:
            turn(self._under_qos, fact.qos_policy_id)
        for group in fact.groups:
            turn(self._members, group)
        if fact.bound and fact.host:
            for host in fact.hosts:
                turn(self._host_ports, (host, fact.network_id))
                for group in fact.groups:
                    turn(self._group_ports, (host, group))
            if fact.device_owner == "network:dhcp":
                turn(self._dhcp_ports, fact.network_id)
        if fact.is_router:
            turn(self._router_ports, fact.device_id)
            if fact.is_router_interface:
                for subnet_id in {s for s, _ in fact.fixed_ips}:
                    turn(self._interfaces_in, subnet_id)
        for sub in fact.sub_ports:
            if add:
                self._parent_of[sub.port_id] = fact.id
            else:
                self._parent_of.pop(sub.port_id, None)

    def _reach_of_port(self, fact: PortFact) -> None:
        for host in fact.hosts if fact.bound else ():
            self._mark(host, "port", fact.id)
            self._mark(host, "network", fact.network_id)
            for group in fact.groups:
                self._groups_to_settle[(host, group)] = None
        for group in fact.groups:
            for host in self._naming_hosts.get(group, ()):
                self._mark(host, "group_member", f"{group}/{fact.id}")
        for dhcp_id in self._dhcp_ports.get(fact.network_id, ()):
            self._mark(self.ports[dhcp_id].host, "dhcp_host", fact.id)
        if fact.device_owner == "network:dhcp":
            self._mark(fact.host, "dhcp_network", fact.network_id)
            # Its own entry too: when it goes, it is no longer among the ports of the network.
            for port_id in (fact.id, *self._ports_of.get(fact.network_id, ())):
                self._mark(fact.host, "dhcp_host", port_id)
        if fact.is_router:
            self._mark_router(fact.device_id)
            self._mark_dhcp_network(fact.network_id)
        parent = self.ports.get(self._parent_of.get(fact.id, ""))
        if parent is not None:
            self._mark(parent.host, "port", parent.id)

    def _mark_dhcp_network(self, network_id: str) -> None:
        for port_id in self._dhcp_ports.get(network_id, ()):
            self._mark(self.ports[port_id].host, "dhcp_network", network_id)

    def _mark_router(self, router_id: str) -> None:
        router = self.routers.get(router_id)
        if router is not None:
            self._mark(router.host, "router", router_id)

    def _put_group(self, fact: GroupFact | None, group_id: str) -> None:
        _store(self.groups, group_id, fact)
        for host in tuple(self._group_hosts.get(group_id, ())):
            self._groups_to_settle[(host, group_id)] = None

    def _put_address_group(self, fact: tuple[str, tuple[str, ...]] | None, group_id: str) -> None:
        _store(self.address_groups, group_id, None if fact is None else fact[1])
        for host in self._naming_hosts.get("address " + group_id, ()):
            self._mark(host, "address_group", group_id)

    def _put_router(self, fact: RouterFact | None, router_id: str) -> None:
        old = _store(self.routers, router_id, fact)
        for item in (old, fact):
            if item is None:
                continue
            self._mark(item.host, "router", router_id)
            _turn(self._routers_of[item.project_id], router_id, item == fact)
            for floating_id in self._floating_of.get(router_id, ()):
                self._mark_floating(item.host, floating_id)

    def _mark_floating(self, host: str, floating_id: str) -> None:
        self._mark(host, "floating_ip", floating_id)
        for forwarding_id in self._forwardings_of.get(floating_id, ()):
            self._mark(host, "port_forwarding", forwarding_id)

    def _put_floating(self, fact: FloatingFact | None, floating_id: str) -> None:
        old = _store(self.floating, floating_id, fact)
        for item in (old, fact):
            if item is None or item.router_id is None:
                continue
            _turn(self._floating_of[item.router_id], floating_id, item == fact)
            router = self.routers.get(item.router_id)
            if router is not None:
                self._mark_floating(router.host, floating_id)

    def _put_forwarding(self, fact: ForwardingFact | None, forwarding_id: str) -> None:
        old = _store(self.forwardings, forwarding_id, fact)
        for item in (old, fact):
            if item is None:
                continue
            _turn(self._forwardings_of[item.floatingip_id], forwarding_id, item == fact)
            host = self._host_of_floating(item.floatingip_id)
            self._mark(host, "port_forwarding", forwarding_id)

    def _host_of_floating(self, floating_id: str) -> str:
        floating = self.floating.get(floating_id)
        router = self.routers.get(floating.router_id) if floating and floating.router_id else None
        return router.host if router else ""

    # --- groups on hosts: present while a port uses them, and then all members that their rules name are too

    def _settle_groups(self) -> None:
        todo, self._groups_to_settle = self._groups_to_settle, {}
        for host, group_id in todo:
            group = self.groups.get(group_id)
            present = group is not None and bool(self._group_ports.get((host, group_id)))
            if present:
                self._group_hosts[group_id].add(host)
            else:
                self._group_hosts[group_id].discard(host)
            self._mark(host, "security_group", group_id)
            self._name(host, group_id, _named(group) if present and group is not None else frozenset())

    def _name(self, host: str, group_id: str, named: frozenset[str]) -> None:
        before = self._named_by.get((host, group_id), frozenset())
        _store(self._named_by, (host, group_id), named or None)
        for remote in before - named:
            self._naming[(host, remote)].discard(group_id)
            if not self._naming[(host, remote)]:
                del self._naming[(host, remote)]
                self._naming_hosts[remote].discard(host)
                self._mark_members(host, remote)
        for remote in named - before:
            fresh = (host, remote) not in self._naming
            self._naming[(host, remote)].add(group_id)
            if fresh:
                self._naming_hosts[remote].add(host)
                self._mark_members(host, remote)

    def _mark_members(self, host: str, remote: str) -> None:
        if remote.startswith("address "):
            self._mark(host, "address_group", remote.removeprefix("address "))
            return
        for port_id in self._members.get(remote, ()):
            self._mark(host, "group_member", f"{remote}/{port_id}")

    # --- one slot

    def _network(self, host: str, key: str) -> Item | None:
        fact = self.networks.get(key)
        return compile_network.network(fact) if fact and self._host_ports.get((host, key)) else None

    def _port(self, host: str, key: str) -> Item | None:
        fact = self.ports.get(key)
        if fact is None or not fact.bound or host not in fact.hosts:
            return None
        if host != fact.host:
            fact = replace(fact, admin_state_up=False)
        return compile_network.port(fact, self.subnets, self.ports, self._policy_of(fact))

    def _security_group(self, host: str, key: str) -> Item | None:
        fact = self.groups.get(key)
        return compile_network.security_group(fact) if fact and self._group_ports.get((host, key)) else None

    def _group_member(self, host: str, key: str) -> Item | None:
        group_id, _, port_id = key.partition("/")
        fact = self.ports.get(port_id)
        if fact is None or group_id not in fact.groups or (host, group_id) not in self._naming:
            return None
        return compile_network.group_member(group_id, fact)

    def _address_group(self, host: str, key: str) -> Item | None:
        addresses = self.address_groups.get(key)
        if addresses is None or (host, "address " + key) not in self._naming:
            return None
        return compile_network.address_group(key, addresses)

    def _dhcp_port(self, host: str, network_id: str) -> PortFact | None:
        own = (self.ports[p] for p in self._dhcp_ports.get(network_id, ()))
        return min((p for p in own if p.host == host), key=lambda p: p.id, default=None)

    def _dhcp_network(self, host: str, key: str) -> Item | None:
        fact, own = self.networks.get(key), self._dhcp_port(host, key)
        if fact is None or own is None:
            return None
        ids = self._subnets_of.get(key, set())
        return compile_network.dhcp_network(
            fact,
            own,
            [self.subnets[s] for s in ids],
            {s: [self.ports[p] for p in self._interfaces_in.get(s, ())] for s in ids},
            self._dns_domain,
            self._lease_seconds,
        )

    def _dhcp_host(self, host: str, key: str) -> Item | None:
        fact = self.ports.get(key)
        if fact is None or not fact.fixed_ips or self._dhcp_port(host, fact.network_id) is None:
            return None
        return compile_network.dhcp_host(fact, self.subnets)

    def _router(self, host: str, key: str) -> Item | None:
        fact = self.routers.get(key)
        if fact is None or fact.host != host:
            return None
        ports = [self.ports[p] for p in self._router_ports.get(key, ())]
        return compile_network.router(fact, ports, self.subnets, self.networks, self._labels_for(fact))

    def _floating_ip(self, host: str, key: str) -> Item | None:
        fact = self.floating.get(key)
        if fact is None or self._host_of_floating(key) != host:
            return None
        return compile_network.floating_ip(fact)

    def _port_forwarding(self, host: str, key: str) -> Item | None:
        fact = self.forwardings.get(key)
        if fact is None or self._host_of_floating(fact.floatingip_id) != host:
            return None
        return compile_network.port_forwarding(fact, self.floating[fact.floatingip_id])


def _store(index: dict[Any, Any], key: Any, value: Any) -> Any:
    """Put or, for None, remove; the old value."""
    old = index.pop(key, None)
    if value is not None:
        index[key] = value
    return old


def _turn(members: set[str], member: str, inside: bool) -> None:
    if inside:
        members.add(member)
    else:
        members.discard(member)


def _named(group: GroupFact) -> frozenset[str]:
    """What the rules of a group name as remote; address groups carry a mark."""
    found = {rule.remote_group_id for rule in group.rules if rule.remote_group_id}
    found |= {"address " + r.remote_address_group_id for r in group.rules if r.remote_address_group_id}
    return frozenset(found)
