"""The one loop of an agent, and the only thread that writes to the host.

    offer(State) -> held items -> managers -> drivers in order -> prune in reverse -> Reports

Managers resolve again before each driver, so that what one driver learns (the OpenFlow number of a
new port) is a wish of the next one in the same round. A round that did not succeed in everything is
repeated after a growing pause; any news starts a round at once.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from virga.agent.protocol import Difference, Driver, Failure, Manager
from virga.contract.items import AnyItem, Item
from virga.contract.messages import Report, Reports, State
from virga.lib.log import log_for
from virga.lib.run import CommandError

log = log_for(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


class _Wake:
    """Something changed outside the items (a process ended, a switch came back): go round."""


class _Reconnected:
    """A new control plane connection: say again what is known."""


class _Stop:
    """End the loop after the round at hand."""


@dataclass(frozen=True, slots=True)
class _Check:
    """Ask the drivers what differs; answered from the loop's own thread."""

    answer: Callable[[list[Difference]], None]
    without: tuple[str, ...] = ()
    """Drivers that are not asked."""


@dataclass(frozen=True, slots=True)
class _Resync:
    """Read everything again now; answered after the round."""

    answer: Callable[[], None]


_Event = State | _Wake | _Reconnected | _Stop | _Check | _Resync


def kind_of(item: AnyItem) -> str:
    """The kind of an item, as it stands on the wire."""
    return str(item.__struct_config__.tag)


def _differences(driver: Driver) -> list[Difference]:
    """What ``check`` says; a driver that cannot look says so."""
    try:
        return list(driver.check())
    except (CommandError, OSError, ValueError) as error:
        return [Difference(driver.name, "", "unreadable", actual=str(error))]


