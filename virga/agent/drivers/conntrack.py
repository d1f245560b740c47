"""Ends connections that a router translates by a mapping that is no longer so.

The kernel looks at NAT rules only for the first packet of a connection. So when a floating IP moves
or goes, what it carried would go on for ever: after each change the entries are read, and those that
no wanted mapping explains are deleted. An agent without memory does the same, hence needs no mark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from virga.agent.protocol import Difference, Failure
from virga.agent.wishes import Outcome, Wishes
from virga.lib.run import CommandError, Runner, in_namespace, run

METADATA = "169.254.169.254"


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A port forwarding, by its external side and the machine behind it."""

    floating: str
    protocol: str
    low: int
    high: int
    fixed: str


@dataclass(frozen=True, slots=True)
class Mappings:
    """All translations that a router may do."""

    gateways: frozenset[str] = frozenset()
    """Addresses that machines without a floating IP leave by; empty when SNAT is off."""
    floating: frozenset[tuple[str, str]] = frozenset()
    """``(floating, fixed)``."""
    ports: frozenset[PortMapping] = frozenset()


@dataclass(frozen=True, slots=True)
class Entry:
    """A connection: who called whom, and whom the answers come from and go to."""

    protocol: str
    source: str
    destination: str
    reply_source: str
    reply_destination: str
    port: int


def parse(text: str) -> list[Entry]:
    """The lines of ``conntrack -L``."""
    entries = []
    for line in text.splitlines():
        sources, destinations = re.findall(r"\bsrc=(\S+)", line), re.findall(r"\bdst=(\S+)", line)
        if len(sources) < 2 or len(destinations) < 2:
            continue
        port = re.search(r"\bdport=(\d+)", line)
        number = int(port.group(1)) if port else 0
        entries.append(
            Entry(line.split()[0], sources[0], destinations[0], sources[1], destinations[1], number)
        )
    return entries


def doomed(entries: Sequence[Entry], mappings: Mappings) -> list[tuple[str, ...]]:
    """Arguments of ``conntrack -D`` for all that no mapping explains; one for many entries of a kind."""
    found: dict[tuple[str, ...], None] = {}
    floating = {address for address, _ in mappings.floating}
    for entry in entries:
        forwarded = entry.destination != entry.reply_source
        masqueraded = entry.source != entry.reply_destination
        if forwarded and not _forward_explained(entry, mappings):
            ports = ("-p", entry.protocol, "--dport", str(entry.port)) if entry.port else ()
            found[("--orig-dst", entry.destination, "--reply-src", entry.reply_source, *ports)] = None
        elif masqueraded and not forwarded and not _masquerade_explained(entry, mappings):
            found[("--orig-src", entry.source, "--reply-dst", entry.reply_destination)] = None
        elif not forwarded and entry.destination in floating:
            # Seen before the floating IP was here: it would stay untranslated as long as packets come.
            found[("--orig-dst", entry.destination, "--reply-src", entry.destination)] = None
    return list(found)


def _forward_explained(entry: Entry, mappings: Mappings) -> bool:
    if entry.destination == METADATA or (entry.destination, entry.reply_source) in mappings.floating:
        return True
    return any(
        (port.floating, port.fixed, port.protocol) == (entry.destination, entry.reply_source, entry.protocol)
        and port.low <= entry.port <= port.high
        for port in mappings.ports
    )


def _masquerade_explained(entry: Entry, mappings: Mappings) -> bool:
    translated = entry.reply_destination
    return translated in mappings.gateways or (translated, entry.source) in mappings.floating


class ConntrackDriver:
    """Idempotent. Works after the rules are in place, so that nothing new takes the old way."""

    name = "conntrack"

    def __init__(self, runner: Runner = run, wake: Callable[[], None] = lambda: None) -> None:
        self._run = runner
        self._wake = wake
        self._wishes: Wishes[Mappings] = Wishes(self.name)

    def want(self, namespace: str, mappings: Mappings | None) -> None:
        self._wishes.want(namespace, mappings)

    def outcome(self, namespace: str) -> Outcome:
        return self._wishes.outcome(namespace)

    def resync(self) -> None:
        self._wishes.doubt()

    def apply(self) -> Sequence[Failure]:
        failures = self._wishes.settle(self._realise, CommandError)
        if self._wishes.in_doubt:
            self._wake()
        return failures

    def prune(self) -> Sequence[Failure]:
        """Nothing: connections go with their namespace."""
        return []

    def check(self) -> Sequence[Difference]:
        found = []
        for namespace, mappings in sorted(self._wishes.wanted.items()):
            try:
                entries = self._entries(namespace)
            except CommandError as error:
                found.append(Difference(self.name, namespace, "missing", actual=str(error)))
                continue
            found += [
                Difference(self.name, namespace, "extra", actual=" ".join(words))
                for words in doomed(entries, mappings)
            ]
        return found

    def _entries(self, namespace: str) -> list[Entry]:
        return parse(self._run(in_namespace(namespace, "conntrack", "-L", "-f", "ipv4")).stdout)

    def _realise(self, namespace: str, mappings: Mappings) -> None:
        for words in doomed(self._entries(namespace), mappings):
            # Exit status 1 only says that the entry ended by itself meanwhile.
            self._run(in_namespace(namespace, "conntrack", "-D", "-f", "ipv4", *words), check=False)
