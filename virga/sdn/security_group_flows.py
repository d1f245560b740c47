"""Security group rules as conjunctions, so that flows do not multiply.

A rule has an id (its conjunction), and a packet is accepted by it when it meets every dimension:

    a port of the group   reg5=N                        one flow a port and direction, for all its rules
    an allowed remote     ip,nw_src=10.0.0.5            one flow a member or prefix, for all rules naming it
    the protocol          tcp,tp_dst=22                 one flow a port range, for all rules having it

A dimension that a rule leaves open is left out. The accepting flow carries the cookie of the rule. A
rule that leaves all open ("everything of IPv4 out") is one plain flow for each port.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from virga.contract.items import Rule, SecurityGroup
from virga.sdn import tables as t
from virga.sdn.flow import Flow, cookie_of
from virga.sdn.port_flows import EVERYTHING, PlacedPort, canonical
from virga.sdn.port_masks import masked_ports

TCP, UDP, SCTP, ICMP, ICMP6 = 6, 17, 132, 1, 58
WITH_PORTS = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}


@dataclass(frozen=True, slots=True)
class Direction:
    """How a direction is spelled."""

    name: str
    table: int
    remote_v4: str
    remote_v6: str
    accept: str


EGRESS = Direction("egress", t.EGRESS_RULES, "nw_dst", "ipv6_dst", f"resubmit(,{t.EGRESS_ACCEPTED_LOOKUP})")
INGRESS = Direction("ingress", t.INGRESS_RULES, "nw_src", "ipv6_src", f"resubmit(,{t.INGRESS_ACCEPTED})")
DIRECTIONS = {direction.name: direction for direction in (EGRESS, INGRESS)}


class Conjunctions:
    """Rule id -> conjunction id: the first 32 bits of the rule's id, so that a restarted agent says the same."""

    def __init__(self) -> None:
        self._by_rule: dict[str, int] = {}
        self._taken: dict[int, str] = {}

    def of(self, rule_id: str) -> int:
        known = self._by_rule.get(rule_id)
        if known is not None:
            return known
        number = int(rule_id.replace("-", "")[:8], 16) or 1
        while number in self._taken:
            number = number % 0xFFFFFFFF + 1
        self._by_rule[rule_id] = number
        self._taken[number] = rule_id
        return number

    def forget(self, rule_id: str) -> None:
        number = self._by_rule.pop(rule_id, None)
        if number is not None:
            del self._taken[number]

    def rule_of(self, number: int) -> str | None:
        return self._taken.get(number)


@dataclass(frozen=True, slots=True)
class Shape:
    """Which dimensions a rule has."""

    rule: Rule
    number: int

    @property
    def has_remote(self) -> bool:
        rule = self.rule
        named = rule.remote_group_id or rule.remote_address_group_id
        return bool(named) or bool(rule.remote_ip_prefix and rule.remote_ip_prefix not in EVERYTHING)

    @property
    def has_protocol(self) -> bool:
        return self.rule.protocol is not None

    @property
    def is_open(self) -> bool:
        return not (self.has_remote or self.has_protocol)

    @property
    def needs_protocol_dimension(self) -> bool:
        """Without a remote the protocol is needed to tell IPv4 from IPv6; with one the remote tells."""
        return self.has_protocol

    @property
    def size(self) -> int:
        return 1 + self.has_remote + self.needs_protocol_dimension

    def part(self, dimension: int) -> str:
        return f"conjunction({self.number},{dimension}/{self.size})"

    @property
    def port_part(self) -> str:
        return self.part(1)

    @property
    def remote_part(self) -> str:
        return self.part(2)

    @property
    def protocol_part(self) -> str:
        return self.part(self.size)

    @property
    def accepted(self) -> str:
        return f"set_field:{self.number:#x}->reg7,{DIRECTIONS[self.rule.direction].accept}"


def family(rule: Rule) -> str:
    return "ip" if rule.ethertype == "IPv4" else "ipv6"


def protocol_matches(rule: Rule) -> list[str]:
    """What the protocol dimension of a rule looks like: one match, or one for each block of ports."""
    protocol, low, high = rule.protocol, rule.port_range_min, rule.port_range_max
    v6 = rule.ethertype == "IPv6"
    if protocol == ICMP and v6:
        protocol = ICMP6
    if protocol in WITH_PORTS:
        name = WITH_PORTS[protocol] + ("6" if v6 else "")
        if low is None or high is None:
            return [name]
        return [f"{name},{ports}" for ports in masked_ports("tp_dst", low, high)] or [name]
    if (protocol, v6) in ((ICMP, False), (ICMP6, True)):
        text = "icmp6" if v6 else "icmp"
        text += "" if low is None else f",icmp_type={low}"
        return [text + ("" if low is None or high is None else f",icmp_code={high}")]
    return [f"{family(rule)},nw_proto={protocol}"]


