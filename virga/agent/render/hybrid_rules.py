"""Security groups of the hybrid plug as iptables chains and sets, by the names of OpenStack's older firewall.

    FORWARD -> neutron-openvswi-FORWARD -> neutron-openvswi-sg-chain
        to the guest    (physdev-out tap)  neutron-openvswi-i<port>   RETURN accepts
        from the guest  (physdev-in tap)   neutron-openvswi-o<port>   with -s<port> for its addresses

Sets ``NIPv4<group>`` and ``NIPv6<group>`` hold the members of a remote group.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from virga.agent.render.tables import RuleSet, Table
from virga.contract.items import Port, Rule, SecurityGroup
from virga.sdn.port_flows import EVERYTHING, sources
from virga.sdn.security_group_flows import ICMP, ICMP6, WITH_PORTS

CHAIN = "neutron-openvswi-"
SET_NAME_MAX = 28
ND_TYPES_IN = (130, 131, 132, 134, 135, 136)
ND_TYPES_OUT = (130, 131, 132, 133, 135, 136, 143)


@dataclass(frozen=True, slots=True)
class HybridPort:
    """A port behind a Linux bridge."""

    item: Port
    tap: str
    bridge: str
    inside: str
    """``qvb…``, the end of the pair that is in the Linux bridge."""
    zone: int
    groups: tuple[SecurityGroup, ...] = ()

    @property
    def stateless(self) -> bool:
        return bool(self.groups) and not any(group.stateful for group in self.groups)


@dataclass(frozen=True, slots=True)
class AddressSet:
    """An ipset of kind ``hash:net``."""

    version: int
    members: frozenset[str]


def set_name(group_id: str, version: int) -> str:
    """``NIPv4`` and as much of the group's id as an ipset's name holds."""
    return f"NIPv{version}{group_id}"[:SET_NAME_MAX]


def address_sets(addresses: Mapping[str, Iterable[str]]) -> dict[str, AddressSet]:
    """Sets of remote groups and address groups, both families each."""
    found = {}
    for group_id, members in addresses.items():
        networks = [ipaddress.ip_network(member, strict=False) for member in members]
        for version in (4, 6):
            of_family = frozenset(str(n) for n in networks if n.version == version and n.prefixlen)
            found[set_name(group_id, version)] = AddressSet(version, of_family)
    return found


def hybrid_rules(ports: Sequence[HybridPort]) -> RuleSet:
    """All tables of a host for both families; without a port they hold nothing of ours."""
    if not ports:
        empty = (Table("raw", (), ()), Table("filter", (), ()))
        return RuleSet(v4=empty, v6=empty)
    return RuleSet(v4=tuple(_tables(ports, 4)), v6=tuple(_tables(ports, 6)))


def _tables(ports: Sequence[HybridPort], version: int) -> Iterable[Table]:
    yield Table("raw", (f"{CHAIN}PREROUTING",), tuple(_raw(ports)))
    chains = [f"{CHAIN}{name}" for name in ("FORWARD", "INPUT", "sg-chain", "sg-fallback")]
    rules = [
        f"-A INPUT -j {CHAIN}INPUT",
        f"-A FORWARD -j {CHAIN}FORWARD",
        f'-A {CHAIN}sg-fallback -m comment --comment "Default drop rule for unmatched traffic." -j DROP',
    ]
    for port in ports:
        chains += [_chain(port, letter) for letter in "ios"]
        rules += _dispatch(port)
        if port.item.port_security_enabled:
            rules += [*_ingress(port, version), *_sources(port, version), *_egress(port, version)]
        else:
            rules += [f"-A {_chain(port, letter)} -j RETURN" for letter in "ios"]
    rules.append(f"-A {CHAIN}sg-chain -j ACCEPT")
    yield Table("filter", tuple(chains), tuple(rules))


def _raw(ports: Sequence[HybridPort]) -> Iterable[str]:
    yield f"-A PREROUTING -j {CHAIN}PREROUTING"
    for port in ports:
        target = "-j CT --notrack" if port.stateless else f"-j CT --zone {port.zone}"
        yield f"-A {CHAIN}PREROUTING -m physdev --physdev-in {port.inside} {target}"
        yield f"-A {CHAIN}PREROUTING -i {port.bridge} {target}"
        yield f"-A {CHAIN}PREROUTING -m physdev --physdev-in {port.tap} {target}"


def _chain(port: HybridPort, letter: str) -> str:
    return f"{CHAIN}{letter}{port.item.key[:10]}"


def _dispatch(port: HybridPort) -> list[str]:
    out, into = (f"-m physdev --physdev-{way} {port.tap} --physdev-is-bridged" for way in ("out", "in"))
    return [
        f"-A {CHAIN}FORWARD {out} -j {CHAIN}sg-chain",
        f"-A {CHAIN}FORWARD {into} -j {CHAIN}sg-chain",
        f"-A {CHAIN}INPUT {into} -j {_chain(port, 'o')}",
        f"-A {CHAIN}sg-chain {out} -j {_chain(port, 'i')}",
        f"-A {CHAIN}sg-chain {into} -j {_chain(port, 'o')}",
    ]


def _ingress(port: HybridPort, version: int) -> Iterable[str]:
    chain = f"-A {_chain(port, 'i')}"
    if not port.stateless:
        yield f"{chain} -m state --state RELATED,ESTABLISHED -j RETURN"
    if version == 4:
        yield f"{chain} -p udp -m udp --sport 67 --dport 68 -j RETURN"
    else:
        yield from (f"{chain} -p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN" for kind in ND_TYPES_IN)
        yield f"{chain} -p udp -m udp --sport 547 --dport 546 -j RETURN"
    yield from _rules(port, version, "ingress", chain)
    yield from _end(chain)


def _sources(port: HybridPort, version: int) -> Iterable[str]:
    chain = f"-A {_chain(port, 's')}"
    for source in sources(port.item):
        if source.version == version:
            address = f"-s {_with_length(source.network, version)} " if source.network else ""
            yield f"{chain} {address}-m mac --mac-source {source.mac.upper()} -j RETURN"
    yield f"{chain} -j DROP"


def _with_length(network: str, version: int) -> str:
    return network if "/" in network else f"{network}/{32 if version == 4 else 128}"


def _egress(port: HybridPort, version: int) -> Iterable[str]:
    chain, guard = f"-A {_chain(port, 'o')}", f"-j {_chain(port, 's')}"
    if version == 4:
        dhcp = "-p udp -m udp --sport 68 --dport 67"
        yield f"{chain} -s 0.0.0.0/32 -d 255.255.255.255/32 {dhcp} -j RETURN"
        yield f"{chain} {guard}"
        yield f"{chain} {dhcp} -j RETURN"
        yield f"{chain} -p udp -m udp --sport 67 --dport 68 -j DROP"
    else:
        for kind in (131, 135, 143):
            yield f"{chain} -s ::/128 -d ff02::/16 -p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN"
        yield f"{chain} {guard}"
        for kind in ND_TYPES_OUT:
            yield f"{chain} -p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN"
        yield f"{chain} -p ipv6-icmp -m icmp6 --icmpv6-type 134 -j DROP"
        yield f"{chain} -p udp -m udp --sport 546 --dport 547 -j RETURN"
        yield f"{chain} -p udp -m udp --sport 547 --dport 546 -j DROP"
    if not port.stateless:
        yield f"{chain} -m state --state RELATED,ESTABLISHED -j RETURN"
    yield from _rules(port, version, "egress", chain)
    yield from _end(chain)


def _end(chain: str) -> Iterable[str]:
    yield f"{chain} -m state --state INVALID -j DROP"
    yield f"{chain} -j {CHAIN}sg-fallback"


def _rules(port: HybridPort, version: int, direction: str, chain: str) -> list[str]:
    """The rules of all groups of the port; rules that say the same are there once."""
    found = [
        f"{chain}{_match(rule, version)} -j RETURN"
        for group in port.groups
        for rule in group.rules
        if rule.direction == direction and rule.ethertype == f"IPv{version}"
    ]
    return list(dict.fromkeys(found))


def _match(rule: Rule, version: int) -> str:
    incoming = rule.direction == "ingress"
    text = ""
    remote = rule.remote_group_id or rule.remote_address_group_id
    if rule.remote_ip_prefix and rule.remote_ip_prefix not in EVERYTHING:
        text += f" {'-s' if incoming else '-d'} {_with_length(rule.remote_ip_prefix, version)}"
    text += _protocol(rule, version)
    if remote:
        text += f" -m set --match-set {set_name(remote, version)} {'src' if incoming else 'dst'}"
    return text


def _protocol(rule: Rule, version: int) -> str:
    protocol, low, high = rule.protocol, rule.port_range_min, rule.port_range_max
    if protocol is None:
        return ""
    if protocol in WITH_PORTS:
        name = WITH_PORTS[protocol]
        if low is None or high is None:
            return f" -p {name}"
        return f" -p {name} -m {name} --dport {low if low == high else f'{low}:{high}'}"
    if protocol in (ICMP, ICMP6):
        name, module, option = (
            ("icmp", "icmp", "--icmp-type") if version == 4 else ("ipv6-icmp", "icmp6", "--icmpv6-type")
        )
        if low is None:
            return f" -p {name}"
        return f" -p {name} -m {module} {option} {low}" + ("" if high is None else f"/{high}")
    return f" -p {protocol}"
