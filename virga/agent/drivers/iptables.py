"""The rules inside router namespaces: read with iptables-save, compared, replaced table by table, atomically."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from virga.agent.drivers.presence import Presence
from virga.agent.protocol import Difference, Failure
from virga.agent.render.tables import (
    RuleSet,
    SavedTable,
    Table,
    differing,
    ours,
    parse,
    restore_text,
    strangers,
    wanted_by_chain,
)
from virga.agent.wishes import Outcome, Wishes
from virga.lib.run import CommandError, Runner, in_namespace, run


class RulesError(Exception):
    """The rules of a namespace could not be read or replaced."""


@dataclass(frozen=True, slots=True)
class _Family:
    save: tuple[str, ...]
    restore: tuple[str, ...]


def _families(kind: str) -> dict[int, _Family]:
    """Commands by IP version. ``kind`` is ``nft``, ``legacy`` or empty for what the machine prefers."""
    middle = f"-{kind}" if kind else ""
    wait = ("-w", "10") if kind == "legacy" else ()
    return {
        4: _Family((f"iptables{middle}-save", "-c"), (f"iptables{middle}-restore", "-c", *wait)),
        6: _Family((f"ip6tables{middle}-save", "-c"), (f"ip6tables{middle}-restore", "-c", *wait)),
    }


class IptablesDriver:
    """Idempotent; all-or-nothing per table. Mark: the L3 agent's chain names; foreign rules stay."""

    name = "iptables"

    def __init__(
        self,
        kind: str = "",
        runner: Runner = run,
        wake: Callable[[], None] = lambda: None,
        versions: Sequence[int] = (4, 6),
    ) -> None:
        self._run = runner
        self._wake = wake
        self._versions = versions
        self._families = _families(kind)
        self._wishes: Wishes[RuleSet] = Wishes(self.name)
        self._presence = Presence()
        self._written: dict[tuple[str, int], dict[Table, dict[str, list[str]]]] = {}
        """How iptables-save spells what we wrote: spellings differ between versions, and are not drift."""

    def want(self, namespace: str, rules: RuleSet | None) -> None:
        self._wishes.want(namespace, rules)
        if rules is None:
            self._written.pop((namespace, 4), None)
            self._written.pop((namespace, 6), None)

    def outcome(self, namespace: str) -> Outcome:
        return self._wishes.outcome(namespace)

    def resync(self) -> None:
        self._wishes.doubt()

    def apply(self) -> Sequence[Failure]:
        self._wishes.mark_stale(self._presence.made_again({n: (n, ()) for n in self._wishes.wanted}))
        failures = self._wishes.settle(self._realise, RulesError)
        if self._wishes.in_doubt:
            self._wake()
        return failures

    def prune(self) -> Sequence[Failure]:
        """Nothing: rules go with their namespace."""
        return []

    def check(self) -> Sequence[Difference]:
        found = []
        for namespace, rules in sorted(self._wishes.wanted.items()):
            for version, tables in self._tables(rules):
                try:
                    saved = self._save(namespace, version)
                except RulesError as error:
                    found.append(Difference(self.name, namespace, "missing", actual=str(error)))
                    continue
                found += [
                    _difference(f"{namespace}/v{version}/{table.name}", table, saved.get(table.name))
                    for table in self._wrong(namespace, version, tables, saved)
                ]
                found += [
                    Difference(self.name, f"{namespace}/v{version}/{name}", "foreign", actual=rule)
                    for name, rule in strangers(saved, namespace)
                ]
        return found

    def _tables(self, rules: RuleSet) -> list[tuple[int, tuple[Table, ...]]]:
        return [(v, tables) for v, tables in ((4, rules.v4), (6, rules.v6)) if v in self._versions]

    def _realise(self, namespace: str, rules: RuleSet) -> None:
        for version, tables in self._tables(rules):
            saved = self._save(namespace, version)
            wrong = self._wrong(namespace, version, tables, saved)
            if wrong:
                self._restore(namespace, version, wrong, saved)

    def _wrong(
        self, namespace: str, version: int, tables: Sequence[Table], saved: dict[str, SavedTable]
    ) -> list[Table]:
        written = self._written.get((namespace, version), {})
        return [t for t in differing(tables, saved) if written.get(t) != ours(saved.get(t.name))]

    def _save(self, namespace: str, version: int) -> dict[str, SavedTable]:
        try:
            return parse(self._run(in_namespace(namespace, *self._families[version].save)).stdout)
        except CommandError as error:
            raise RulesError(str(error)) from error

    def _restore(
        self, namespace: str, version: int, tables: list[Table], saved: dict[str, SavedTable]
    ) -> None:
        text = restore_text(tables, saved)
        try:
            self._run(in_namespace(namespace, *self._families[version].restore), stdin=text)
        except CommandError as error:
            raise RulesError(f"{error}{_named_line(text, error.completed.stderr)}") from error
        after = self._save(namespace, version)
        self._written[namespace, version] = {
            table: ours(after.get(table.name)) for table in differing(tables, after)
        }


def _named_line(text: str, stderr: str) -> str:
    """The rule that iptables-restore complains about by number only."""
    words = stderr.replace(".", " ").split()
    if "line" not in words:
        return ""
    number = words[words.index("line") + 1].strip(":")
    lines = text.splitlines()
    return f" ({lines[int(number) - 1]})" if number.isdigit() and int(number) <= len(lines) else ""


def _difference(key: str, table: Table, saved: SavedTable | None) -> Difference:
    wanted = [rule for rules in wanted_by_chain(table).values() for rule in rules]
    actual = [rule for rules in ours(saved).values() for rule in rules]
    kind = "missing" if not actual else "differs"
    return Difference(
        "iptables",
        key,
        kind,
        wanted="\n".join(rule for rule in wanted if rule not in actual),
        actual="\n".join(rule for rule in actual if rule not in wanted),
    )
