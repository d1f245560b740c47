"""ipsets of this host, for the hybrid plug. Mark of ours: names that begin with ``NIPv4`` or ``NIPv6``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from virga.agent.protocol import Difference, Failure
from virga.agent.render.hybrid_rules import AddressSet
from virga.agent.wishes import Outcome, Wishes
from virga.lib.run import CommandError, Runner, run

OURS = re.compile(r"^NIPv[46]")
BIGGEST = 65536


class IpsetDriver:
    """Changes of members are single additions and deletions: rules that use the set never see it empty."""

    name = "ipsets"

    def __init__(self, runner: Runner = run) -> None:
        self._run = runner
        self._wishes: Wishes[AddressSet] = Wishes(self.name)
        self._actual: dict[str, AddressSet] = {}

    def want(self, name: str, members: AddressSet | None) -> None:
        self._wishes.want(name, members)

    def wanted(self) -> Sequence[str]:
        return list(self._wishes.wanted)

    def outcome(self, name: str) -> Outcome:
        return self._wishes.outcome(name)

    def resync(self) -> None:
        """Reads only. Nothing is read where nothing was ever wanted: the tool may be missing there."""
        try:
            self._actual = self._read()
        except CommandError:
            self._actual = {}
        self._wishes.mark_stale(n for n, w in self._wishes.wanted.items() if self._actual.get(n) != w)

    def apply(self) -> Sequence[Failure]:
        """Idempotent; one batch for each set."""
        return self._wishes.settle(self._realise, CommandError)

    def prune(self) -> Sequence[Failure]:
        """Idempotent; a set that a rule still uses stays for the next time."""
        failures = []
        for name in sorted(self._actual.keys() - self._wishes.wanted.keys()):
            try:
                self._run(["ipset", "destroy", name])
            except CommandError as error:
                if "does not exist" not in str(error):
                    failures.append(Failure(self.name, name, str(error)))
                    continue
            del self._actual[name]
        return failures

    def check(self) -> Sequence[Difference]:
        if not self._wishes.wanted:
            return []
        actual = self._read()
        return [
            Difference(self.name, n, "differs" if n in actual else "missing", str(w), str(actual.get(n, "")))
            for n, w in sorted(self._wishes.wanted.items())
            if actual.get(n) != w
        ]

    def _realise(self, name: str, wanted: AddressSet) -> None:
        there = self._actual.get(name)
        if there == wanted:
            return
        members = there.members if there else frozenset()
        family = "inet" if wanted.version == 4 else "inet6"
        lines = [f"create -exist {name} hash:net family {family} maxelem {BIGGEST}"] if there is None else []
        lines += [f"add -exist {name} {member}" for member in sorted(wanted.members - members)]
        lines += [f"del -exist {name} {member}" for member in sorted(members - wanted.members)]
        self._run(["ipset", "restore"], stdin="\n".join(lines) + "\n")
        self._actual[name] = wanted

    def _read(self) -> dict[str, AddressSet]:
        families: dict[str, int] = {}
        members: dict[str, set[str]] = {}
        for line in self._run(["ipset", "save"]).stdout.splitlines():
            words = line.split()
            if len(words) < 3 or not OURS.match(words[1]):
                continue
            if words[0] == "create":
                families[words[1]] = 6 if "inet6" in words else 4
                members[words[1]] = set()
            elif words[0] == "add":
                length = "" if "/" in words[2] else ("/128" if families[words[1]] == 6 else "/32")
                members[words[1]].add(words[2] + length)
        return {name: AddressSet(family, frozenset(members[name])) for name, family in families.items()}
