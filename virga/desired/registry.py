"""Which function knows what: touched objects to items, reports to service verbs, calls of agents to answers.

Each ``compile_*.py`` adds to these by exporting COMPILERS (and REPORTS, ANSWERS) that ``rooms`` lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from virga.contract.messages import Heartbeat, Report
from virga.db.tx import Tx
from virga.desired.view import Operation, View
from virga.settings import Settings


@dataclass(frozen=True, slots=True)
class Scope:
    """What a compiler may look at: the rows of one moment, the items of before, the settings."""

    tx: Tx
    view: View
    settings: Settings


Changed = Callable[[Scope, frozenset[str]], Iterable[Operation]]
"""Touched ids of one kind -> what must change on which hosts, in proportion to what the ids reach."""
Everything = Callable[[Scope], Iterable[Operation]]
"""All items of the room, for a control plane that has just started."""
OnReport = Callable[[Tx, Settings, str, Report], None]
"""Transaction, settings, host, report -> rows of the service."""
OnHeartbeat = Callable[[Tx, Settings, Heartbeat], None]
Answer = Callable[[Tx, Settings, str, bytes], Any]
"""Transaction, settings, host, raw JSON arguments -> result of a call that an agent made."""


@dataclass(frozen=True)
class Room:
    """What one room adds to the desired state."""

    changed: Mapping[str, Changed] = field(default_factory=dict)
    everything: Everything | None = None
    reports: Mapping[str, OnReport] = field(default_factory=dict)
    heartbeat: OnHeartbeat | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)


class Registry:
    """All rooms together."""

    def __init__(self, rooms: Iterable[Room]) -> None:
        self.rooms = tuple(rooms)
        self.reports = {kind: handler for room in self.rooms for kind, handler in room.reports.items()}
        self.answers = {method: answer for room in self.rooms for method, answer in room.answers.items()}

    def changed(self, kind: str) -> list[Changed]:
        """The compilers that listen to a touched kind; several rooms may."""
        return [room.changed[kind] for room in self.rooms if kind in room.changed]
