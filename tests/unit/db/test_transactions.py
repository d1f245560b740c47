"""Transactions: all or nothing, announcements with the rows, readers beside a writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import bindparam, func, insert, select
from sqlalchemy.exc import IntegrityError

import virga.services
from virga.db import migrate
from virga.db.engine import Database, Work
from virga.db.metadata import metadata
from virga.db.outbox import change, job
from virga.db.tx import Tx


@pytest.fixture(params=["file", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'virga.db'}"
    opened = Database(url, clock=lambda: 1_000_000)
    metadata.create_all(opened.engine(), tables=[change, job])
    yield opened
    opened.close()


def _changes(tx: Tx) -> list[tuple[str, str]]:
    return [(row.kind, row.object_id) for row in tx.all(select(change).order_by(change.c.revision))]


def test_rows_changes_and_jobs_commit_together(database: Database) -> None:
    heard: list[str] = []
    database.on_announce.append(lambda: heard.append("announced"))

    def act(tx: Tx) -> None:
        tx.touch("port", "p1")
        tx.touch("port", "p1")
        tx.job("noop", "p1", {"port_id": "p1"})
        tx.after_commit(lambda: heard.append("after"))

    database.write(act, "req-1")
    assert database.read(_changes) == [("port", "p1")]
    row = database.read(lambda tx: tx.first(select(job)))
    assert row is not None
    assert (row.name, row.arguments, row.request_id) == ("noop", '{"port_id":"p1"}', "req-1")
    assert heard == ["after", "announced"]


def test_a_refused_request_leaves_nothing(database: Database) -> None:
    heard: list[str] = []
    database.on_announce.append(lambda: heard.append("announced"))

    def act(tx: Tx) -> None:
        tx.execute(insert(change).values(kind="x", object_id="y", request_id="", changed_at=0))
        tx.touch("port", "p1")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.write(act)
    assert database.read(_changes) == []
    assert heard == []


def test_a_reader_cannot_change_anything(database: Database) -> None:
    database.read(
        lambda tx: tx.execute(insert(change).values(kind="x", object_id="y", request_id="", changed_at=0))
    )
    assert database.read(_changes) == []


def test_writers_take_turns(database: Database) -> None:
    def add(tx: Tx) -> None:
        count = tx.scalar(select(func.count()).select_from(change))
        tx.touch("count", str(count))

    threads = [threading.Thread(target=lambda: [database.write(add) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.read(_changes) == [("count", str(number)) for number in range(80)]


def test_migrations_give_the_tables_of_the_models(tmp_path: Path) -> None:
    """Each room's migration and its models must say the same."""
    import importlib

    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    services = Path(virga.services.__file__).parent
    for models in services.glob("*/models*.py"):
        importlib.import_module(f"virga.services.{models.parent.name}.{models.stem}")
    database = Database(f"sqlite:///{tmp_path / 'virga.db'}")
    assert migrate.upgrade(database) is True
    assert migrate.upgrade(database) is False
    with database.engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_works_that_share_a_commit_fail_alone(database: Database) -> None:
    committed: list[str] = []

    def keep(name: str) -> Work:
        def act(tx: Tx) -> str:
            tx.touch("port", name)
            tx.after_commit(lambda: committed.append(name))
            return name

        return Work(act)

    def refuse(tx: Tx) -> None:
        tx.execute(insert(change).values(kind="x", object_id="y", request_id="", changed_at=0))
        raise ValueError("no")

    works = [Work(refuse), keep("p1"), Work(refuse), keep("p2")]
    database.write_all(iter(works))
    assert [work.result for work in works] == [None, "p1", None, "p2"]
    assert [str(work.error) for work in works if work.error] == ["no", "no"]
    assert database.read(_changes) == [("port", "p1"), ("port", "p2")]
    assert committed == ["p1", "p2"]


def test_nobody_is_told_of_success_when_the_database_gives_up(database: Database) -> None:
    """SQLite undoes everything by itself when the disk is full; here a work does it."""
    committed: list[str] = []

    def keep(tx: Tx) -> None:
        tx.touch("port", "p1")
        tx.after_commit(lambda: committed.append("p1"))

    def lose(tx: Tx) -> None:
        tx.connection.exec_driver_sql("ROLLBACK")
        raise OSError("disk full")

    works = [Work(keep), Work(lose), Work(keep)]
    database.write_all(iter(works))
    assert works[0].error is not None
    assert works[1].error is not None
    assert works[2].tx is None
    assert committed == []
    assert database.read(_changes) == []
    database.write(keep)
    assert database.read(_changes) == [("port", "p1")]


def test_a_statement_gives_the_same_the_second_time(database: Database) -> None:
    """From its second run on a statement does not pass through SQLAlchemy."""
    add = insert(change)
    rows = [{"kind": "k", "object_id": str(n), "request_id": "r", "changed_at": n} for n in range(4)]
    for row in rows:
        database.write(lambda tx, row=row: tx.execute(add, row))  # type: ignore[misc]
    database.write(lambda tx: tx.execute(add, [{"kind": "many", "object_id": "x", "changed_at": 9}] * 2))
    database.write(lambda tx: tx.execute(add, [{"kind": "many", "object_id": "x", "changed_at": 9}] * 2))
    query = select(change).where(change.c.kind == bindparam("kind"), change.c.changed_at > 0).limit(2)
    answers = [database.read(lambda tx: tx.all(query, {"kind": "k"})) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert [row._mapping for row in answers[0]] == [row._mapping for row in answers[2]]
    assert answers[2][0].object_id == "1"
    many = database.read(lambda tx: tx.all(select(change.c.request_id).where(change.c.kind == "many")))
    assert [row.request_id for row in many] == [""] * 4


def test_a_repeated_statement_fails_in_the_words_of_sqlalchemy(database: Database) -> None:
    add = insert(change)
    row = {"revision": 1, "kind": "k", "object_id": "o", "request_id": "", "changed_at": 0}
    database.write(lambda tx: tx.execute(add, row))
    for _ in range(2):
        with pytest.raises(IntegrityError):
            database.write(lambda tx: tx.execute(add, row))
