"""Opens the database and runs functions in transactions; alone knows SQLite from PostgreSQL.

SQLite runs in WAL mode with one writer at a time: readers never wait for the writer, and the
writer takes its lock when it begins, so it cannot fail half way on a lock. Works that wait for
the writer share its next commit.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.pool import StaticPool

from virga.db.direct import Statements
from virga.db.trouble import Damaged
from virga.db.tx import Tx
from virga.lib.clock import Clock, now_us
from virga.lib.log import bind

T = TypeVar("T")

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA wal_autocheckpoint=4000",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=15000",
    "PRAGMA cache_size=-32000",
    "PRAGMA temp_store=MEMORY",
)
# The driver keeps that many statements prepared; a cloud has about a thousand.
_CONNECT = {"check_same_thread": False, "cached_statements": 1024}

Run = Callable[[Connection], None]
Attempt = Callable[[Run], None]
"""Runs something in the transaction at hand; when it fails, nothing of it is left, and it raises."""


CHECKED_BYTES = 256 * 1024 * 1024


class Lost(Exception):
    """The database gave up the whole transaction (a full disk, say), with all that shared it."""


@dataclass(slots=True)
class Work:
    """A function for a transaction, and what came of it."""

    function: Callable[[Tx], Any]
    request_id: str = ""
    tx: Tx | None = None
    result: Any = None
    error: Exception | None = None


class Database:
    """The state of the cloud. ``url`` is SQLAlchemy's; ``sqlite://`` alone lives in memory."""

    def __init__(self, url: str, clock: Clock = now_us) -> None:
        self.url = make_url(url)
        if self.url.get_backend_name() == "sqlite" and self.url.database:
            _keep_private(Path(self.url.database))
        self.clock = clock
        self.on_announce: list[Callable[[], None]] = []
        """Called after each commit that announced changes."""
        self.on_jobs: list[Callable[[], None]] = []
        """Called after each commit that left jobs."""
        self._sessions: _SqliteSessions | _ServerSessions = (
            _SqliteSessions(str(url), in_memory=not self.url.database)
            if self.url.get_backend_name() == "sqlite"
            else _ServerSessions(url)
        )

    def read(self, function: Callable[[Tx], T], request_id: str = "") -> T:
        """Run ``function`` in a transaction that is rolled back: what it saw is one moment."""
        with bind(request_id=request_id), self._sessions.reading() as connection:
            return function(Tx(connection, self.clock(), request_id, False, self._sessions.statements))

    def write(self, function: Callable[[Tx], T], request_id: str = "") -> T:
        """Run ``function`` and commit; any exception rolls all of it back, announcements included."""
        work = Work(function, request_id)
        self.write_all(iter((work,)))
        if work.error is not None:
            raise work.error
        result: T = work.result
        return result

    def write_all(self, works: Iterator[Work]) -> None:
        """Run each as ``write`` does; what came of it is in the work. Returns when all of it is committed.

        A work that fails is undone alone. None counts as done before the commit: when that fails, all fail.
        """
        taken: list[Work] = []
        try:
            with self._sessions.writing() as attempt:
                for work in works:
                    taken.append(work)
                    self._try(work, attempt)
        except Exception as problem:
            for work in taken:
                work.error = work.error or problem
        self._announce([work.tx for work in taken if work.tx is not None and work.error is None])

    def _try(self, work: Work, attempt: Attempt) -> None:
        def run(connection: Connection) -> None:
            tx = work.tx = Tx(connection, self.clock(), work.request_id, True, self._sessions.statements)
            work.result = work.function(tx)
            tx.flush_outbox()

        with bind(request_id=work.request_id):
            try:
                attempt(run)
            except Lost:
                raise
            except Exception as problem:
                work.error = problem

    def _announce(self, committed: Sequence[Tx]) -> None:
        for tx in committed:
            tx.committed()
        if any(tx.has_changes for tx in committed):
            for listener in self.on_announce:
                listener()
        if any(tx.has_jobs for tx in committed):
            for listener in self.on_jobs:
                listener()

    def check(self) -> None:
        """Raises Damaged when pages of a SQLite file are not what they were. For the start; larger files take too long."""
        path = Path(self.url.database or "")
        if self.url.get_backend_name() == "sqlite" and path.is_file() and path.stat().st_size < CHECKED_BYTES:
            found = self.read(lambda tx: tx.scalar(text("PRAGMA quick_check(1)")))
            if found != "ok":
                raise Damaged(str(found))

    def engine(self) -> Engine:
        """An engine for migrations, with SQLAlchemy's own transactions."""
        return self._sessions.migrating()

    def close(self) -> None:
        """Let go of all connections."""
        self._sessions.close()


