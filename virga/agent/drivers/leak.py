"""Keeps the host's own kernel from seeing frames that belong to the switch.

The userspace datapath reads a device beside the kernel, not instead of it: without this, the host
would answer tenants' ARP and take addresses from tenants' router advertisements. One base chain a
device, in table ``netdev virga``, drops at ingress; the switch still gets every frame. The chain holds
for a device of that name, or goes with the device, as the kernel has it.

Mark of ours: the table. Devices that are ports of a Linux bridge (``tap`` and ``qvb`` of the hybrid
plug) must not be listed, because there the kernel is the switch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from virga.agent.protocol import Difference, Failure
from virga.agent.wishes import Outcome, Wishes
from virga.lib.run import CommandError, Runner, run

TABLE = "virga"
DEVICES = Path("/sys/class/net")


class LeakDriver:
    """The only writer of table ``netdev virga``."""

    name = "leak"

    def __init__(self, runner: Runner = run) -> None:
        self._run = runner
        self._wishes: Wishes[bool] = Wishes(self.name)
        self._actual: set[str] = set()

    def want(self, device: str, closed: bool) -> None:
        """Frames from ``device`` are the switch's alone."""
        self._wishes.want(device, True if closed else None)

    def outcome(self, device: str) -> Outcome:
        return self._wishes.outcome(device)

    def resync(self) -> None:
        """Reads only."""
        self._actual = self._read()
        self._wishes.mark_stale(name for name in self._wishes.wanted if name not in self._actual)

    def apply(self) -> Sequence[Failure]:
        """Idempotent; all in one transaction, one by one when it was refused. Mark: the table."""
        stale = [name for name in self._wishes.stale() if name not in self._actual]
        try:
            self._close(stale)
        except CommandError:
            return self._wishes.settle(self._close_one, CommandError)
        for name in self._wishes.stale():
            self._wishes.done(name)
        return []

    def prune(self) -> Sequence[Failure]:
        """Idempotent: chains of devices that nobody wants closed go."""
        unwanted = sorted(self._actual - self._wishes.wanted.keys())
        if not unwanted:
            return []
        text = "".join(f"delete chain netdev {TABLE} {name}\n" for name in unwanted)
        try:
            self._run(["nft", "-f", "-"], stdin=text)
        except CommandError as error:
            self._actual = self._read()
            return [Failure(self.name, n, str(error)) for n in unwanted if n in self._actual]
        self._actual.difference_update(unwanted)
        return []

    def check(self) -> Sequence[Difference]:
        actual = self._read()
        wanted = self._wishes.wanted.keys()
        return [
            *(Difference(self.name, name, "missing") for name in sorted(wanted - actual)),
            *(Difference(self.name, name, "extra") for name in sorted(actual - wanted)),
        ]

    def _close_one(self, name: str, _: bool) -> None:
        if name not in self._actual:
            self._close([name])

    def _close(self, names: Sequence[str]) -> None:
        if not names:
            return
        chains = "".join(
            f"add chain netdev {TABLE} {name} "
            f'{{ type filter hook ingress device "{name}" priority 0; policy drop; }}\n'
            for name in names
        )
        self._run(["nft", "-f", "-"], stdin=f"add table netdev {TABLE}\n{chains}")
        self._actual.update(names)

    def _read(self) -> set[str]:
        """Devices that are closed: the chain has the device's name."""
        done = self._run(["nft", "-j", "list", "chains", "netdev"], check=False)
        if done.returncode:
            return set()
        found = (entry.get("chain", {}) for entry in json.loads(done.stdout or "{}").get("nftables", []))
        return {chain["name"] for chain in found if chain.get("table") == TABLE}
