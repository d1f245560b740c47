"""Reads rules of iptables as its save command prints them, and says whether one would take a packet. Pure.

Only what is needed to judge a stranger's rule: addresses, protocol, ports, devices. A match that is not
understood counts as fitting, so that the rule is at least suspected.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from virga.trace.model import ICMP, ICMP6, TCP, UDP, Flight

OURS = "neutron-"
_PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "ipv6-icmp": ICMP6, "icmpv6": ICMP6, "all": 0}
STOPS = ("DROP", "REJECT")
_PASSED_OVER = (
    "-m",
    "--comment",
    "--reject-with",
    "--to-destination",
    "--to-source",
    "--to-ports",
    "--set-xmark",
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One line. ``policy`` is the fate of a built-in chain's end."""

    family: int
    table: str
    chain: str
    target: str
    words: tuple[str, ...]
    line: str
    policy: bool = False

    @property
    def is_ours(self) -> bool:
        return self.chain.startswith(OURS) or self.target.startswith(OURS)

    @property
    def text(self) -> str:
        return (
            f"iptables -t {self.table} {self.line}"
            if self.family == 4
            else f"ip6tables -t {self.table} {self.line}"
        )

    @property
    def removal(self) -> str:
        return self.text.replace(" -A ", " -D ", 1)


def parse(line: str) -> Rule | None:
    """``4/nat -A PREROUTING …`` or ``4/filter -P FORWARD DROP``."""
    where, _, rest = line.partition(" ")
    family, _, table = where.partition("/")
    if family not in ("4", "6"):
        return None
    try:
        words = shlex.split(rest)
    except ValueError:
        return None
    if len(words) >= 3 and words[0] == "-P":
        return Rule(int(family), table, words[1], words[2], (), rest, policy=True)
    if len(words) < 2 or words[0] != "-A":
        return None
    target = words[words.index("-j") + 1] if "-j" in words[:-1] else ""
    return Rule(int(family), table, words[1], target, tuple(words[2:]), rest)


@dataclass(frozen=True, slots=True)
class Passing:
    """A packet at one hook of the kernel."""

    flight: Flight
    came_in: str = ""
    goes_out: str = ""
    is_reply: bool = False


def takes(rule: Rule, packet: Passing) -> bool:
    """Whether all matches of the rule that are understood fit."""
    if rule.family != packet.flight.version:
        return False
    position, negated = 0, False
    while position < len(rule.words):
        word = rule.words[position]
        if word == "!":
            negated = True
            position += 1
            continue
        if word == "-j":
            position += 2
            continue
        value = rule.words[position + 1] if position + 1 < len(rule.words) else ""
        answer = _fits(word, value, packet)
        if answer is not None and answer == negated:
            return False
        position += 2 if word.startswith("-") and not value.startswith("-") else 1
        negated = False
    return True


def _fits(word: str, value: str, packet: Passing) -> bool | None:
    """None: this is no match, or one that is not understood."""
    flight = packet.flight
    if word in ("-s", "-d"):
        address = flight.source if word == "-s" else flight.destination
        return ip_address(address) in ip_network(value, strict=False)
    if word == "-p":
        wanted = _PROTOCOLS.get(value)
        return None if wanted is None else wanted in (0, flight.protocol)
    if word in ("--dport", "--sport"):
        return _in_range(flight.destination_port if word == "--dport" else flight.source_port, value)
    if word in ("-i", "-o"):
        device = packet.came_in if word == "-i" else packet.goes_out
        return device.startswith(value[:-1]) if value.endswith("+") else device == value
    if word == "--icmp-type":
        return _icmp(value, packet)
    if word == "--ctstate":
        states = value.split(",")
        return "ESTABLISHED" in states if packet.is_reply else "NEW" in states
    return None


def _in_range(port: int, value: str) -> bool:
    low, colon, high = value.partition(":")
    if not low.isdigit():
        return False
    return int(low) <= port <= int(high) if colon and high.isdigit() else port == int(low)


def _icmp(value: str, packet: Passing) -> bool | None:
    number = value.partition("/")[0]
    if not number.isdigit():
        return None
    return int(number) == (0 if packet.is_reply else 8)


TRANSLATES = ("DNAT", "SNAT", "REDIRECT", "NETMAP", "MASQUERADE")
DEEPEST = 10


def deciding(lines: Sequence[str], chain: str, packet: Passing) -> list[Rule]:
    """Of each table, the first rule of a stranger that decides over the packet at a hook, in chains of strangers as well."""
    found = []
    tables: dict[str, list[Rule]] = {}
    for rule in map(parse, lines):
        if rule is not None and rule.family == packet.flight.version and not rule.is_ours:
            tables.setdefault(rule.table, []).append(rule)
    for rules in tables.values():
        answer = _walk(rules, chain, packet, 0)
        if answer is None or answer.target == "RETURN":
            answer = next((r for r in rules if r.policy and r.chain == chain and r.target in STOPS), None)
        if answer is not None and answer.target in (*STOPS, *TRANSLATES):
            found.append(answer)
    return found


def _walk(rules: Sequence[Rule], chain: str, packet: Passing, depth: int) -> Rule | None:
    chains = {rule.chain for rule in rules if not rule.policy}
    for rule in rules:
        if rule.chain != chain or rule.policy or not takes(rule, packet):
            continue
        if rule.target in (*STOPS, *TRANSLATES, "ACCEPT", "RETURN"):
            return rule
        if rule.target in chains and depth < DEEPEST:
            inner = _walk(rules, rule.target, packet, depth + 1)
            if inner is not None and inner.target != "RETURN":
                return inner
    return None


def foreign(lines: list[str]) -> list[Rule]:
    """Rules, and policies of chains, that no agent wrote."""
    return [rule for rule in map(parse, lines) if rule is not None and not rule.is_ours]
