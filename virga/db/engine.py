"""Opens the database and runs functions in transactions; alone knows SQLite from PostgreSQL.

SQLite runs in WAL mode with one writer at a time: readers never wait for the writer, and the
writer takes its lock when it begins, so it cannot fail half way on a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.pool import QueuePool, StaticPool

from virga.db.tx import Tx
from virga.lib.clock import Clock, now_us

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
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.in_memory = self.is_sqlite and not self.url.database
        self._write_lock = threading.RLock()
        self._reader = self._open("BEGIN")
        self._writer = self._reader if self.in_memory or not self.is_sqlite else self._open("BEGIN IMMEDIATE")

    def _open(self, begin: str) -> Engine:
        if not self.is_sqlite:
            return create_engine(self.url, pool_size=8, max_overflow=8, pool_pre_ping=True)
        pool: dict[str, Any] = (
            {"poolclass": StaticPool} if self.in_memory else {"poolclass": QueuePool, "pool_size": 8}
        )
        engine = create_engine(self.url, connect_args={"check_same_thread": False}, **pool)

        @event.listens_for(engine, "connect")
        def on_connect(connection: Any, _record: Any) -> None:
            # The driver must not begin transactions of its own accord: we say BEGIN ourselves.
            connection.isolation_level = None
            for pragma in _PRAGMAS:
                connection.execute(pragma)

        @event.listens_for(engine, "begin")
        def on_begin(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    def read(self, function: Callable[[Tx], T], request_id: str = "") -> T:
        """Run ``function`` in a transaction that is rolled back: what it saw is one moment."""
        if self.in_memory:
            # One connection is all there is, so readers and the writer take turns.
            with self._write_lock:
                return self._read(function, request_id)
        return self._read(function, request_id)

    def _read(self, function: Callable[[Tx], T], request_id: str) -> T:
        with self._reader.connect() as connection, connection.begin() as transaction:
            try:
                return function(Tx(connection, self.clock(), request_id, writable=False))
            finally:
                transaction.rollback()

    def write(self, function: Callable[[Tx], T], request_id: str = "") -> T:
        """Run ``function`` and commit; any exception rolls all of it back, announcements included."""
        with self._write_lock:
            with self._writer.connect() as connection, connection.begin():
                tx = Tx(connection, self.clock(), request_id, writable=True)
                result = function(tx)
                announced = tx.flush_outbox()
            tx.committed()
        if announced:
            for listener in self.on_announce:
                listener()
        return result

    def engine(self) -> Engine:
        """The writing engine, for migrations."""
        return self._writer

    def close(self) -> None:
        """Let go of all connections."""
        self._reader.dispose()
        self._writer.dispose()
