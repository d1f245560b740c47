"""Named network namespaces of this host, as ``ip netns`` knows them.

Mark of ours: the prefix of the name. Nothing else in ``/run/netns`` is ever touched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from virga.agent.protocol import Difference, Failure
from virga.agent.wishes import Outcome, Wishes
from virga.lib.run import CommandError, Runner, in_namespace, run

OURS = re.compile(r"^(qdhcp|qrouter|snat|fip|qlbaas|virga|instance)-")
DIRECTORY = Path("/run/netns")
_LO_UP = "ip link set lo up"
FIRST_STEPS = {
    False: _LO_UP,
    # Addresses of routers and DHCP are what the control plane says: they take none from advertisements, and
    # looking for duplicates would only keep daemons from their link-local address for the first seconds.
    True: f"cd /proc/sys/net/ipv6/conf/default && echo 0 > dad_transmits && echo 0 > accept_ra; {_LO_UP}",
}


def _is_service(name: str) -> bool:
    return not name.startswith("instance-")


class NamespaceDriver:
    """Creates wanted namespaces, removes ours that nobody wants."""

    name = "namespaces"

    def __init__(self, runner: Runner = run, directory: Path = DIRECTORY) -> None:
        self._run = runner
        self._directory = directory
        self._wishes: Wishes[bool] = Wishes(self.name)
        self._actual: set[str] = set()

    def want(self, name: str, present: bool) -> None:
        self._wishes.want(name, True if present else None)

    def outcome(self, name: str) -> Outcome:
        return self._wishes.outcome(name)

    def resync(self) -> None:
        """Idempotent, reads only: what there is now; what is missing becomes stale."""
        self._actual = self._read()
        self._wishes.mark_stale(name for name in self._wishes.wanted if name not in self._actual)

    def apply(self) -> Sequence[Failure]:
        """Idempotent: one batch for all, one by one when the batch failed. Mark: the name's prefix."""
        missing = [name for name in self._wishes.stale() if name not in self._actual]
        if missing:
            self._add(missing)
            self._actual = self._read()
        failures = []
        for name in self._wishes.stale():
            if name in self._actual:
                self._wishes.done(name)
            else:
                failures.append(self._wishes.failed(name, "ip netns add did not create it"))
        return failures

    def prune(self) -> Sequence[Failure]:
        """Idempotent: remove ours that nobody wants. Processes inside are their drivers' business."""
        unwanted = sorted(n for n in self._actual if OURS.match(n) and n not in self._wishes.wanted)
        failures = []
        for name in unwanted:
            try:
                self._run(["ip", "netns", "del", name])
            except CommandError as error:
                if (self._directory / name).exists():
                    failures.append(Failure(self.name, name, str(error)))
                    continue
            self._actual.discard(name)
        return failures

    def check(self) -> Sequence[Difference]:
        actual = self._read()
        wanted = self._wishes.wanted.keys()
        missing = [Difference(self.name, n, "missing") for n in sorted(wanted - actual)]
        extra = [Difference(self.name, n, "extra") for n in sorted(actual - wanted) if OURS.match(n)]
        return [*missing, *extra]

    def _read(self) -> set[str]:
        if not self._directory.is_dir():
            return set()
        return {entry.name for entry in self._directory.iterdir()}

    def _add(self, names: list[str]) -> None:
        """A name left behind by a crash between its two steps is not a namespace: it is taken away first."""
        text = "".join(f"netns add {name}\n" for name in names)
        self._run(["ip", "-batch", "-", "-force"], stdin=text, check=False)
        for name in names:
            if (self._directory / name).exists():
                self._run(in_namespace(name, "sh", "-c", FIRST_STEPS[_is_service(name)]), check=False)
