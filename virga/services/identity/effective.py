"""Which roles somebody has in a scope: granted, through groups, inherited down the hierarchy, and implied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import and_, or_, select

from virga.db.tx import Tx
from virga.services.identity.models import assignment, implied_role, membership, project, role

SYSTEM_ID = "system"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token or a grant is about. ``kind``: ``project``, ``domain``, ``system`` or empty for unscoped."""

    kind: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class RoleName:
    id: str
    name: str


def groups_of(tx: Tx, user_id: str) -> list[str]:
    """Ids of the groups that the user is in."""
    rows = tx.all(select(membership.c.group_id).where(membership.c.user_id == user_id))
    return [row.group_id for row in rows]


def ancestors(tx: Tx, project_id: str) -> list[str]:
    """Parent, its parent, ... up to and including the domain."""
    found: list[str] = []
    current = tx.scalar(select(project.c.parent_id).where(project.c.id == project_id))
    while current and current not in found:
        found.append(current)
        current = tx.scalar(select(project.c.parent_id).where(project.c.id == current))
    return found


def with_implied(tx: Tx, role_ids: Iterable[str]) -> set[str]:
    """The roles and all that they imply, directly or not."""
    implied: dict[str, list[str]] = {}
    for row in tx.all(select(implied_role)):
        implied.setdefault(row.prior_role_id, []).append(row.implied_role_id)
    found: set[str] = set()
    waiting = list(role_ids)
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting.extend(implied.get(current, ()))
    return found


def granted_ids(tx: Tx, user_id: str, scope: Scope) -> set[str]:
    """Ids of roles granted in ``scope``, without the implied ones."""
    if scope.kind == "project":
        above = ancestors(tx, scope.id)
        where = or_(
            and_(assignment.c.target_id == scope.id, assignment.c.inherited.is_(False)),
            and_(assignment.c.target_id.in_(above), assignment.c.inherited.is_(True)),
        )
    elif scope.kind == "domain":
        where = and_(
            assignment.c.target_kind == "domain",
            assignment.c.target_id == scope.id,
            assignment.c.inherited.is_(False),
        )
    else:
        where = assignment.c.target_kind == "system"
    actors = or_(
        and_(assignment.c.actor_kind == "user", assignment.c.actor_id == user_id),
        and_(assignment.c.actor_kind == "group", assignment.c.actor_id.in_(groups_of(tx, user_id))),
    )
    return {row.role_id for row in tx.all(select(assignment.c.role_id).where(where, actors))}


def roles_of(tx: Tx, user_id: str, scope: Scope) -> list[RoleName]:
    """Every role that counts in ``scope``; domain roles count only by what they imply."""
    return names_of(tx, with_implied(tx, granted_ids(tx, user_id, scope)))


def names_of(tx: Tx, role_ids: Iterable[str]) -> list[RoleName]:
    """The global ones among the roles, with their names."""
    wanted = set(role_ids)
    if not wanted:
        return []
    rows = tx.all(select(role.c.id, role.c.name).where(role.c.id.in_(wanted), role.c.domain_id == ""))
    return [RoleName(row.id, row.name) for row in rows]
