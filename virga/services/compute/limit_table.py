"""Quotas of Compute: the default limits, what a project, a user or a class overrides, and what is used."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from virga.db.tx import Tx
from virga.services.compute.faults import over_quota
from virga.services.compute.models import compute_quota, keypair, server, server_group, server_group_member

DEFAULTS = {
    "instances": 10,
    "cores": 20,
    "ram": 51200,
    "metadata_items": 128,
    "injected_files": 5,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
    "key_pairs": 100,
    "server_groups": 10,
    "server_group_members": 10,
    "fixed_ips": -1,
    "floating_ips": -1,
    "security_groups": -1,
    "security_group_rules": -1,
    "networks": -1,
}
PER_USER = (
    "instances",
    "cores",
    "ram",
    "metadata_items",
    "injected_files",
    "injected_file_content_bytes",
    "injected_file_path_bytes",
    "key_pairs",
    "server_groups",
    "server_group_members",
)


def _overrides(tx: Tx, scope: str, owner: str, user_id: str = "") -> dict[str, int]:
    rows = tx.all(
        select(compute_quota.c.resource, compute_quota.c.hard_limit).where(
            compute_quota.c.scope == scope,
            compute_quota.c.project_id == owner,
            compute_quota.c.user_id == user_id,
        )
    )
    return {row.resource: row.hard_limit for row in rows}


def defaults(tx: Tx) -> dict[str, int]:
    """The limits of whoever has none of their own."""
    return DEFAULTS | _overrides(tx, "class", "default")


def class_limits(tx: Tx, name: str) -> dict[str, int]:
    return DEFAULTS | _overrides(tx, "class", name)


def limits_of(tx: Tx, project_id: str | None, user_id: str = "") -> dict[str, int]:
    """What holds for a project, or for one user in it."""
    found = defaults(tx)
    if project_id:
        found |= _overrides(tx, "project", project_id)
        if user_id:
            found |= _overrides(tx, "user", project_id, user_id)
    return found


def usage_of(tx: Tx, project_id: str, user_id: str = "") -> dict[str, int]:
    """What a project, or one user in it, uses."""
    mine = [server.c.project_id == project_id, server.c.deleted.is_(False)]
    if user_id:
        mine.append(server.c.user_id == user_id)
    rows = tx.all(select(server.c.flavor, server.c.other_flavor).where(*mine))
    used = dict.fromkeys(DEFAULTS, 0)
    used["instances"] = len(rows)
    used["cores"] = sum(row.flavor["vcpus"] for row in rows)
    used["ram"] = sum(row.flavor["memory_mb"] for row in rows)
    groups = select(func.count()).select_from(server_group).where(server_group.c.project_id == project_id)
    used["server_groups"] = tx.scalar(groups) or 0
    return used


def keypairs_of(tx: Tx, user_id: str) -> int:
    return tx.scalar(select(func.count()).select_from(keypair).where(keypair.c.user_id == user_id)) or 0


def members_of(tx: Tx, group_id: str) -> int:
    statement = select(func.count()).select_from(server_group_member)
    return tx.scalar(statement.where(server_group_member.c.group_id == group_id)) or 0


def check_servers(tx: Tx, project_id: str, user_id: str, count: int, flavor: dict[str, Any]) -> None:
    """Refuse when ``count`` servers of this flavor are more than is left."""
    wanted = {"instances": count, "cores": count * flavor["vcpus"], "ram": count * flavor["memory_mb"]}
    _check(tx, project_id, user_id, wanted)


def check_growth(tx: Tx, project_id: str, user_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Refuse when a resize asks for more than is left."""
    _check(
        tx,
        project_id,
        user_id,
        {"cores": max(0, new["vcpus"] - old["vcpus"]), "ram": max(0, new["memory_mb"] - old["memory_mb"])},
    )


def _check(tx: Tx, project_id: str, user_id: str, wanted: dict[str, int]) -> None:
    limits, used = limits_of(tx, project_id), usage_of(tx, project_id)
    own = _overrides(tx, "user", project_id, user_id)
    if own:
        mine = usage_of(tx, project_id, user_id)
        _compare(wanted, own, mine)
    _compare(wanted, limits, used)


def _compare(wanted: dict[str, int], limits: dict[str, int], used: dict[str, int]) -> None:
    over = [r for r, n in wanted.items() if n and 0 <= limits.get(r, -1) < used[r] + n]
    if over:
        names = ", ".join(sorted(over))
        raise over_quota(
            names,
            ", ".join(str(wanted[r]) for r in sorted(over)),
            ", ".join(str(used[r]) for r in sorted(over)),
            ", ".join(str(limits[r]) for r in sorted(over)),
        )