def remote_match(rule_direction: str, address: str) -> tuple[str, str]:
    """Ethertype and match of one remote address or prefix."""
    network = ipaddress.ip_network(address, strict=False)
    direction = DIRECTIONS[rule_direction]
    if network.version == 4:
        return "IPv4", f"ip,{direction.remote_v4}={canonical(network)}"
    return "IPv6", f"ipv6,{direction.remote_v6}={canonical(network)}"


def group_flows(
    group: SecurityGroup, conjunctions: Conjunctions, address_groups: Mapping[str, Sequence[str]]
) -> list[Flow]:
    """Accepting flows, protocols and prefixes of all rules of a group. Members and ports come apart."""
    flows: list[Flow] = []
    for rule in group.rules:
        shape = Shape(rule, conjunctions.of(rule.id))
        if shape.is_open:
            continue
        cookie, table = cookie_of(rule.id), DIRECTIONS[rule.direction].table
        flows.append(Flow(table, t.P_RULE, f"conj_id={shape.number},{family(rule)}", shape.accepted, cookie))
        if shape.needs_protocol_dimension:
            flows += [
                Flow(table, t.P_RULE, match, shape.protocol_part, cookie) for match in protocol_matches(rule)
            ]
        flows += _prefix_flows(shape, _prefixes(rule, address_groups))
    return _merged(flows)


def _prefixes(rule: Rule, address_groups: Mapping[str, Sequence[str]]) -> Sequence[str]:
    if rule.remote_address_group_id:
        return address_groups.get(rule.remote_address_group_id, ())
    return [rule.remote_ip_prefix] if rule.remote_ip_prefix else []


def _prefix_flows(shape: Shape, prefixes: Iterable[str]) -> list[Flow]:
    if not shape.has_remote:
        return []
    rule, flows = shape.rule, []
    for prefix in prefixes:
        ethertype, match = remote_match(rule.direction, prefix)
        if ethertype == rule.ethertype:
            table = DIRECTIONS[rule.direction].table
            flows.append(Flow(table, t.P_RULE, match, shape.remote_part, cookie_of(rule.id)))
    return flows


def member_flows(
    group_id: str, addresses: Iterable[str], naming: Iterable[Rule], conjunctions: Conjunctions
) -> list[Flow]:
    """One member of a remote group: one flow an address and direction, for all rules ``naming`` the group."""
    flows: list[Flow] = []
    rules = list(naming)
    for address in addresses:
        for rule in rules:
            ethertype, match = remote_match(rule.direction, address)
            if ethertype == rule.ethertype:
                shape = Shape(rule, conjunctions.of(rule.id))
                table = DIRECTIONS[rule.direction].table
                flows.append(Flow(table, t.P_RULE, match, shape.remote_part, cookie_of(group_id)))
    return _merged(flows)


def membership_flows(
    port: PlacedPort, groups: Iterable[SecurityGroup], conjunctions: Conjunctions
) -> list[Flow]:
    """The port as a member of its groups: its dimension of all their rules, and its wholly open rules."""
    if not port.filtered or not port.item.admin_state_up:
        return []
    flows: list[Flow] = []
    for group in groups:
        for rule in group.rules:
            shape = Shape(rule, conjunctions.of(rule.id))
            table = DIRECTIONS[rule.direction].table
            if shape.is_open:
                match = f"{family(rule)},reg5={port.ofport:#x}"
                flows.append(Flow(table, t.P_RULE, match, shape.accepted, cookie_of(rule.id)))
            else:
                match = f"reg5={port.ofport:#x}"
                flows.append(Flow(table, t.P_RULE, match, shape.port_part, cookie_of(port.item.key)))
    return _merged(flows)


def _merged(flows: list[Flow]) -> list[Flow]:
    """One flow for each key: conjunctions put together, of like plain flows the first stays."""
    found: dict[tuple[int, int, str], list[Flow]] = {}
    for flow in flows:
        found.setdefault(flow.key, []).append(flow)
    merged = []
    for alike in found.values():
        first = alike[0]
        if len(alike) == 1 or not first.is_conjunctive:
            merged.append(first)
            continue
        actions = ",".join(sorted({flow.actions for flow in alike}))
        merged.append(Flow(first.table, first.priority, first.match, actions, first.cookie))
    return merged
