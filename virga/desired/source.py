"""What the feed is made of: sources that turn rows into items for hosts, and remember what they must to do it cheaply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from virga.contract.items import Item
from virga.db.tx import Tx


class Slot(NamedTuple):
    """The place of one item: a host's dictionary has one entry for it or none."""

    host: str
    kind: str
    key: str


class Source(Protocol):
    """Turns some kinds of touched objects into some kinds of items."""

    touches: frozenset[str]
    """Kinds of ``Tx.touch`` that it wants to hear of."""

    def load(self, tx: Tx) -> None:
        """Read everything, once, at start."""

    def touched(self, tx: Tx, kind: str, object_ids: Sequence[str]) -> None:
        """Read these objects again; they may be gone."""

    def settle(self) -> Mapping[Slot, Item | None]:
        """All slots that may have changed since the last call, with what belongs there now."""


class RowSource:
    """A source whose items each come from one object, without regard to others.

    ``load_all(tx)`` and ``load_one(tx, object_id)`` give ``(object_id, host, item)``; an object may
    have items on several hosts, or none.
    """

    def __init__(
        self,
        touches: Iterable[str],
        load_all: Callable[[Tx], Iterable[tuple[str, str, Item]]],
        load_one: Callable[[Tx, str, str], Iterable[tuple[str, str, Item]]],
        objects_of: Callable[[Tx, str, str], Iterable[str]] | None = None,
    ) -> None:
        """``load_one(tx, kind, id)``; ``objects_of(tx, kind, id)`` names the objects that a touch concerns."""
        self.touches = frozenset(touches)
        self._load_all = load_all
        self._load_one = load_one
        self._objects_of = objects_of
        self._slots: dict[str, set[Slot]] = {}
        self._dirty: dict[Slot, Item | None] = {}

    def load(self, tx: Tx) -> None:
        for object_id, host, item in self._load_all(tx):
            self._put(object_id, host, item)

    def _put(self, object_id: str, host: str, item: Item) -> None:
        slot = Slot(host, kind_of(item), item.key)
        self._slots.setdefault(object_id, set()).add(slot)
        self._dirty[slot] = item

    def touched(self, tx: Tx, kind: str, object_ids: Sequence[str]) -> None:
        ids: Iterable[str] = object_ids
        if self._objects_of is not None:
            ids = [one for object_id in object_ids for one in self._objects_of(tx, kind, object_id)]
        for one in dict.fromkeys(ids):
            for slot in self._slots.pop(one, ()):
                self._dirty[slot] = None
            for _, host, item in self._load_one(tx, kind, one):
                self._put(one, host, item)

    def settle(self) -> Mapping[Slot, Item | None]:
        dirty, self._dirty = self._dirty, {}
        return dirty


def kind_of(item: Item) -> str:
    """The item's kind as it is on the wire."""
    return str(type(item).__struct_config__.tag)
