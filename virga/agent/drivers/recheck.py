"""Lets the kernel ask the rules again about connections of a port whose rules changed (hybrid plug).

Rules are asked only about the first packet of a connection. So when the rules of a port change its
entries are deleted: the next packet is a first one again, and passes if it still may.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from virga.agent.protocol import Difference, Failure
from virga.agent.wishes import Outcome, Wishes
from virga.lib.run import CommandError, Runner, run

NOTHING_DELETED = "0 flow entries"


@dataclass(frozen=True, slots=True)
class Recheck:
    """What a port's connections were judged by."""

    zone: int
    addresses: tuple[str, ...]
    rules: frozenset[str]


class RecheckDriver:
    """Remembers in memory only: what an agent finds at its start counts as judged."""

    name = "recheck"

    def __init__(self, runner: Runner = run) -> None:
        self._run = runner
        self._wishes: Wishes[Recheck] = Wishes(self.name)
        self._judged: dict[str, Recheck] = {}

    def want(self, port_id: str, recheck: Recheck | None) -> None:
        self._wishes.want(port_id, recheck)
        if recheck is None:
            self._judged.pop(port_id, None)

    def outcome(self, port_id: str) -> Outcome:
        return self._wishes.outcome(port_id)

    def resync(self) -> None:
        """There is nothing to read."""

    def apply(self) -> Sequence[Failure]:
        """Idempotent. Deletes only where something was taken away. Needs no mark."""
        return self._wishes.settle(self._judge, CommandError)

    def prune(self) -> Sequence[Failure]:
        return []

    def check(self) -> Sequence[Difference]:
        return []

    def _judge(self, port_id: str, wanted: Recheck) -> None:
        before = self._judged.get(port_id)
        if before is not None and not before.rules <= wanted.rules:
            for address in wanted.addresses:
                for side in ("--orig-src", "--orig-dst"):
                    self._delete(wanted.zone, side, address)
        self._judged[port_id] = wanted

    def _delete(self, zone: int, side: str, address: str) -> None:
        command = ["conntrack", "-D", "-w", str(zone), side, address]
        if ":" in address:
            command += ["-f", "ipv6"]
        done = self._run(command, check=False)
        if done.returncode and NOTHING_DELETED not in done.stdout + done.stderr:
            raise CommandError(done)
