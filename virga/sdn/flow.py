"""One OpenFlow flow as a value, in the spelling that Open vSwitch itself prints.

Matches and actions are text in the canonical form of ``ovs-ofctl -O OpenFlow15 dump-flows``, so that
what is wanted and what a switch says can be compared as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class FlowKey(NamedTuple):
    """What makes a flow the same flow: adding it again replaces it."""

    table: int
    priority: int
    match: str


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow that one object contributes. ``cookie`` is the first half of that object's id."""

    table: int
    priority: int
    match: str
    actions: str
    cookie: int = 0

    @property
    def key(self) -> FlowKey:
        return FlowKey(self.table, self.priority, self.match)

    @property
    def is_conjunctive(self) -> bool:
        """Several owners may contribute to such a flow; their actions are put together."""
        return self.actions.startswith("conjunction(")


def cookie_of(object_id: str) -> int:
    """The 64 bits by which a flow names its object: the first 16 hexadecimal digits of the id."""
    return int(object_id.replace("-", "")[:16], 16)


def flow_line(flow: Flow) -> str:
    """The flow as ``ovs-ofctl add-flows`` reads it."""
    match = f",{flow.match}" if flow.match else ""
    return (
        f"cookie={flow.cookie:#x},table={flow.table},priority={flow.priority}{match} actions={flow.actions}"
    )
