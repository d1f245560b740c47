"""Limits what a port receives: a token bucket on its device, filled as the switch sends into it.

Mark of ours: the handle of the queue discipline. A device that was made again has lost it; that is seen
by its index.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from virga.agent.protocol import Difference, Failure
from virga.agent.wishes import Outcome, Wishes
from virga.lib.run import CommandError, Runner, run

HANDLE = "5647:"
LATENCY = "50ms"
LEAST_BURST = 3100
"""Two full frames: less would let none through."""


@dataclass(frozen=True, slots=True)
class Shaper:
    """At most ``kbps`` towards the instance."""

    kbps: int
    burst_kbps: int

    @property
    def burst_bytes(self) -> int:
        return max(self.burst_kbps * 125, self.kbps * 125 // 100, LEAST_BURST)


def device_index(name: str) -> int:
    """0 when there is no such device."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


class ShaperDriver:
    """The only writer of queue disciplines."""

    name = "shapers"

    def __init__(self, runner: Runner = run, index: Callable[[str], int] = device_index) -> None:
        self._run = runner
        self._index = index
        self._wishes: Wishes[Shaper] = Wishes(self.name)
        self._done: dict[str, int] = {}
        self._actual: dict[str, int] = {}
        """Device to the rate of its token bucket, in bytes a second."""

    def want(self, device: str, shaper: Shaper | None) -> None:
        self._wishes.want(device, shaper)

    def outcome(self, device: str) -> Outcome:
        return self._wishes.outcome(device)

    def resync(self) -> None:
        """Reads only."""
        self._actual = self._read()
        self._wishes.mark_stale(
            name for name, shaper in self._wishes.wanted.items() if self._actual.get(name) != _rate(shaper)
        )

    def apply(self) -> Sequence[Failure]:
        """Idempotent: replaces what is there. Mark: the handle."""
        again = [n for n in self._wishes.wanted if n in self._done and self._done[n] != self._index(n)]
        self._wishes.mark_stale(again)
        return self._wishes.settle(self._realise, CommandError)

    def prune(self) -> Sequence[Failure]:
        """Idempotent: what nobody wants shaped is not, and no device need be there any more."""
        for name in sorted(self._actual.keys() - self._wishes.wanted.keys()):
            if self._index(name):
                self._run(["tc", "qdisc", "del", "dev", name, "root"], check=False)
            del self._actual[name]
            self._done.pop(name, None)
        return []

    def check(self) -> Sequence[Difference]:
        actual, wanted = self._read(), self._wishes.wanted
        found = [Difference(self.name, n, "extra") for n in sorted(actual.keys() - wanted.keys())]
        for name, shaper in sorted(wanted.items()):
            if actual.get(name) != _rate(shaper):
                kind = "differs" if name in actual else "missing"
                found.append(Difference(self.name, name, kind, str(_rate(shaper)), str(actual.get(name, ""))))
        return found

    def _realise(self, name: str, shaper: Shaper) -> None:
        bucket = ("rate", f"{shaper.kbps}kbit", "burst", str(shaper.burst_bytes), "latency", LATENCY)
        self._run(["tc", "qdisc", "replace", "dev", name, "root", "handle", HANDLE, "tbf", *bucket])
        self._done[name] = self._index(name)
        self._actual[name] = _rate(shaper)

    def _read(self) -> dict[str, int]:
        listed = json.loads(self._run(["tc", "-j", "qdisc", "show"]).stdout or "[]")
        return {
            item["dev"]: int(item.get("options", {}).get("rate", 0))
            for item in listed
            if item.get("kind") == "tbf" and item.get("handle") == HANDLE
        }


def _rate(shaper: Shaper) -> int:
    return shaper.kbps * 125
