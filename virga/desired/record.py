"""The record: who changed which object when, and what explanations and the doctor saw. Kept for ``record_hours``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.engine import Row

from virga.db.outbox import change, observation
from virga.db.tx import Tx
from virga.services.identity.models import user

SEEN_AGAIN_US = 600_000_000
"""A difference that is seen again within this is not written down again."""


@dataclass(frozen=True, slots=True)
class Changed:
    """One change of an object. ``by`` is empty for what the cloud did of itself."""

    kind: str
    object_id: str
    at: int
    request_id: str = ""
    user_id: str = ""
    by: str = ""
    project_id: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """``kind``: ``explanation`` or ``drift``."""

    kind: str
    body: Any
    host: str = ""
    subject: str = ""


def changes(
    tx: Tx, object_ids: Iterable[str], since_us: int, project_id: str | None = None, limit: int = 1000
) -> list[Changed]:
    """Changes of these objects (of all, when none is named), oldest first, the newest ``limit`` of them.

    Work that goes on after a request is that of whoever made the request.
    """
    query = select(change).where(change.c.changed_at >= since_us)
    ids = sorted(set(object_ids))
    if ids:
        query = query.where(change.c.object_id.in_(ids))
    if project_id is not None:
        query = query.where(change.c.project_id == project_id)
    rows = list(reversed(tx.all(query.order_by(change.c.revision.desc()).limit(limit))))
    return _told(tx, rows)


def last_change(tx: Tx, kind: str, object_id: str) -> Changed | None:
    """The newest change of one object."""
    mine = select(change).where(change.c.kind == kind, change.c.object_id == object_id)
    row = tx.first(mine.order_by(change.c.revision.desc()).limit(1))
    return _told(tx, [row])[0] if row is not None else None


def _told(tx: Tx, rows: Sequence[Row[Any]]) -> list[Changed]:
    """With the names of people."""
    nameless = {row.request_id for row in rows if row.request_id and not row.user_id}
    asked = {row.request_id: row for row in rows if row.user_id}
    missing = sorted(nameless - asked.keys())
    if missing:
        found = tx.all(select(change).where(change.c.request_id.in_(missing), change.c.user_id != ""))
        asked |= {row.request_id: row for row in found}
    causes = [row if row.user_id else asked.get(row.request_id, row) for row in rows]
    people = sorted({row.user_id for row in causes if row.user_id})
    names = {}
    if people:
        names = {
            row.id: row.name for row in tx.all(select(user.c.id, user.c.name).where(user.c.id.in_(people)))
        }
    return [
        Changed(
            row.kind,
            row.object_id,
            row.changed_at,
            row.request_id,
            cause.user_id,
            names.get(cause.user_id, cause.user_id),
            cause.project_id,
            cause.action,
        )
        for row, cause in zip(rows, causes, strict=True)
    ]


def observe(tx: Tx, seen: Sequence[Observed]) -> None:
    """Write down what was seen, by whom; the same difference only once in a while."""
    known: set[tuple[str, str, str]] = set()
    if any(each.kind == "drift" for each in seen):
        lately = observation.c.observed_at >= tx.now - SEEN_AGAIN_US
        found = tx.all(
            select(observation.c.host, observation.c.subject).where(lately, observation.c.kind == "drift")
        )
        known = {("drift", row.host, row.subject) for row in found}
    fresh = [each for each in seen if (each.kind, each.host, each.subject[:255]) not in known]
    for each in fresh:
        tx.execute(
            insert(observation).values(
                kind=each.kind,
                observed_at=tx.now,
                host=each.host,
                subject=each.subject[:255],
                user_id=tx.cause.user_id,
                project_id=tx.cause.project_id,
                request_id=tx.request_id,
                body=each.body,
            )
        )


def observations(
    tx: Tx, since_us: int, kind: str | None = None, project_id: str | None = None, limit: int = 1000
) -> list[Row[Any]]:
    """What was seen since, oldest first; with a project only the explanations that it asked for."""
    query = select(observation).where(observation.c.observed_at >= since_us)
    if kind is not None:
        query = query.where(observation.c.kind == kind)
    if project_id is not None:
        query = query.where(observation.c.kind == "explanation", observation.c.project_id == project_id)
    return list(reversed(tx.all(query.order_by(observation.c.id.desc()).limit(limit))))
