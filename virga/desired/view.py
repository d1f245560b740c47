"""What each host must look like just now: its items, each with the revision that last changed it.

Kept in memory by the feed; rebuilt from the database when the control plane starts. Removed items
leave a tombstone, so that an agent that was away a while can be told what went.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from virga.contract.items import AnyItem, Item
from virga.contract.messages import State

Identity = tuple[str, str]
"""Kind and key."""
ItemT = TypeVar("ItemT", bound=Item)


def kind_of(item: Item | type[Item]) -> str:
    """The kind of an item, as it stands on the wire."""
    return str(item.__struct_config__.tag)


@dataclass(frozen=True, slots=True)
class Put:
    """``item`` must be on ``host`` as it is here."""

    host: str
    item: AnyItem


@dataclass(frozen=True, slots=True)
class Drop:
    """The item of this kind and key must not be on ``host`` any more."""

    host: str
    kind: str
    key: str


Operation = Put | Drop


@dataclass(slots=True)
class _Host:
    items: dict[Identity, AnyItem] = field(default_factory=dict)
    changed: dict[Identity, int] = field(default_factory=dict)
    """Revision of the last change of an identity, tombstones included."""


class View:
    """All hosts. Compilers read it to find what a change reaches; only the feed writes it."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}
        self._where: dict[Identity, set[str]] = {}
        self._kinds: dict[tuple[str, str], set[str]] = {}
        self.revision = 0

    # -- for compilers ---------------------------------------------------------------------------

    def hosts(self) -> list[str]:
        """Hosts that have (had) anything."""
        return list(self._hosts)

    def holders(self, kind: type[Item], key: str) -> frozenset[str]:
        """The hosts that hold this item."""
        return frozenset(self._where.get((kind_of(kind), key), ()))

    def item(self, host: str, kind: type[ItemT], key: str) -> ItemT | None:
        """The item as ``host`` has it."""
        there = self._hosts.get(host)
        found = there.items.get((kind_of(kind), key)) if there else None
        return found if isinstance(found, kind) else None

    def items(self, host: str, kind: type[ItemT]) -> Iterable[ItemT]:
        """All items of a kind on ``host``."""
        there = self._hosts.get(host)
        if there is None:
            return
        name = kind_of(kind)
        for key in tuple(self._kinds.get((host, name), ())):
            found = there.items[(name, key)]
            if isinstance(found, kind):
                yield found

    def any_item(self, kind: type[ItemT], key: str) -> ItemT | None:
        """The item as some host has it: what was true before the change at hand."""
        for host in self.holders(kind, key):
            return self.item(host, kind, key)
        return None

    # -- for the feed ----------------------------------------------------------------------------

    def apply(self, operations: Iterable[Operation], revision: int) -> dict[str, State]:
        """Take over what changed; per host, the delta to send. What is as before is no change."""
        news: dict[str, dict[Identity, AnyItem | None]] = {}
        for operation in operations:
            if isinstance(operation, Put):
                identity = (kind_of(operation.item), operation.item.key)
                if self._put(operation.host, identity, operation.item, revision):
                    news.setdefault(operation.host, {})[identity] = operation.item
            else:
                identity = (operation.kind, operation.key)
                if self._drop(operation.host, identity, revision):
                    news.setdefault(operation.host, {})[identity] = None
        self.revision = max(self.revision, revision)
        return {host: _state(changes, self.revision) for host, changes in news.items()}

    def _put(self, name: str, identity: Identity, item: AnyItem, revision: int) -> bool:
        host = self._hosts.setdefault(name, _Host())
        if host.items.get(identity) == item:
            return False
        host.items[identity] = item
        host.changed[identity] = revision
        self._where.setdefault(identity, set()).add(name)
        self._kinds.setdefault((name, identity[0]), set()).add(identity[1])
        return True

    def _drop(self, name: str, identity: Identity, revision: int) -> bool:
        host = self._hosts.get(name)
        if host is None or host.items.pop(identity, None) is None:
            return False
        host.changed[identity] = revision
        holders = self._where[identity]
        holders.discard(name)
        if not holders:
            del self._where[identity]
        self._kinds[(name, identity[0])].discard(identity[1])
        return True

    def full(self, name: str) -> State:
        """Everything that ``name`` must look like."""
        host = self._hosts.setdefault(name, _Host())
        return State(epoch="", revision=self.revision, full=True, items=list(host.items.values()))

    def since(self, name: str, revision: int) -> State:
        """What changed for ``name`` after ``revision`` of the same epoch."""
        host = self._hosts.setdefault(name, _Host())
        changes = {i: host.items.get(i) for i, at in host.changed.items() if at > revision}
        return _state(changes, self.revision)


def _state(changes: Mapping[Identity, AnyItem | None], revision: int) -> State:
    return State(
        epoch="",
        revision=revision,
        items=[item for item in changes.values() if item is not None],
        removed=[identity for identity, item in changes.items() if item is None],
    )
