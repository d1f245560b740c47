"""Transactions: all or nothing, announcements with the rows, readers beside a writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

import virga.services
from virga.db import migrate
from virga.db.engine import Database
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
