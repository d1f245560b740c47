"""How much of everything a project may have, what it has, and the refusal of more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Table, bindparam, func, select

from virga.api.resource import Context, Resource, Values
from virga.db.tx import Tx
from virga.services.network import faults
from virga.services.network.models import network, port, quota, rbac_policy, subnet, subnetpool
from virga.services.network.models_l3 import (
    address_group,
    floating_ip,
    router,
    security_group,
    security_group_rule,
    trunk,
)
from virga.settings import Settings

UNLIMITED = -1
DEFAULTS = {
    "network": 100,
    "subnet": 100,
    "subnetpool": -1,
    "port": 500,
    "router": 10,
    "floatingip": 50,
    "rbac_policy": 10,
    "security_group": 10,
    "security_group_rule": 100,
    "trunk": -1,
    "address_group": -1,
}
TABLES: dict[str, Table] = {
    "network": network,
    "subnet": subnet,
    "subnetpool": subnetpool,
    "port": port,
    "router": router,
    "floatingip": floating_ip,
    "rbac_policy": rbac_policy,
    "security_group": security_group,
    "security_group_rule": security_group_rule,
    "trunk": trunk,
    "address_group": address_group,
}

_LIMIT = select(quota.c.limit).where(
    quota.c.project_id == bindparam("project"), quota.c.resource == bindparam("resource")
)
_USED = {
    name: select(func.count()).select_from(table).where(table.c.project_id == bindparam("project"))
    for name, table in TABLES.items()
}


def defaults(settings: Settings) -> dict[str, int]:
    """Limits of a project for which none were set."""
    chosen = settings.network_quota_limits
    return {name: chosen.get(name, number) for name, number in DEFAULTS.items()}


def limit(tx: Tx, settings: Settings, project_id: str, resource: str) -> int:
    own = tx.scalar(_LIMIT, {"project": project_id, "resource": resource})
    return defaults(settings)[resource] if own is None else int(own)


def used(tx: Tx, project_id: str, resource: str) -> int:
    return int(tx.scalar(_USED[resource], {"project": project_id}) or 0)


def limits(tx: Tx, settings: Settings, project_id: str) -> dict[str, int]:
    own = {
        row.resource: row.limit
        for row in tx.all(select(quota.c.resource, quota.c.limit).where(quota.c.project_id == project_id))
    }
    return {name: own.get(name, default) for name, default in defaults(settings).items()}


def check(tx: Tx, context: Context, resource: Resource, items: list[Values]) -> None:
    """Refuse a create that would go beyond the project's limit. Called before anything is made."""
    assert resource.quota is not None
    check_projects(tx, context, resource.quota, [item.get("project_id", "") for item in items])


def check_projects(tx: Tx, context: Context, name: str, projects: Sequence[str]) -> None:
    for project_id, count in Counter(projects).items():
        allowed = limit(tx, context.settings, project_id, name)
        if allowed != UNLIMITED and used(tx, project_id, name) + count > allowed:
            raise faults.OverQuota(overs=f"['{name}']")
