"""The instances driver: every wanted instance walks towards what is wanted in a worker thread of its own.

The loop's thread only hands out work and reads results. One walk at a time per instance; calls on an
instance (reboot, snapshot, ...) and its walks take turns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from virga.agent.drivers.guest_kind import GuestError, GuestKind, Outcome, PortsReady
from virga.agent.drivers.image_cache import ImageCache
from virga.agent.protocol import Difference, Failure
from virga.contract.items import Instance
from virga.lib.log import log_for

log = log_for(__name__)

Background = Callable[[Callable[[], None]], object]
FIRST_RETRY_S = 2.0
LONGEST_WAIT_S = 300.0
LONGEST_RETRY_S = 300.0


@dataclass(slots=True)
class Cell:
    """One instance: what is wanted, what is going on, and what came out."""

    wanted: Instance | None = None
    kind: str = ""
    stale: bool = True
    busy: bool = False
    adopted: bool = False
    """Was there before this agent: not told as building."""
    outcome: Outcome | None = None
    waits_since: float = 0.0
    retry_at: float = 0.0
    retry_s: float = FIRST_RETRY_S
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held by whoever acts on the instance now."""


class InstancesDriver:
    """Owns the instances of all kinds on this host. Marks are those of the kinds."""

    name = "instances"

    def __init__(
        self,
        kinds: Mapping[str, GuestKind],
        *,
        ports_ready: PortsReady,
        wake: Callable[[], None],
        cache: ImageCache | None = None,
        background: Background | None = None,
        clock: Callable[[], float] = time.monotonic,
        unused_image_s: float = 86400.0,
    ) -> None:
        self._kinds = kinds
        self._ports_ready = ports_ready
        self._wake = wake
        self._cache = cache
        self._background = background or _threads()
        self._clock = clock
        self._unused_image_s = unused_image_s
        self._cells: dict[str, Cell] = {}
        self._news: dict[str, Outcome] = {}
        self._guard = threading.Lock()

    # Wishes

    def want(self, instance: Instance) -> None:
        """Same wish twice is no work."""
        with self._guard:
            cell = self._cells.setdefault(instance.key, Cell(kind=instance.driver))
            if cell.wanted != instance:
                cell.wanted = instance
                cell.stale = True
                cell.retry_at, cell.retry_s = 0.0, FIRST_RETRY_S

    def unwant(self, instance_id: str) -> None:
        with self._guard:
            cell = self._cells.get(instance_id)
            if cell is not None and cell.wanted is not None:
                cell.wanted = None
                cell.stale = True
                cell.retry_at, cell.retry_s = 0.0, FIRST_RETRY_S
            if cell is None:
                # It came and went before anything was made of it; who waits for its end is told all the same.
                self._news[instance_id] = Outcome("gone")
        if cell is not None and cell.kind in self._kinds:
            self._kinds[cell.kind].abandon(instance_id)

    def knows(self, instance_id: str) -> bool:
        """Wanted here, or not yet removed."""
        with self._guard:
            return instance_id in self._cells

    def wanted(self) -> list[Instance]:
        """All instances that this host has to have."""
        with self._guard:
            return [cell.wanted for cell in self._cells.values() if cell.wanted is not None]

    def held_volumes(self) -> list[tuple[str, str]]:
        """Instance and volume of each disk that a guest really has, as the hypervisor says now."""
        kinds = {id(kind): kind for kind in self._kinds.values()}
        return [pair for kind in kinds.values() for pair in kind.actions.held_volumes()]

    def outcomes(self) -> dict[str, Outcome]:
        """What became of instances since the last call."""
        with self._guard:
            news, self._news = self._news, {}
        return news

    # Driver

    def resync(self) -> None:
        for name, kind in self._kinds.items():
            for instance_id in kind.adopt(self._noticed):
                with self._guard:
                    cell = self._cells.setdefault(instance_id, Cell(kind=name, adopted=True))
                    cell.stale = True
        self._background(self._keep_house)

    def _keep_house(self) -> None:
        """What a slow timer is for: disk space that nobody needs."""
        for image_id in self.collect_images():
            log.info("cached image forgotten", image_id=image_id)
        for kind in self._kinds.values():
            kind.trim_logs()

    def apply(self) -> Sequence[Failure]:
        for key, cell in self._due(wanted=True):
            self._hand_out(key, cell)
        with self._guard:
            return [
                Failure(self.name, key, cell.outcome.reason)
                for key, cell in self._cells.items()
                if cell.retry_at and cell.outcome is not None
            ]

    def prune(self) -> Sequence[Failure]:
        for key, cell in self._due(wanted=False):
            self._hand_out(key, cell)
        return []

    def check(self) -> Sequence[Difference]:
        living: dict[str, str] = {}
        for kind in self._kinds.values():
            living |= kind.living()
        with self._guard:
            cells = dict(self._cells)
        found = [
            Difference(self.name, key, *fault)
            for key, cell in cells.items()
            if (fault := _fault(key, cell, living))
        ]
        strays = sorted(living.keys() - {key for key, cell in cells.items() if cell.wanted or cell.busy})
        return [*found, *(Difference(self.name, key, "extra", actual=living[key]) for key in strays)]

    def collect_images(self) -> list[str]:
        """Forget cached images that no instance here stands on. For a slow timer."""
        if self._cache is None:
            return []
        with self._guard:
            cells = dict(self._cells)
        used = {
            image
            for key, cell in cells.items()
            if cell.kind in self._kinds
            for image in self._kinds[cell.kind].images_in_use(key)
        }
        used |= {
            image.id
            for cell in cells.values()
            if cell.wanted
            for image in (
                cell.wanted.image,
                cell.wanted.kernel,
                cell.wanted.ramdisk,
                cell.wanted.rescue_image,
            )
            if image
        }
        return self._cache.collect(used, self._unused_image_s)

    # Calls

    @contextmanager
    def turn(self, instance_id: str) -> Iterator[tuple[GuestKind, Instance]]:
        """Act on a wanted instance while nobody else does."""
        with self._guard:
            cell = self._cells.get(instance_id)
        if cell is None or cell.wanted is None or cell.kind not in self._kinds:
            raise GuestError(f"instance {instance_id} is not on this host", "InstanceNotFound")
        with cell.turn:
            wanted = cell.wanted
            if wanted is None:
                raise GuestError(f"instance {instance_id} is not on this host", "InstanceNotFound")
            yield self._kinds[cell.kind], wanted
        self._noticed(instance_id)

    def reboot(self, instance_id: str, soft: bool) -> None:
        """Down and up again. Returns when the guest is let run, or raises why it is not."""
        with self.turn(instance_id) as (kind, wanted):
            kind.actions.halt(wanted, soft)
            cell = self._cells[instance_id]
            self._converge(instance_id, cell, wanted)
            if cell.outcome is not None and cell.outcome.status == "error":
                raise GuestError(cell.outcome.reason)

    def look(self, instance_id: str) -> GuestKind:
        """For calls that only read: no turn is taken."""
        with self._guard:
            cell = self._cells.get(instance_id)
        if cell is None or cell.kind not in self._kinds:
            raise GuestError(f"instance {instance_id} is not on this host", "InstanceNotFound")
        return self._kinds[cell.kind]

    # Work

    def _noticed(self, instance_id: str) -> None:
        with self._guard:
            cell = self._cells.get(instance_id)
            if cell is not None:
                cell.stale = True
        self._wake()

    def _due(self, wanted: bool) -> list[tuple[str, Cell]]:
        now = self._clock()
        due = []
        with self._guard:
            for key, cell in self._cells.items():
                if cell.busy or (cell.wanted is not None) != wanted:
                    continue
                if self._is_due(cell, now):
                    cell.busy, cell.stale = True, False
                    due.append((key, cell))
        return due

    def _is_due(self, cell: Cell, now: float) -> bool:
        if cell.retry_at:
            return now >= cell.retry_at
        if cell.stale:
            return True
        if cell.outcome is None or cell.outcome.wait_for is None:
            return False
        return cell.outcome.wait_for() or now - cell.waits_since > LONGEST_WAIT_S

    def _hand_out(self, key: str, cell: Cell) -> None:
        self._background(lambda: self._work(key, cell))

    def _work(self, key: str, cell: Cell) -> None:
        try:
            with cell.turn:
                wanted = cell.wanted
                if wanted is None:
                    self._remove(key, cell)
                else:
                    self._converge(key, cell, wanted)
        except Exception as error:
            log.exception("an instance could not be handled", instance_id=key)
            self._failed(key, cell, f"{type(error).__name__}: {error}")
        finally:
            with self._guard:
                cell.busy = False
            self._wake()

    def _converge(self, key: str, cell: Cell, wanted: Instance) -> None:
        if cell.outcome is None and not cell.adopted:
            self._tell(key, cell, Outcome("building"))
        kind = self._kinds.get(cell.kind)
        if kind is None or wanted.driver != cell.kind:
            self._failed(key, cell, f"this host cannot make it an instance of kind {wanted.driver}")
            return
        try:
            outcome = kind.converge(wanted, self._ports_ready)
        except GuestError as error:
            if cell.wanted is not None:
                log.warning("instance not realised", instance_id=key, reason=str(error))
                self._failed(key, cell, str(error))
            return
        with self._guard:
            cell.retry_at, cell.retry_s = 0.0, FIRST_RETRY_S
        if self._waited_too_long(cell, outcome):
            self._failed(key, cell, f"its ports were not wired within {LONGEST_WAIT_S:.0f} seconds")
            return
        if outcome.reason and outcome.status in ("running", "paused"):
            self._retry_later(cell)
        self._tell(key, cell, outcome)

    def _waited_too_long(self, cell: Cell, outcome: Outcome) -> bool:
        if outcome.wait_for is None:
            cell.waits_since = 0.0
            return False
        cell.waits_since = cell.waits_since or self._clock()
        if self._clock() - cell.waits_since <= LONGEST_WAIT_S:
            return False
        cell.waits_since = 0.0
        return True

    def _remove(self, key: str, cell: Cell) -> None:
        if cell.kind in self._kinds:
            self._kinds[cell.kind].remove(key)
        with self._guard:
            if cell.wanted is None:
                self._cells.pop(key, None)
            else:
                cell.stale, cell.outcome = True, None
            self._news[key] = Outcome("gone")

    def _failed(self, key: str, cell: Cell, reason: str) -> None:
        self._retry_later(cell)
        self._tell(key, cell, Outcome("error", reason))

    def _retry_later(self, cell: Cell) -> None:
        with self._guard:
            delay = cell.retry_s
            cell.retry_at = self._clock() + delay
            cell.retry_s = min(delay * 2, LONGEST_RETRY_S)
        timer = threading.Timer(delay, self._wake)
        timer.daemon = True
        timer.start()

    def _tell(self, key: str, cell: Cell, outcome: Outcome) -> None:
        with self._guard:
            cell.outcome = outcome
            self._news[key] = outcome


RUNS = {"running": True, "paused": True, "shutdown": False}


def _fault(key: str, cell: Cell, living: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Kind of difference, what is wanted and what is; an instance that is just being worked on has none."""
    wanted, outcome = cell.wanted, cell.outcome
    if wanted is None or cell.busy:
        return None
    if cell.retry_at:
        return "differs", wanted.power_state, outcome.reason if outcome else "not built"
    if outcome is None or outcome.wait_for is not None:
        return None
    if outcome.status != wanted.power_state:
        kind = "missing" if outcome.status in ("crashed", "error") else "differs"
        return kind, wanted.power_state, f"{outcome.status}: {outcome.reason}".rstrip(": ")
    runs = RUNS.get(wanted.power_state)
    if runs is True and key not in living:
        return "missing", wanted.power_state, "no process"
    if runs is False and key in living:
        return "differs", wanted.power_state, living[key]
    return None


def _threads() -> Background:
    pool = ThreadPoolExecutor(max_workers=32, thread_name_prefix="instance")
    return pool.submit


def in_this_thread(work: Callable[[], None]) -> None:
    """Background for the fake data plane and for tests: no thread, no latency."""
    work()
