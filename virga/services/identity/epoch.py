"""A number that grows whenever tokens may have changed their meaning.

A decoded token stays in memory together with the epoch it was decoded in; while the epoch stands, nobody
was disabled, no role was taken away and nothing was revoked, so one tiny query validates the token.
"""

from __future__ import annotations

from sqlalchemy import delete, insert, select, update

from virga.db.tx import Tx
from virga.services.identity.models import epoch, revocation

_CURRENT = "SELECT value FROM identity_epoch WHERE id = 1"


def current(tx: Tx) -> int:
    """The epoch now."""
    row = tx.connection.exec_driver_sql(_CURRENT).fetchone()
    return int(row[0]) if row else 0


def advance(tx: Tx) -> None:
    """Say that users, projects, roles or assignments changed: tokens must be looked at again."""
    changed = tx.execute(update(epoch).where(epoch.c.id == 1).values(value=epoch.c.value + 1))
    if not changed.rowcount:
        tx.execute(insert(epoch).values(id=1, value=1))


def revoke(tx: Tx, *subjects: str) -> None:
    """Refuse all tokens issued until now for ``user:ID``, ``project:ID``, ``audit:ID``, ``chain:ID``, ``trust:ID`` ..."""
    if subjects:
        tx.execute(
            insert(revocation),
            [{"subject": subject, "issued_before": tx.now, "revoked_at": tx.now} for subject in subjects],
        )
    advance(tx)


def forget_revocations(tx: Tx, needed_s: int) -> None:
    """Drop what is older than any token that could still be shown."""
    tx.execute(delete(revocation).where(revocation.c.revoked_at < tx.now - needed_s * 1_000_000))


def is_revoked(tx: Tx, subjects: list[str], issued_at: int) -> bool:
    """Whether any of the subjects was revoked after the token was issued."""
    row = tx.first(
        select(revocation.c.id)
        .where(revocation.c.subject.in_(subjects), revocation.c.issued_before >= issued_at)
        .limit(1)
    )
    return row is not None
