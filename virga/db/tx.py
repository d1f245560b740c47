"""A transaction as the services see it: statements, the time it runs at, and what it announces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Executable, insert
from sqlalchemy.engine import Connection, CursorResult, Row

from virga.db import outbox


class Tx:
    """One request is one transaction: its rows, changes and jobs commit together or not at all."""

    __slots__ = ("_after_commit", "_changes", "_jobs", "connection", "now", "request_id", "writable")

    def __init__(self, connection: Connection, now: int, request_id: str, writable: bool) -> None:
        self.connection = connection
        self.now = now
        """Microseconds since the epoch; the same during the whole transaction."""
        self.request_id = request_id
        self.writable = writable
        self._changes: dict[tuple[str, str], None] = {}
        self._jobs: list[dict[str, Any]] = []
        self._after_commit: list[Callable[[], None]] = []

    def execute(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> CursorResult[Any]:
        """Run one SQLAlchemy Core statement."""
        return self.connection.execute(statement, parameters)

    def first(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Row[Any] | None:
        """The first row, or None."""
        return self.connection.execute(statement, parameters).first()

    def all(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """All rows."""
        return self.connection.execute(statement, parameters).all()

    def scalar(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Any:
        """First column of the first row, or None."""
        return self.connection.execute(statement, parameters).scalar()

    def touch(self, kind: str, object_id: str) -> None:
        """Announce that an object was created, changed or deleted; hosts learn after the commit."""
        self._changes[(kind, object_id)] = None

    def job(self, name: str, ordering_key: str, arguments: Any, delay_s: float = 0.0) -> None:
        """Leave work to be done after the commit; jobs of one ordering key run one after another."""
        self._jobs.append(
            {
                "name": name,
                "ordering_key": ordering_key,
                "arguments": msgspec.json.encode(arguments).decode(),
                "request_id": self.request_id,
                "not_before": self.now + int(delay_s * 1_000_000),
                "attempts": 0,
            }
        )

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run something in memory (a cache to forget, say) once the commit has happened."""
        self._after_commit.append(action)

    def flush_outbox(self) -> bool:
        """Write the announcements; called by the database just before it commits. True if there were any."""
        if self._changes:
            self.connection.execute(
                insert(outbox.change),
                [
                    {"kind": kind, "object_id": oid, "request_id": self.request_id, "changed_at": self.now}
                    for kind, oid in self._changes
                ],
            )
        if self._jobs:
            self.connection.execute(insert(outbox.job), self._jobs)
        return bool(self._changes or self._jobs)

    def committed(self) -> None:
        """Run what waited for the commit; called by the database."""
        for action in self._after_commit:
            action()
