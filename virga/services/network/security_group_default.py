"""The group that every project has, and the rules that new groups begin with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, insert, or_, select
from sqlalchemy.engine import Row

from virga.api.resource import Context, Values
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.network import faults, rbac
from virga.services.network.models_l3 import (
    default_security_group,
    default_security_group_rule,
    security_group,
    security_group_rule,
)
from virga.services.network.standard import fresh

SecurityGroupConflict = faults.refusal(
    "SecurityGroupConflict",
    409,
    "Cannot apply both stateful and stateless security groups on the same port at the same time.",
)

PARENT = "PARENT"
"""In a default rule: the group that the rule will belong to."""

_DEFAULT = select(default_security_group.c.security_group_id).where(
    default_security_group.c.project_id == bindparam("project")
)


def find(tx: Tx, project_id: str) -> str | None:
    found: str | None = tx.scalar(_DEFAULT, {"project": project_id})
    return found


def ensure(tx: Tx, project_id: str) -> str:
    """The id of the project's default group; made when it is not there."""
    found = find(tx, project_id)
    if found is not None or not project_id:
        return found or ""
    group_id = new_uuid()
    tx.execute(
        insert(security_group).values(
            id=group_id,
            project_id=project_id,
            name="default",
            description="Default security group",
            stateful=True,
            **fresh(tx, 1),
        )
    )
    tx.execute(insert(default_security_group).values(project_id=project_id, security_group_id=group_id))
    add_template_rules(tx, group_id, project_id, is_default=True)
    tx.touch("security_group", group_id)
    return group_id


def add_template_rules(tx: Tx, group_id: str, project_id: str, is_default: bool) -> None:
    table = default_security_group_rule
    wanted = table.c.used_in_default_sg if is_default else table.c.used_in_non_default_sg
    rows = [
        rule_row(tx, group_id, project_id, _as_rule(row, group_id))
        for row in tx.all(select(table).where(wanted.is_(True)))
    ]
    if rows:
        tx.execute(insert(security_group_rule), list({row["fingerprint"]: row for row in rows}.values()))


def count_template_rules(tx: Tx, is_default: bool) -> int:
    table = default_security_group_rule
    wanted = table.c.used_in_default_sg if is_default else table.c.used_in_non_default_sg
    return len(tx.all(select(table.c.id).where(wanted.is_(True))))


def _as_rule(row: Row[Any], group_id: str) -> Values:
    return {
        "direction": row.direction,
        "ethertype": row.ethertype,
        "protocol": row.protocol,
        "port_range_min": row.port_range_min,
        "port_range_max": row.port_range_max,
        "remote_ip_prefix": row.remote_ip_prefix,
        "remote_group_id": group_id if row.remote_group_id == PARENT else row.remote_group_id,
        "remote_address_group_id": row.remote_address_group_id,
        # The template's description is about the template.
        "description": None,
    }


MEANING = (
    "direction",
    "ethertype",
    "protocol",
    "port_range_min",
    "port_range_max",
    "remote_ip_prefix",
    "remote_group_id",
    "remote_address_group_id",
)


def fingerprint(values: Values) -> str:
    """All that makes two rules of a group the same."""
    return "|".join("" if values.get(name) is None else str(values[name]) for name in MEANING)


def rule_row(tx: Tx, group_id: str, project_id: str, values: Values) -> Values:
    return {
        "id": new_uuid(),
        "project_id": project_id,
        "security_group_id": group_id,
        **{name: values.get(name) for name in MEANING},
        "fingerprint": fingerprint(values),
        "description": values.get("description"),
        **fresh(tx),
    }


def sync_templates(tx: Tx) -> None:
    """The default rules of a new cloud: everything out, and in from members of the default group."""
    table = default_security_group_rule
    if tx.first(select(table.c.id).limit(1)) is not None:
        return
    rows = []
    for ethertype in ("IPv4", "IPv6"):
        rows.append(_template(tx, "egress", ethertype, None, both=True))
        rows.append(_template(tx, "ingress", ethertype, PARENT, both=False))
    tx.execute(insert(table), rows)


def _template(tx: Tx, direction: str, ethertype: str, remote: str | None, both: bool) -> Values:
    return {
        "id": new_uuid(),
        "direction": direction,
        "ethertype": ethertype,
        "remote_group_id": remote,
        "used_in_default_sg": True,
        "used_in_non_default_sg": both,
        "description": "Legacy default SG rule for egress traffic"
        if direction == "egress"
        else "Legacy default SG rule for ingress traffic",
        **fresh(tx),
    }


def check(tx: Tx, context: Context, asked: Sequence[str], project_id: str) -> list[str]:
    """Groups that a port of the project may have. SecurityGroupNotFound names the first that it may not."""
    if not asked:
        return []
    query = select(security_group.c.id, security_group.c.stateful).where(security_group.c.id.in_(asked))
    if not context.is_admin:
        query = query.where(
            or_(
                security_group.c.project_id.in_({context.project_id, project_id}),
                security_group.c.id.in_(rbac.granted("security_group", context)),
            )
        )
    found = {row.id: row.stateful for row in tx.all(query)}
    for group_id in asked:
        if group_id not in found:
            raise faults.SecurityGroupNotFound(id=group_id)
    if len(set(found.values())) > 1:
        raise SecurityGroupConflict()
    return list(dict.fromkeys(asked))
