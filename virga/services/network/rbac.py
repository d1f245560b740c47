"""Who may use whose objects: the conditions and look-ups behind ``shared`` and ``router:external``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import ColumnElement, Table, insert, or_, select

from virga.api.resource import Context
from virga.api.validators import boolean
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.network.models import rbac_policy

SHARED = "access_as_shared"
EXTERNAL = "access_as_external"


def visible(object_type: str, table: Table) -> Callable[[Context], ColumnElement[bool]]:
    """Rows of the caller's project, and those that some policy shares with it."""

    def scope(context: Context) -> ColumnElement[bool]:
        return or_(table.c.project_id == context.project_id, table.c.id.in_(granted(object_type, context)))

    return scope


def granted(object_type: str, context: Context, action: str | None = None):  # type: ignore[no-untyped-def]
    """Ids of objects that a policy opens to the caller's project, as a subquery."""
    query = select(rbac_policy.c.object_id).where(
        rbac_policy.c.object_type == object_type,
        rbac_policy.c.target_project.in_(["*", context.project_id]),
    )
    return query.where(rbac_policy.c.action == action) if action else query


def shared_ids(tx: Tx, context: Context, object_type: str, ids: Sequence[str]) -> frozenset[str]:
    """Which of these objects are shared, as the caller sees it: with everybody, or with the caller's project."""
    if not ids:
        return frozenset()
    query = granted(object_type, context, SHARED)
    if len(ids) == 1:
        query = query.where(rbac_policy.c.object_id == ids[0])
    return frozenset(row.object_id for row in tx.all(query))


def shared_filter(object_type: str, table: Table) -> Callable[[Context, list[str]], ColumnElement[bool]]:
    def condition(context: Context, values: list[str]) -> ColumnElement[bool]:
        wanted = {boolean(value) for value in values}
        inside = table.c.id.in_(granted(object_type, context, SHARED))
        if wanted == {True}:
            return inside
        return ~inside if wanted == {False} else or_(inside, ~inside)

    return condition


def grant(
    tx: Tx, project_id: str, object_type: str, object_id: str, action: str = SHARED, target: str = "*"
) -> str:
    """Write a policy row."""
    policy_id = new_uuid()
    tx.execute(
        insert(rbac_policy).values(
            id=policy_id,
            project_id=project_id,
            object_type=object_type,
            object_id=object_id,
            action=action,
            target_project=target,
        )
    )
    return policy_id
