"""What all drivers in memory do alike: a world that is a dictionary, and keys that are told to fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from virga.agent.protocol import Difference, Failure
from virga.agent.wishes import Outcome, Wishes


class FakeRefusal(Exception):
    """The pretended tool failed."""


class KeyedWorld:
    """A subsystem in memory. Tests may change ``world`` behind its back, and put keys into ``failing``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.wishes: Wishes[Any] = Wishes(name)
        self.world: dict[str, Any] = {}
        self.failing: dict[str, str] = {}
        self.writes = 0

    def outcome(self, name: str) -> Outcome:
        return self.wishes.outcome(name)

    def resync(self) -> None:
        """What was changed behind our back becomes stale."""
        self.wishes.mark_stale(k for k, v in self.wishes.wanted.items() if self.world.get(k) != v)

    def apply(self) -> Sequence[Failure]:
        """Idempotent; writes only what differs."""
        return self.wishes.settle(self._realise, FakeRefusal)

    def prune(self) -> Sequence[Failure]:
        """Idempotent; everything in this world is ours."""
        for key in sorted(self.world.keys() - self.wishes.wanted.keys()):
            del self.world[key]
            self.writes += 1
            self.changed(key)
        return []

    def check(self) -> Sequence[Difference]:
        wanted = self.wishes.wanted
        missing = [Difference(self.name, k, "missing") for k in wanted if k not in self.world]
        differs = [
            Difference(self.name, k, "differs") for k, v in self.world.items() if wanted.get(k, v) != v
        ]
        extra = [Difference(self.name, k, "extra") for k in self.world if k not in wanted]
        return [*missing, *differs, *extra]

    def _realise(self, key: str, value: Any) -> None:
        if key in self.failing:
            raise FakeRefusal(self.failing[key])
        if self.world.get(key) != value:
            self.world[key] = value
            self.writes += 1
            self.changed(key)

    def changed(self, key: str) -> None:
        """For those that somebody listens to."""
