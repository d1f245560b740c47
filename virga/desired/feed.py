"""From committed changes to what each host must learn.

The feed reads the outbox by number, lets the compilers say what the touched objects reach, compares
with what the hosts already must look like, and hands out the difference. Several changes that are
waiting are compiled together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import delete, func, select

from virga.contract.messages import State
from virga.db.outbox import change
from virga.db.tx import Tx
from virga.desired.registry import Registry, Scope
from virga.desired.view import Operation, View
from virga.settings import Settings

KEPT_CHANGES = 10_000
"""Rows of the outbox that stay, for people who ask what changed lately."""


class Feed:
    """Owns the view. Its methods run in a reading transaction, one at a time."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self.view = View()
        self._registry = registry
        self._settings = settings

    def rebuild(self, tx: Tx) -> None:
        """Compile everything: once, when the control plane starts."""
        scope = Scope(tx, self.view, self._settings)
        newest = tx.scalar(select(func.max(change.c.revision))) or 0
        for room in self._registry.rooms:
            if room.everything is not None:
                self.view.apply(room.everything(scope), newest)
        self.view.revision = newest

    def advance(self, tx: Tx) -> dict[str, State]:
        """Compile what was touched since the last time; the deltas by host."""
        rows = tx.all(
            select(change.c.revision, change.c.kind, change.c.object_id)
            .where(change.c.revision > self.view.revision)
            .order_by(change.c.revision)
        )
        if not rows:
            return {}
        touched: dict[str, set[str]] = {}
        for row in rows:
            touched.setdefault(row.kind, set()).add(row.object_id)
        return self.view.apply(self._operations(tx, touched), rows[-1].revision)

    def _operations(self, tx: Tx, touched: dict[str, set[str]]) -> Iterable[Operation]:
        scope = Scope(tx, self.view, self._settings)
        operations: list[Operation] = []
        for kind, ids in touched.items():
            for compiler in self._registry.changed(kind):
                operations += compiler(scope, frozenset(ids))
        return operations


def prune(keep: int = KEPT_CHANGES) -> Callable[[Tx], None]:
    """Forget announcements that everybody has long heard."""

    def act(tx: Tx) -> None:
        newest = tx.scalar(select(func.max(change.c.revision))) or 0
        tx.execute(delete(change).where(change.c.revision <= newest - keep))

    return act
