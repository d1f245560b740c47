"""Bookkeeping that every keyed driver needs: what is wanted, what is stale, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from virga.agent.protocol import Failure

V = TypeVar("V")
DOUBT_BUDGET_S = 0.2
"""How long one apply may look at what is probably as it should be."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a wish: not ``settled`` means that the driver has not worked on it yet."""

    settled: bool
    reason: str = ""
    """Why it is not so, for people; empty when it is."""


class Wishes(Generic[V]):
    """Wanted values by key. A failed wish stays stale, so that the next apply tries it again."""

    def __init__(self, driver: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.driver = driver
        self._clock = clock
        self._doubted: dict[str, None] = {}
        self.wanted: dict[str, V] = {}
        self._stale: set[str] = set()
        self._reasons: dict[str, str] = {}
        self.listeners: list[Callable[[str], None]] = []
        """Called with each key that is wanted from now on, or no longer."""

    def want(self, key: str, value: V | None) -> None:
        """Record; ``None`` takes the wish back. The same wish twice is no work."""
        if value is None:
            self._stale.discard(key)
            if self.wanted.pop(key, None) is not None:
                self._reasons.pop(key, None)
                self._tell(key)
        elif (old := self.wanted.get(key)) != value:
            self.wanted[key] = value
            self._stale.add(key)
            if old is None:
                self._tell(key)

    def _tell(self, key: str) -> None:
        for listener in self.listeners:
            listener(key)

    def mark_stale(self, keys: Iterable[str] | None = None) -> None:
        """Work on these (or all) at the next apply though the wish did not change: the world may have."""
        self._stale.update(k for k in (self.wanted if keys is None else keys) if k in self.wanted)

    def doubt(self) -> None:
        """Look at everything again when there is time: the world may have changed behind our back."""
        self._doubted = dict.fromkeys(sorted(self.wanted))

    @property
    def in_doubt(self) -> bool:
        """Something is still to be looked at: another apply is due."""
        return bool(self._doubted)

    def stale(self) -> list[str]:
        return sorted(self._stale)

    def settle(
        self, realise: Callable[[str, V], None], expected: type[Exception] | tuple[type[Exception], ...]
    ) -> list[Failure]:
        """Call ``realise`` for all that is stale, and for some that is doubted, so that no round is long.

        ``expected`` errors become failures and stay stale.
        """
        failures = self._settle_these(self.stale(), realise, expected)
        end = self._clock() + DOUBT_BUDGET_S
        while self._doubted:
            key = next(iter(self._doubted))
            del self._doubted[key]
            if key in self.wanted and key not in self._stale:
                failures += self._settle_these([key], realise, expected)
            if self._clock() >= end:
                break
        return failures

    def _settle_these(
        self,
        keys: Iterable[str],
        realise: Callable[[str, V], None],
        expected: type[Exception] | tuple[type[Exception], ...],
    ) -> list[Failure]:
        failures = []
        for key in keys:
            try:
                realise(key, self.wanted[key])
            except expected as error:
                failures.append(self.failed(key, str(error)))
            else:
                self.done(key)
        return failures

    def done(self, key: str) -> None:
        self._stale.discard(key)
        self._reasons.pop(key, None)

    def failed(self, key: str, reason: str) -> Failure:
        self._stale.add(key)
        self._reasons[key] = reason
        return Failure(self.driver, key, reason)

    def outcome(self, key: str) -> Outcome:
        if key in self._reasons:
            return Outcome(True, self._reasons[key])
        return Outcome(key not in self._stale)
