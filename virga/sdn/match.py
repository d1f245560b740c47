"""Packets as fields, and matches (in Open vSwitch's spelling) as questions about them."""

from __future__ import annotations

import functools
import ipaddress
import re
from dataclasses import dataclass

IP, ARP, RARP, IPV6 = 0x0800, 0x0806, 0x8035, 0x86DD
_PROTOCOLS: dict[str, tuple[int, int | None]] = {
    "ip": (IP, None),
    "ipv6": (IPV6, None),
    "arp": (ARP, None),
    "rarp": (RARP, None),
    "icmp": (IP, 1),
    "tcp": (IP, 6),
    "udp": (IP, 17),
    "sctp": (IP, 132),
    "tcp6": (IPV6, 6),
    "udp6": (IPV6, 17),
    "sctp6": (IPV6, 132),
    "icmp6": (IPV6, 58),
}
_ALIASES = {"ipv6_src": "nw_src", "ipv6_dst": "nw_dst"}
_ADDRESSES = ("nw_src", "nw_dst", "ipv6_src", "ipv6_dst", "arp_spa", "arp_tpa", "nd_target")
_FLAG = re.compile(r"([+-])(\w+)")
EVERY_BIT = (1 << 128) - 1


class Packet:
    """Immutable. ``nw_src`` and ``nw_dst`` hold addresses of both families; ``vlan`` None is untagged."""

    __slots__ = ("_fields", "ct_state", "vlan")

    def __init__(
        self,
        fields: dict[str, int],
        vlan: int | None = None,
        ct_state: frozenset[str] = frozenset(),
    ) -> None:
        self._fields = fields
        self.vlan = vlan
        self.ct_state = ct_state

    @classmethod
    def of(cls, protocol: str, vlan: int | None = None, **fields: str | int) -> Packet:
        """``Packet.of("tcp", dl_src="fa:…", nw_src="10.0.0.1", tp_dst=22, …)``."""
        eth_type, proto = _PROTOCOLS[protocol]
        values = {"dl_type": eth_type, "nw_proto": proto or 0}
        values |= {_ALIASES.get(name, name): number(name, value) for name, value in fields.items()}
        return cls(values, vlan)

    def get(self, name: str) -> int:
        """0 when it was never set, as in a switch."""
        return self._fields.get(name, 0)

    def with_fields(self, **fields: int) -> Packet:
        return Packet({**self._fields, **fields}, self.vlan, self.ct_state)

    def with_vlan(self, vlan: int | None) -> Packet:
        return Packet(self._fields, vlan, self.ct_state)

    def fresh(self, in_port: int) -> Packet:
        """As it enters a bridge: no registers, not tracked."""
        kept = {n: v for n, v in self._fields.items() if not n.startswith(("reg", "ct_", "conj"))}
        return Packet({**kept, "in_port": in_port}, self.vlan)

    def untracked(self) -> Packet:
        return Packet({**self._fields, "ct_mark": 0, "ct_zone": 0}, self.vlan)

    def tracked(self, state: frozenset[str], mark: int, zone: int) -> Packet:
        return Packet({**self._fields, "ct_mark": mark, "ct_zone": zone}, self.vlan, state)

    def __repr__(self) -> str:
        return f"Packet({self._fields}, vlan={self.vlan}, ct_state={sorted(self.ct_state)})"


@dataclass(frozen=True, slots=True)
class _Bits:
    """``field & mask == value``."""

    name: str
    value: int
    mask: int


@dataclass(frozen=True, slots=True)
class Matcher:
    """All must hold."""

    bits: tuple[_Bits, ...]
    set_flags: frozenset[str]
    clear_flags: frozenset[str]
    vlan_tci: tuple[int, int] | None

    def fits(self, packet: Packet) -> bool:
        if not self.set_flags <= packet.ct_state or self.clear_flags & packet.ct_state:
            return False
        if self.vlan_tci is not None:
            tci = 0 if packet.vlan is None else 0x1000 | packet.vlan
            if tci & self.vlan_tci[1] != self.vlan_tci[0]:
                return False
        return all(packet.get(each.name) & each.mask == each.value for each in self.bits)


@functools.lru_cache(maxsize=100_000)
def matcher(match: str) -> Matcher:
    """Read a match as Open vSwitch prints it. ValueError for a field that is not known here."""
    bits: list[_Bits] = []
    flags: dict[str, set[str]] = {"+": set(), "-": set()}
    tci = None
    for part in match.split(",") if match else ():
        name, equals, value = part.partition("=")
        if not equals:
            bits += _protocol_bits(name)
        elif name == "ct_state":
            for sign, flag in _FLAG.findall(value):
                flags[sign].add(flag)
        elif name == "dl_vlan":
            tci = (0x1000 | int(value, 0), 0x1FFF)
        elif name == "vlan_tci":
            wanted, _, mask = value.partition("/")
            tci = (int(wanted, 0), int(mask or "0xffff", 0))
        else:
            bits.append(_bits(name, value))
    return Matcher(tuple(bits), frozenset(flags["+"]), frozenset(flags["-"]), tci)


def _protocol_bits(name: str) -> list[_Bits]:
    eth_type, proto = _PROTOCOLS[name]
    found = [_Bits("dl_type", eth_type, EVERY_BIT)]
    return found if proto is None else [*found, _Bits("nw_proto", proto, EVERY_BIT)]


def _bits(name: str, value: str) -> _Bits:
    """An address with a prefix length, a number or MAC with a mask, or exactly a value."""
    base, slash, mask = value.partition("/")
    field = _ALIASES.get(name, name)
    if not slash:
        return _Bits(field, number(name, base), EVERY_BIT)
    if name in _ADDRESSES:
        network = ipaddress.ip_network(value, strict=False)
        return _Bits(field, int(network.network_address), int(network.netmask))
    bits = number(name, mask)
    return _Bits(field, number(name, base) & bits, bits)


def number(name: str, value: str | int) -> int:
    """A field's value as a number."""
    if isinstance(value, int):
        return value
    if name in _ADDRESSES:
        return int(ipaddress.ip_address(value))
    if value.count(":") == 5:
        return int(value.replace(":", ""), 16)
    return int(value, 0)
