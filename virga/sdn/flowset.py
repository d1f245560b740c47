"""Flows of one bridge as contributions of owners, and what changed since somebody last looked.

Conjunctive flows with the same match are one flow in the switch: their actions are put together. Any
other flow that several owners contribute alike belongs to the first of them by name.
"""

from __future__ import annotations

from collections.abc import Iterable

from virga.sdn.flow import Flow, FlowKey


class FlowSet:
    """Owner -> flows, merged by key; remembers which keys are dirty."""

    def __init__(self) -> None:
        self._by_owner: dict[str, dict[FlowKey, Flow]] = {}
        self._by_key: dict[FlowKey, dict[str, Flow]] = {}
        self.dirty: set[FlowKey] = set()

    def put(self, owner: str, flows: Iterable[Flow]) -> bool:
        """``owner`` contributes exactly these from now on. True when that changes anything."""
        new = {flow.key: flow for flow in flows}
        old = self._by_owner.get(owner, {})
        if new == old:
            return False
        for key in old.keys() - new.keys():
            contributions = self._by_key[key]
            del contributions[owner]
            if not contributions:
                del self._by_key[key]
            self.dirty.add(key)
        for key, flow in new.items():
            if old.get(key) != flow:
                self._by_key.setdefault(key, {})[owner] = flow
                self.dirty.add(key)
        if new:
            self._by_owner[owner] = new
        else:
            self._by_owner.pop(owner, None)
        return True

    def flow(self, key: FlowKey) -> Flow | None:
        """The one flow that the switch must have for this key."""
        contributions = self._by_key.get(key)
        if not contributions:
            return None
        first = contributions[min(contributions)]
        if len(contributions) == 1 or not first.is_conjunctive:
            return first
        actions = sorted({a for flow in contributions.values() for a in _conjunctions(flow.actions)})
        return Flow(first.table, first.priority, first.match, ",".join(actions), first.cookie)

    def flows(self) -> list[Flow]:
        """All flows, merged."""
        found = (self.flow(key) for key in self._by_key)
        return [flow for flow in found if flow is not None]

    def keys(self) -> Iterable[FlowKey]:
        return self._by_key.keys()

    def owners(self, key: FlowKey) -> list[str]:
        return sorted(self._by_key.get(key, ()))

    def owner_keys(self, owner: str) -> Iterable[FlowKey]:
        return self._by_owner.get(owner, {}).keys()

    def has_owner(self, owner: str) -> bool:
        return owner in self._by_owner


def _conjunctions(actions: str) -> list[str]:
    return [f"{part})" for part in actions.rstrip(")").split("),")]