class _ServerSessions:
    """Transactions of a database server, PostgreSQL: a pool of connections, transactions by SQLAlchemy."""

    statements: Statements | None = None

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, pool_size=8, max_overflow=8, pool_pre_ping=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._engine.connect() as connection, connection.begin() as transaction:
            try:
                yield connection
            finally:
                transaction.rollback()

    @contextmanager
    def writing(self) -> Iterator[Attempt]:
        with self._engine.connect() as connection:

            def attempt(run: Run) -> None:
                with connection.begin():
                    run(connection)

            yield attempt

    def migrating(self) -> Engine:
        return self._engine

    def close(self) -> None:
        self._engine.dispose()


class _SqliteSessions:
    """Transactions of a SQLite file: one connection a reading thread, one writer for all.

    The connections stay open and BEGIN, COMMIT and ROLLBACK go straight to the driver: a request
    is so short that the pool's and SQLAlchemy's own bookkeeping would double it.
    """

    def __init__(self, url: str, in_memory: bool) -> None:
        options: dict[str, Any] = {"poolclass": StaticPool} if in_memory else {"pool_size": 32}
        self._engine = create_engine(url, connect_args=_CONNECT, **options)
        event.listen(self._engine, "connect", _prepare)
        self.statements: Statements | None = Statements(self._engine.dialect)
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._in_memory = in_memory
        self._lock = threading.RLock()
        self._writer: Connection | None = None
        self._mine = threading.local()
        self._opened: list[Connection] = []

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        if self._in_memory:
            # One connection is all there is, so readers and the writer take turns.
            with self._lock, _looking(self._of_writer()) as connection:
                yield connection
            return
        mine: Connection | None = getattr(self._mine, "connection", None)
        if mine is None:
            mine = self._mine.connection = self._open()
        with _looking(mine):
            yield mine

    @contextmanager
    def writing(self) -> Iterator[Attempt]:
        with self._lock:
            group = _Group(self._of_writer())
            try:
                yield group.attempt
                group.commit()
            except BaseException:
                group.undo()
                raise

    def _of_writer(self) -> Connection:
        if self._writer is None:
            self._writer = self._open()
        return self._writer

    def _open(self) -> Connection:
        connection = self._autocommit.connect()
        self._opened.append(connection)
        return connection

    def migrating(self) -> Engine:
        return self._engine

    def close(self) -> None:
        for connection in self._opened:
            connection.close()
        self._engine.dispose()


class _Group:
    """One transaction of the writer and the works that share it.

    The first work is the transaction itself; those after it get a savepoint, so that a lone one pays for none.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver: Any = connection.connection.driver_connection
        self._kept = 0

    def attempt(self, run: Run) -> None:
        shared = self._kept > 0
        self._driver.execute("SAVEPOINT work" if shared else "BEGIN IMMEDIATE")
        try:
            run(self._connection)
        except BaseException as problem:
            if shared and not self._driver.in_transaction:
                raise Lost from problem
            if shared:
                self._driver.execute("ROLLBACK TO work")
                self._driver.execute("RELEASE work")
            else:
                self.undo()
            raise
        if shared:
            self._driver.execute("RELEASE work")
        self._kept += 1

    def commit(self) -> None:
        if self._kept:
            self._driver.execute("COMMIT")

    def undo(self) -> None:
        if self._driver.in_transaction:
            self._driver.execute("ROLLBACK")


@contextmanager
def _looking(connection: Connection) -> Iterator[Connection]:
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("BEGIN")
    try:
        yield connection
    finally:
        # A database that cannot be read ends transactions by itself.
        if driver.in_transaction:
            driver.execute("ROLLBACK")


def _prepare(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions of its own accord: we say BEGIN ourselves.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _keep_private(path: Path) -> None:
    """The state holds user data and passwords of targets: its file is for its owner, and so are the log files beside it."""
    if not path.parent.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    for name in (f"{path.name}-wal", f"{path.name}-shm"):
        with suppress(FileNotFoundError):
            (path.parent / name).chmod(0o600)
