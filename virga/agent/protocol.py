"""The verbs that managers and drivers promise, and the order in which the loop speaks them.

    feed -> manager.on_update*      memory only
         -> manager.resolve*        says what it wants, to drivers
         -> driver.apply            in fixed order: creates and changes
         -> driver.prune            in reverse order: removes what nobody wants any more
         -> manager.reports*        what became of it, back to the control plane

A manager owns item kinds and turns them into kernel terms without touching the kernel. A driver
owns one subsystem of the host and is the only one to write there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from virga.contract.items import AnyItem
from virga.contract.messages import Report


@dataclass(frozen=True, slots=True)
class Failure:
    """One wanted thing that could not be realised. It stays wanted and is tried again with backoff."""

    driver: str
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What ``check`` found: ``missing``, ``extra``, ``differs``, ``foreign`` or ``unreadable``.

    ``extra`` is ours and wanted by nobody: the agent removes it. ``foreign`` is a stranger's, in a place that is
    ours: the agent leaves it alone.
    """

    driver: str
    key: str
    kind: str
    wanted: str = ""
    actual: str = ""


class Manager(Protocol):
    """Turns items into wishes. Never does I/O."""

    name: str
    kinds: tuple[str, ...]
    """Item kinds it takes note of (several managers may listen to one kind)."""

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        """Memory only, cheap: note the item (None: it is to go) and mark stale what depends on it."""

    def resolve(self) -> None:
        """For all that is stale, call ``want`` on drivers. Nothing else."""

    def reports(self) -> Sequence[Report]:
        """News since the last call, read from what the drivers realised or refused."""


class Driver(Protocol):
    """Owns one subsystem. Wishes come by typed ``want_…`` methods of each driver; same wish twice is no work."""

    name: str

    def resync(self) -> None:
        """Read the world again and recognise what is ours by its mark. Called before the first apply, and by a slow timer."""

    def apply(self) -> Sequence[Failure]:
        """Create and change what differs, the least that does it. Idempotent. Returns what failed."""

    def prune(self) -> Sequence[Failure]:
        """Remove what is ours and no longer wanted. Idempotent."""

    def check(self) -> Sequence[Difference]:
        """Read only: say what differs from the wish."""
