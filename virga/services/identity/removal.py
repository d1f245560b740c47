"""What else goes when a user, a group or a project goes: grants, memberships, credentials, tokens."""

from __future__ import annotations

from sqlalchemy import delete, select, update

from virga.db.tx import Tx
from virga.services.identity import epoch, models


def remove_user(tx: Tx, user_id: str) -> None:
    """The user with everything that is only the user's."""
    for table in (models.password, models.membership, models.credential, models.access_rule):
        tx.execute(delete(table).where(table.c.user_id == user_id))
    credentials = models.application_credential
    tx.execute(delete(credentials).where(credentials.c.user_id == user_id))
    _remove_grants_to(tx, "user", user_id)
    trust = models.trust
    tx.execute(
        delete(trust).where((trust.c.trustor_user_id == user_id) | (trust.c.trustee_user_id == user_id))
    )
    tx.execute(delete(models.user).where(models.user.c.id == user_id))
    epoch.revoke(tx, f"user:{user_id}")


def remove_group(tx: Tx, group_id: str) -> None:
    """The group; its members lose what they had through it."""
    tx.execute(delete(models.membership).where(models.membership.c.group_id == group_id))
    _remove_grants_to(tx, "group", group_id)
    tx.execute(delete(models.group).where(models.group.c.id == group_id))
    epoch.advance(tx)


def remove_project(tx: Tx, project_id: str) -> None:
    """The project (or domain), grants in it, and credentials that are good for nothing else."""
    assignment = models.assignment
    tx.execute(
        delete(assignment).where(assignment.c.target_kind != "system", assignment.c.target_id == project_id)
    )
    for table in (models.credential, models.application_credential, models.trust, models.project_endpoint):
        tx.execute(delete(table).where(table.c.project_id == project_id))
    tx.execute(delete(models.project_tag).where(models.project_tag.c.project_id == project_id))
    limit = models.limit
    tx.execute(delete(limit).where((limit.c.project_id == project_id) | (limit.c.domain_id == project_id)))
    tx.execute(
        update(models.user)
        .where(models.user.c.default_project_id == project_id)
        .values(default_project_id=None)
    )
    tx.execute(delete(models.project).where(models.project.c.id == project_id))
    epoch.revoke(tx, f"project:{project_id}")


def _remove_grants_to(tx: Tx, actor_kind: str, actor_id: str) -> None:
    assignment = models.assignment
    tx.execute(
        delete(assignment).where(assignment.c.actor_kind == actor_kind, assignment.c.actor_id == actor_id)
    )


def subtree(tx: Tx, project_id: str) -> list[str]:
    """Ids of all projects below, nearest first."""
    found: list[str] = []
    level = [project_id]
    while level:
        children = tx.all(select(models.project.c.id).where(models.project.c.parent_id.in_(level)))
        level = [row.id for row in children if row.id not in found]
        found += level
    return found
