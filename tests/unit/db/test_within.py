"""A condition on a list of ids finds rows by the index, in any combination with others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import and_, not_, or_, select, text

from virga.db.engine import Database
from virga.db.metadata import metadata
from virga.db.outbox import change, job
from virga.db.within import within


@pytest.fixture
def database() -> Iterator[Database]:
    opened = Database("sqlite://", clock=lambda: 1)
    metadata.create_all(opened.engine(), tables=[change, job])
    yield opened
    opened.close()


def test_it_uses_the_index(database: Database) -> None:
    query = select(job.c.id).where(within(job.c.ordering_key), job.c.attempts == 0)
    compiled = query.compile(dialect=database.engine().dialect)
    plan = database.read(
        lambda tx: tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", ("[]", 0)).all()
    )
    assert any("SEARCH job USING INDEX ix_job_ordering_key" in row[3] for row in plan), plan


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (within(change.c.object_id), ["a", "b"]),
        (not_(within(change.c.object_id)), ["c"]),
        (and_(within(change.c.object_id), change.c.kind == "y"), ["b"]),
        (or_(within(change.c.object_id), change.c.kind == "z"), ["a", "b", "c"]),
    ],
)
def test_it_combines(database: Database, condition: object, expected: list[str]) -> None:
    for kind, object_id in (("x", "a"), ("y", "b"), ("z", "c")):
        database.write(lambda tx, kind=kind, object_id=object_id: tx.touch(kind, object_id))  # type: ignore[misc]
    query = select(change.c.object_id).where(condition).order_by(text("object_id"))  # type: ignore[arg-type]
    rows = database.read(lambda tx: tx.all(query, {"ids": ["a", "b"]}))
    assert [row.object_id for row in rows] == expected
