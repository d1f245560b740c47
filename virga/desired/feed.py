"""Which items each host must have, and what changed since a revision.

Per host a dictionary of items, rebuilt from the database at start and kept up by the changes that
transactions announce. Only objects that were touched are read again, and only slots that they
reach are compiled again.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from sqlalchemy import bindparam, delete, func, select

from virga.contract.items import AnyItem, Item
from virga.contract.messages import State
from virga.db.outbox import change, observation
from virga.db.tx import Tx
from virga.desired.source import Slot, Source
from virga.lib.log import log_for

log = log_for("virga.feed")

Key = tuple[str, str]
"""Kind and key of an item."""

_LATER = select(change).where(change.c.revision > bindparam("revision")).order_by(change.c.revision)
S = TypeVar("S")

KEPT_REMOVALS = 20_000
KEPT_CHANGES = 10_000
MOST_CHANGES = 300_000
MOST_OBSERVATIONS = 10_000


@dataclass
class HostItems:
    """What one host must have, with the revision at which each item became so."""

    items: dict[Key, Item] = field(default_factory=dict)
    changed: dict[Key, int] = field(default_factory=dict)
    removed: dict[Key, int] = field(default_factory=dict)
    floor: int = 0
    """Removals up to this revision are forgotten: an agent that is behind it gets everything."""

    def put(self, key: Key, item: Item | None, revision: int) -> bool:
        """True if that is news."""
        if self.items.get(key) == item:
            return False
        # Moved to the end, so that a delta is the tail of the dictionary and not a search through it.
        self.changed.pop(key, None)
        if item is None:
            del self.items[key]
            self.removed[key] = revision
            self._forget()
        else:
            self.items[key] = item
            self.removed.pop(key, None)
            self.changed[key] = revision
        return True

    def _forget(self) -> None:
        if len(self.removed) > KEPT_REMOVALS:
            oldest = list(self.removed.items())[: KEPT_REMOVALS // 2]
            self.floor = oldest[-1][1]
            for key, _ in oldest:
                del self.removed[key]


class Feed:
    """The desired state of all hosts. Not thread-safe: the hub lets one thread in at a time."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.epoch = uuid.uuid4().hex
        self.revision = 0
        self.hosts: dict[str, HostItems] = {}
        self._sources = sources

    def source(self, kind: type[S]) -> S:
        """The source of this kind. KeyError when there is none."""
        for source in self._sources:
            if isinstance(source, kind):
                return source
        raise KeyError(kind.__name__)

    def start(self, tx: Tx) -> None:
        """Read the whole cloud."""
        self.revision = int(tx.scalar(select(func.max(change.c.revision))) or 0)
        for source in self._sources:
            source.load(tx)
        self._settle()

    def refresh(self, tx: Tx) -> set[str]:
        """Follow what was announced since the last time; the hosts that have news."""
        rows = tx.all(_LATER, {"revision": self.revision})
        if not rows:
            return set()
        touched: dict[str, dict[str, None]] = {}
        for row in rows:
            touched.setdefault(row.kind, {})[row.object_id] = None
        for kind, ids in touched.items():
            for source in self._sources:
                if kind in source.touches:
                    source.touched(tx, kind, list(ids))
        self.revision = rows[-1].revision
        news = self._settle()
        _say_who_learns(rows, news)
        return news

    def _settle(self) -> set[str]:
        news: set[str] = set()
        for source in self._sources:
            for slot, item in source.settle().items():
                if self._put(slot, item):
                    news.add(slot.host)
        return news

    def _put(self, slot: Slot, item: Item | None) -> bool:
        host = self.hosts.get(slot.host)
        if host is None:
            if item is None:
                return False
            host = self.hosts[slot.host] = HostItems()
        return host.put((slot.kind, slot.key), item, self.revision)

    def full(self, host: str) -> State:
        """Everything the host must have."""
        items = self.hosts[host].items.values() if host in self.hosts else ()
        return State(
            epoch=self.epoch, revision=self.revision, full=True, items=cast(list[AnyItem], list(items))
        )

    def since(self, host: str, epoch: str, revision: int) -> State | None:
        """What changed after ``revision``; everything for an agent of another epoch; None for nothing."""
        held = self.hosts.get(host)
        if epoch != self.epoch or revision > self.revision or (held is not None and revision < held.floor):
            return self.full(host)
        if held is None:
            return None
        keys = _tail(held.changed, revision)
        removed = _tail(held.removed, revision)
        if not keys and not removed:
            return None
        items: list[Any] = [held.items[key] for key in keys]
        return State(epoch=self.epoch, revision=self.revision, items=items, removed=removed)


def _say_who_learns(rows: Sequence[Any], news: set[str]) -> None:
    """One line a request, so that it can be followed from the API to the hosts by the ids of its objects."""
    if not news:
        return
    objects: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.request_id:
            objects.setdefault(row.request_id, {})[f"{row.kind}/{row.object_id}"] = None
    for request_id, names in objects.items():
        log.info("hosts learn of changes", request_id=request_id, objects=list(names), hosts=sorted(news))


def _tail(revisions: dict[Key, int], after: int) -> list[Key]:
    """Keys whose revision is later, in order; the newest are at the end."""
    found: list[Key] = []
    for key in reversed(revisions):
        if revisions[key] <= after:
            break
        found.append(key)
    return found[::-1]


def prune(tx: Tx, hours: int = 0) -> None:
    """Forget announcements that every feed has read long ago, and that are older than the record goes back."""
    newest = int(tx.scalar(select(func.max(change.c.revision))) or 0)
    old = tx.now - hours * 3_600_000_000
    read = change.c.revision <= newest - KEPT_CHANGES
    tx.execute(delete(change).where(read, change.c.changed_at < old))
    tx.execute(delete(change).where(change.c.revision <= newest - MOST_CHANGES))
    tx.execute(delete(observation).where(observation.c.observed_at < old))
    last = int(tx.scalar(select(func.max(observation.c.id))) or 0)
    tx.execute(delete(observation).where(observation.c.id <= last - MOST_OBSERVATIONS))