class _Stopwatch:
    """Where the time of a round goes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = self._clock()
        self._laps[name] = self._laps.get(name, 0.0) + now - self._last
        self._last = now

    def milliseconds(self) -> dict[str, int]:
        """Only what took a millisecond or more."""
        return {name: round(s * 1000) for name, s in self._laps.items() if s >= 0.001}


class Loop:
    """Holds the items of this host and makes them so."""

    def __init__(
        self,
        managers: Sequence[Manager],
        drivers: Sequence[Driver],
        send: Callable[[Reports], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        resync_every_s: float = 120.0,
    ) -> None:
        self._managers = managers
        self._drivers = drivers
        self._send = send
        self._clock = clock
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._items: dict[tuple[str, str], Item] = {}
        self._by_kind: dict[str, list[Manager]] = {}
        for manager in managers:
            for kind in manager.kinds:
                self._by_kind.setdefault(kind, []).append(manager)
        self._reported: dict[tuple[str, str], Report] = {}
        self._removed: set[tuple[str, str]] = set()
        self._say_all_again = False
        self._checks: list[_Check] = []
        self._resyncs: list[_Resync] = []
        self._complete = False
        self._synced = False
        self._stopped = False
        self._failing = 0
        self._retry_at: float | None = None
        self._resync_every_s = resync_every_s / max(len(drivers), 1)
        self._resync_at = clock() + self._resync_every_s
        self._resync_next = 0
        self.epoch = ""
        self.revision = 0
        self._applied = 0
        self.failures: tuple[Failure, ...] = ()

    # -- from any thread -------------------------------------------------------------------------

    def offer(self, state: State) -> None:
        """Hand over news of the desired state."""
        self._events.put(state)

    def wake(self) -> None:
        """Go round once, soon."""
        self._events.put(_Wake())

    def reconnected(self) -> None:
        """Report everything again: the last reports may have been lost."""
        self._events.put(_Reconnected())

    def stop(self) -> None:
        """End ``run`` after the round at hand. Touches nothing of the host."""
        self._events.put(_Stop())

    def ask_differences(
        self, answer: Callable[[list[Difference]], None], without: tuple[str, ...] = ()
    ) -> None:
        """Call ``answer`` with what ``check`` of all drivers says, but for those ``without`` names."""
        self._events.put(_Check(answer, without))

    def ask_resync(self, answer: Callable[[], None]) -> None:
        """Have all drivers read the world again and repair it; call ``answer`` after that round."""
        self._events.put(_Resync(answer))

    # -- the loop's own thread -------------------------------------------------------------------

    def run(self) -> None:
        """Until ``stop``."""
        while not self._stopped:
            self.step(wait=True)

    def step(self, *, wait: bool = False) -> bool:
        """One round, if there is a reason for one. True when a round was made."""
        due = self._drain(wait)
        now = self._clock()
        if self._retry_at is not None and now >= self._retry_at:
            due = True
        if now >= self._resync_at:
            due = self._resync_one(now) or due
        if not due or not self._complete or self._stopped:
            self._answer_checks()
            return False
        self._round()
        resyncs, self._resyncs = self._resyncs, []
        for resync in resyncs:
            resync.answer()
        self._answer_checks()
        return True

    def _drain(self, wait: bool) -> bool:
        """Take all waiting events; what is superseded costs nothing more than memory."""
        due = False
        event = self._next(wait)
        while event is not None:
            due = self._take(event) or due
            event = self._next(wait=False)
        return due

    def _next(self, wait: bool) -> _Event | None:
        try:
            if not wait:
                return self._events.get_nowait()
            wake_at = self._resync_at if self._retry_at is None else min(self._retry_at, self._resync_at)
            return self._events.get(timeout=max(wake_at - self._clock(), 0.0))
        except queue.Empty:
            return None

    def _take(self, event: _Event) -> bool:
        if isinstance(event, State):
            self._note(event)
        elif isinstance(event, _Reconnected):
            self._say_all_again = True
        elif isinstance(event, _Check):
            self._checks.append(event)
            return False
        elif isinstance(event, _Resync):
            self._resyncs.append(event)
            self._synced = False
        elif isinstance(event, _Stop):
            self._stopped = True
        return True

    def _answer_checks(self) -> None:
        """After the round: what was only just asked for is no difference."""
        checks, self._checks = self._checks, []
        if not checks:
            return
        # A list, for names may be the same: the rules of the host and those of router namespaces are both iptables.
        found = [
            (driver.name, _differences(driver))
            for driver in self._drivers
            if any(driver.name not in check.without for check in checks)
        ]
        for check in checks:
            check.answer([each for name, those in found if name not in check.without for each in those])

    def _note(self, state: State) -> None:
        """Tell the managers what is new; an item that is as before is no news."""
        if not state.full and not self._complete:
            return
        news = {(kind_of(item), item.key): item for item in state.items}
        gone = {(kind, key) for kind, key in state.removed if (kind, key) not in news}
        if state.full:
            gone |= self._items.keys() - news.keys()
        for identity in gone:
            if self._items.pop(identity, None) is not None:
                self._removed.add(identity)
                self._tell(identity, None)
        for identity, item in news.items():
            if self._items.get(identity) != item:
                self._items[identity] = item
                self._tell(identity, item)
        self._complete = True
        self.epoch, self.revision = state.epoch, state.revision

    def _tell(self, identity: tuple[str, str], item: AnyItem | None) -> None:
        kind, key = identity
        for manager in self._by_kind.get(kind, ()):
            manager.on_update(kind, key, item)

    def _resync_one(self, now: float) -> bool:
        """Drivers read the world again one by one, so that no round is long."""
        self._resync_at = now + self._resync_every_s
        if not self._synced or not self._drivers:
            return False
        self._drivers[self._resync_next % len(self._drivers)].resync()
        self._resync_next += 1
        return True

    def _round(self) -> None:
        if not self._synced:
            for driver in self._drivers:
                driver.resync()
            self._synced = True
        failures: list[Failure] = []
        watch = _Stopwatch(self._clock)
        for driver in self._drivers:
            for manager in self._managers:
                manager.resolve()
            watch.lap("managers")
            failures += driver.apply()
            watch.lap(driver.name)
        for manager in self._managers:
            manager.resolve()
        self._report(applied=False)
        for driver in reversed(self._drivers):
            failures += driver.prune()
            watch.lap(f"{driver.name} prune")
        self._plan_retry(failures)
        self._report()
        log.debug("round", milliseconds=watch.milliseconds())

    def _plan_retry(self, failures: list[Failure]) -> None:
        for failure in failures:
            if failure not in self.failures:
                log.warning("not realised", driver=failure.driver, key=failure.key, reason=failure.reason)
        self.failures = tuple(failures)
        if not failures:
            self._failing, self._retry_at = 0, None
            return
        pause = min(FIRST_PAUSE_S * 2**self._failing, LONGEST_PAUSE_S)
        self._failing = min(self._failing + 1, 16)
        self._retry_at = self._clock() + pause

    def _report(self, *, applied: bool = True) -> None:
        """Say what is new. Once all is applied it is said even when nothing is: the revision is news."""
        news: dict[tuple[str, str], Report] = {}
        for manager in self._managers:
            for report in manager.reports():
                identity = (report.kind, report.key)
                if self._reported.get(identity) != report:
                    news[identity] = report
        self._reported.update(news)
        for identity in (*news, *self._removed):
            known = self._reported.get(identity)
            if known is not None and known.status != "gone" and identity not in self._items:
                del self._reported[identity]
        self._removed.clear()
        if applied and self._say_all_again:
            news = {**self._reported, **news}
            self._say_all_again = False
        if applied or news:
            revision = self.revision if applied else self._applied
            self._send(Reports(revision=revision, reports=list(news.values())))
        if applied:
            self._applied = self.revision
