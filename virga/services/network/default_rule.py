"""Default rules: what every new security group begins with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Row

from virga.api.resource import Context, Resource, Values
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.network import faults, security_group_rule
from virga.services.network.attributes_l3 import DEFAULT_RULE
from virga.services.network.models_l3 import default_security_group_rule
from virga.services.network.security_group_default import MEANING, PARENT, fingerprint
from virga.services.network.standard import fresh

DefaultRuleExists = faults.refusal(
    "DefaultSecurityGroupRuleExists",
    409,
    "Default Security group rule already exists. Rule id is {id}.",
)


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    return [
        {
            "id": row.id,
            **{name: getattr(row, name) for name in MEANING},
            "used_in_default_sg": row.used_in_default_sg,
            "used_in_non_default_sg": row.used_in_non_default_sg,
            "description": row.description,
        }
        for row in rows
    ]


def create(tx: Tx, context: Context, values: Values) -> str:
    security_group_rule.check(values)
    remote = values["remote_group_id"]
    if remote not in (None, PARENT):
        security_group_rule.find_group(tx, context, remote)
    table = default_security_group_rule
    wanted = fingerprint(values)
    for row in tx.all(select(table)):
        same = {name: getattr(row, name) for name in MEANING}
        kinds = ("used_in_default_sg", "used_in_non_default_sg")
        if fingerprint(same) == wanted and any(getattr(row, k) and values[k] for k in kinds):
            raise DefaultRuleExists(id=row.id)
    rule_id = new_uuid()
    tx.execute(
        insert(table).values(
            id=rule_id,
            **{name: values.get(name) for name in MEANING},
            used_in_default_sg=values["used_in_default_sg"],
            used_in_non_default_sg=values["used_in_non_default_sg"],
            description=values["description"],
            **fresh(tx),
        )
    )
    return rule_id


def delete_rule(tx: Tx, context: Context, current: Values) -> None:
    table = default_security_group_rule
    tx.execute(delete(table).where(table.c.id == current["id"]))


RESOURCE = Resource(
    name="default_security_group_rule",
    collection="default_security_group_rules",
    table=default_security_group_rule,
    attributes=DEFAULT_RULE,
    not_found=lambda rule_id: faults.DefaultRuleNotFound(id=rule_id),
    render=render,
    create=create,
    delete=delete_rule,
    scope=lambda context: None,
)
