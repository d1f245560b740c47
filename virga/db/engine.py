"""Opens the database and runs functions in transactions; alone knows SQLite from PostgreSQL.

SQLite runs in WAL mode with one writer at a time: readers never wait for the writer, and the
writer takes its lock when it begins, so it cannot fail half way on a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.pool import StaticPool

from virga.db.tx import Tx
from virga.lib.clock import Clock, now_us
from virga.lib.log import bind

T = TypeVar("T")

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=15000",
    "PRAGMA cache_size=-32000",
    "PRAGMA temp_store=MEMORY",
)


class Database:
    """The state of the cloud. ``url`` is SQLAlchemy's; ``sqlite://`` alone lives in memory."""

    def __init__(self, url: str, clock: Clock = now_us) -> None:
        self.url = make_url(url)
        self.clock = clock
        self.on_announce: list[Callable[[], None]] = []
        """Called after each commit that announced changes or jobs."""
        self._sessions: _SqliteSessions | _ServerSessions = (
            _SqliteSessions(str(url), in_memory=not self.url.database)
            if self.url.get_backend_name() == "sqlite"
            else _ServerSessions(url)
        )

    def read(self, function: Callable[[Tx], T], request_id: str = "") -> T:
        """Run ``function`` in a transaction that is rolled back: what it saw is one moment."""
        with bind(request_id=request_id), self._sessions.reading() as connection:
            return function(Tx(connection, self.clock(), request_id, writable=False))

    def write(self, function: Callable[[Tx], T], request_id: str = "") -> T:
        """Run ``function`` and commit; any exception rolls all of it back, announcements included."""
        with bind(request_id=request_id), self._sessions.writing() as connection:
            tx = Tx(connection, self.clock(), request_id, writable=True)
            result = function(tx)
            announced = tx.flush_outbox()
        tx.committed()
        if announced:
            for listener in self.on_announce:
                listener()
        return result

    def engine(self) -> Engine:
        """An engine for migrations, with SQLAlchemy's own transactions."""
        return self._sessions.migrating()

    def close(self) -> None:
        """Let go of all connections."""
        self._sessions.close()


class _ServerSessions:
    """Transactions of a database server, PostgreSQL: a pool of connections, transactions by SQLAlchemy."""

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
    def writing(self) -> Iterator[Connection]:
        with self._engine.connect() as connection, connection.begin():
            yield connection

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
        self._engine = create_engine(url, connect_args={"check_same_thread": False}, **options)
        event.listen(self._engine, "connect", _prepare)
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
            with self._lock, _transaction(self._of_writer(), "BEGIN", keep=False) as connection:
                yield connection
            return
        mine: Connection | None = getattr(self._mine, "connection", None)
        if mine is None:
            mine = self._mine.connection = self._open()
        with _transaction(mine, "BEGIN", keep=False):
            yield mine

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self._lock, _transaction(self._of_writer(), "BEGIN IMMEDIATE", keep=True) as connection:
            yield connection

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


@contextmanager
def _transaction(connection: Connection, begin: str, keep: bool) -> Iterator[Connection]:
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(begin)
    try:
        yield connection
    except BaseException:
        driver.execute("ROLLBACK")
        raise
    driver.execute("COMMIT" if keep else "ROLLBACK")


def _prepare(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions of its own accord: we say BEGIN ourselves.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(pragma)
