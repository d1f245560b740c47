"""iptables tables as values: what we want in them, how iptables-save writes them, and how both are joined.

Ours are the chains that carry the names of OpenStack's agents (of routers, or of the hybrid plug on the
host), and rules of built-in chains that jump there. Everything else was put there by
somebody else and stays, where it stood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

PREFIX = "neutron-l3-agent-"
BRIDGE_PREFIX = "neutron-openvswi-"
METER_PREFIX = "neutron-meter-"
FILTER_TOP = "neutron-filter-top"
POSTROUTING_BOTTOM = "neutron-postrouting-bottom"

BUILT_IN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}
NO_COUNTERS = "[0:0]"


@dataclass(frozen=True, slots=True)
class Table:
    """One wanted table: the rules of our chains, and those of built-in chains that lead there."""

    name: str
    chains: tuple[str, ...]
    rules: tuple[str, ...]
    """As iptables-save writes them: ``-A chain match -j target``."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All tables of one namespace."""

    v4: tuple[Table, ...] = ()
    v6: tuple[Table, ...] = ()


@dataclass(slots=True)
class SavedTable:
    """One table as iptables-save -c wrote it."""

    chains: dict[str, str] = field(default_factory=dict)
    """Chain to ``POLICY [packets:bytes]``, in the order of the text."""
    rules: list[SavedRule] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SavedRule:
    text: str
    counters: str = NO_COUNTERS

    @property
    def chain(self) -> str:
        return self.text.split(" ", 2)[1]


def is_our_chain(chain: str) -> bool:
    return chain.startswith((PREFIX, BRIDGE_PREFIX, METER_PREFIX)) or chain in (
        FILTER_TOP,
        POSTROUTING_BOTTOM,
    )


def is_ours(rule: str) -> bool:
    words = rule.split(" ")
    if is_our_chain(words[1]):
        return True
    return "-j" in words and is_our_chain(words[words.index("-j") + 1])


def parse(text: str) -> dict[str, SavedTable]:
    """What ``iptables-save -c`` says, by table."""
    tables: dict[str, SavedTable] = {}
    table = SavedTable()
    for line in text.splitlines():
        if line.startswith("*"):
            table = tables.setdefault(line[1:], SavedTable())
        elif line.startswith(":"):
            chain, _, rest = line[1:].partition(" ")
            table.chains[chain] = rest
        elif found := re.match(r"(?:(\[\d+:\d+\]) )?(-A .*)", line):
            table.rules.append(SavedRule(found.group(2).rstrip(), found.group(1) or NO_COUNTERS))
    return tables


def ours(saved: SavedTable | None) -> dict[str, list[str]]:
    """Our part of a table, chain by chain: what has to be equal for the table to be right."""
    if saved is None:
        return {}
    found: dict[str, list[str]] = {chain: [] for chain in saved.chains if is_our_chain(chain)}
    for rule in saved.rules:
        if is_ours(rule.text):
            found.setdefault(rule.chain, []).append(rule.text)
    return found


def wanted_by_chain(table: Table) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {chain: [] for chain in table.chains}
    for rule in table.rules:
        found.setdefault(rule.split(" ", 2)[1], []).append(rule)
    return found


def differing(wanted: Iterable[Table], saved: dict[str, SavedTable]) -> list[Table]:
    """Wanted tables whose part of ours is not as it shall be."""
    return [table for table in wanted if wanted_by_chain(table) != ours(saved.get(table.name))]


def restore_text(wanted: Sequence[Table], saved: dict[str, SavedTable]) -> str:
    """Input of ``iptables-restore -c``: ours as wanted, the user's own kept, counters of what stays carried over."""
    return "".join(_restore_table(table, saved.get(table.name, SavedTable())) for table in wanted)


def _restore_table(table: Table, saved: SavedTable) -> str:
    policies = dict.fromkeys(BUILT_IN[table.name], f"ACCEPT {NO_COUNTERS}")
    policies.update({c: p for c, p in saved.chains.items() if not is_our_chain(c)})
    policies.update(dict.fromkeys(table.chains, f"- {NO_COUNTERS}"))
    counters = {rule.text: rule.counters for rule in saved.rules}
    ours_by_chain = wanted_by_chain(table)
    lines = [f"*{table.name}", *(f":{chain} {policy}" for chain, policy in policies.items())]
    for chain in policies:
        before, after = _foreign(chain, saved)
        own = [f"{counters.get(rule, NO_COUNTERS)} {rule}" for rule in ours_by_chain.get(chain, [])]
        lines += [*before, *own, *after]
    return "\n".join([*lines, "COMMIT", ""])


def _foreign(chain: str, saved: SavedTable) -> tuple[list[str], list[str]]:
    """The user's rules of a chain, before and after ours."""
    before: list[str] = []
    after: list[str] = []
    if is_our_chain(chain):
        return before, after
    seen_ours = False
    for rule in saved.rules:
        if rule.chain != chain:
            continue
        if is_ours(rule.text):
            seen_ours = True
        else:
            (after if seen_ours else before).append(f"{rule.counters} {rule.text}")
    return before, after


def strangers(saved: dict[str, SavedTable], namespace: str) -> list[tuple[str, str]]:
    """Table and rule of what somebody else put into a namespace of ours; on the host itself others may have rules.

    A policy that drops is a stranger's as well: ours are all ACCEPT.
    """
    if not namespace:
        return []
    rules = [
        (name, rule.text) for name, table in saved.items() for rule in table.rules if not is_ours(rule.text)
    ]
    policies = [
        (name, f"-P {chain} DROP")
        for name, table in saved.items()
        for chain, policy in table.chains.items()
        if policy.startswith("DROP")
    ]
    return [*rules, *policies]
