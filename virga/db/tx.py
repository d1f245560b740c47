"""A transaction as the services see it: statements, the time it runs at, and what it announces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import msgspec
from sqlalchemy import Executable, insert
from sqlalchemy.engine import Connection, Row

from virga.db import outbox
from virga.db.direct import Direct, Parameters, Statements

_ANNOUNCE = insert(outbox.change)
_LEAVE_WORK = insert(outbox.job)


class Done(Protocol):
    """What came of a statement that writes."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...


@dataclass(frozen=True, slots=True)
class Cause:
    """Who asked for what a transaction changes; empty for what the cloud does of itself."""

    user_id: str = ""
    project_id: str = ""
    action: str = ""


NOBODY = Cause()


class Tx:
    """One request is one transaction: its rows, changes and jobs commit together or not at all."""

    __slots__ = (
        "_after_commit",
        "_changes",
        "_driver",
        "_jobs",
        "_statements",
        "cause",
        "connection",
        "now",
        "request_id",
        "writable",
    )

    def __init__(
        self,
        connection: Connection,
        now: int,
        request_id: str,
        writable: bool,
        statements: Statements | None = None,
    ) -> None:
        """``statements``: those that may go straight to the driver, for a database where that pays."""
        self.connection = connection
        self._statements = statements
        self._driver: Any = connection.connection.driver_connection if statements else None
        self.now = now
        """Microseconds since the epoch; the same during the whole transaction."""
        self.request_id = request_id
        self.writable = writable
        self.cause = NOBODY
        self._changes: dict[tuple[str, str], None] = {}
        self._jobs: list[dict[str, Any]] = []
        self._after_commit: list[Callable[[], None]] = []

    def execute(self, statement: Executable, parameters: Parameters = None) -> Done:
        """Run one SQLAlchemy Core statement that writes."""
        direct = self._statements.direct(statement, parameters) if self._statements else None
        if direct is None:
            return self.connection.execute(statement, parameters)
        try:
            if isinstance(parameters, Sequence):
                done: Done = self._driver.executemany(direct.sql, [direct.values(p) for p in parameters])
            else:
                done = self._driver.execute(direct.sql, direct.values(parameters or {}))
        except Exception:
            # It fails again, and SQLAlchemy says so in its own words.
            return self.connection.execute(statement, parameters)
        return done

    def _cursor(self, statement: Executable, parameters: Parameters) -> tuple[Any, Direct] | None:
        """A cursor that has run the query without SQLAlchemy, and how to read its rows."""
        direct = self._statements.direct(statement, parameters) if self._statements else None
        if direct is None:
            return None
        try:
            return self._driver.execute(direct.sql, direct.values(cast(Any, parameters) or {})), direct
        except Exception:
            return None

    def first(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Row[Any] | None:
        """The first row, or None."""
        found = self._cursor(statement, parameters)
        if found is None:
            return self.connection.execute(statement, parameters).first()
        cursor, direct = found
        data = cursor.fetchone()
        cursor.close()
        return None if data is None else direct.row(data)

    def all(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """All rows."""
        found = self._cursor(statement, parameters)
        if found is None:
            return self.connection.execute(statement, parameters).all()
        cursor, direct = found
        return [direct.row(data) for data in cursor.fetchall()]

    def scalar(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Any:
        """First column of the first row, or None."""
        row = self.first(statement, parameters)
        return None if row is None else row[0]

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

    @property
    def has_changes(self) -> bool:
        """Hosts have something to learn."""
        return bool(self._changes)

    @property
    def has_jobs(self) -> bool:
        """There is work for after the commit."""
        return bool(self._jobs)

    def flush_outbox(self) -> None:
        """Write the announcements; called by the database just before it commits."""
        if self._changes:
            told = {
                "request_id": self.request_id,
                "changed_at": self.now,
                "user_id": self.cause.user_id,
                "project_id": self.cause.project_id,
                "action": self.cause.action,
            }
            self.execute(
                _ANNOUNCE,
                [{"kind": kind, "object_id": oid, **told} for kind, oid in self._changes],
            )
        if self._jobs:
            self.execute(_LEAVE_WORK, self._jobs)

    def committed(self) -> None:
        """Run what waited for the commit; called by the database."""
        for action in self._after_commit:
            action()
