"""Flows as a switch prints them, back into values."""

from __future__ import annotations

import re

from virga.sdn.flow import Flow

_LINE = re.compile(
    r"^\s*(?:cookie=(?P<cookie>0x[0-9a-f]+|0),? ?)?(?:table=(?P<table>\d+),? ?)?"
    r"(?:send_flow_rem |check_overlap |reset_counts |no_packet_counts |no_byte_counts )*"
    r"(?:idle_timeout=\d+, ?|hard_timeout=\d+, ?|importance=\d+, ?)*"
    r"(?:priority=(?P<priority>\d+))?,?(?P<match>\S*)\s+actions=(?P<actions>.*)$"
)
DEFAULT_PRIORITY = 32768


def parse_flow(line: str) -> Flow | None:
    """A line of ``ovs-ofctl dump-flows --no-stats``; None for its heading."""
    found = _LINE.match(line)
    if found is None:
        return None
    return Flow(
        table=int(found["table"] or 0),
        priority=int(found["priority"] or DEFAULT_PRIORITY),
        match=found["match"],
        actions=_ordered(found["actions"].strip()),
        cookie=int(found["cookie"] or "0", 16),
    )


def _ordered(actions: str) -> str:
    """Conjunctions in our order: the switch may list them in another."""
    if not actions.startswith("conjunction("):
        return actions
    return ",".join(sorted(f"{part})" for part in actions.rstrip(")").split("),")))
