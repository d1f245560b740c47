"""QoS policies: named sets of rules that networks and ports are put under."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, delete, insert, select
from sqlalchemy.engine import Row

from virga.api.resource import Context, Resource, Values, bump, change
from virga.db.tx import Tx
from virga.db.within import within
from virga.lib.ids import new_uuid
from virga.services.network import faults, rbac
from virga.services.network.attributes_qos import POLICY, RULE_TYPES
from virga.services.network.models import network, port, rbac_policy, tag
from virga.services.network.models_qos import qos_policy, qos_rule
from virga.services.network.standard import Shape, add_tags, by_ids, fresh, tags_of

PolicyNotFound = faults.refusal("QosPolicyNotFound", 404, "QoS policy {id} could not be found.")
PolicyInUse = faults.refusal("QosPolicyInUse", 409, "QoS Policy {id} is used by {kind} {object_id}.")
DefaultAlreadyExists = faults.refusal(
    "QoSPolicyDefaultAlreadyExists", 409, "A default QoS policy exists for project {project_id}."
)
USERS: tuple[tuple[str, Table], ...] = (("port", port), ("network", network))
"""What may be put under a policy, and where that stands."""

_RULES = select(qos_rule).where(within(qos_rule.c.qos_policy_id)).order_by(qos_rule.c.id)
_SHAPE = Shape(qos_policy)


def rule_values(row: Row[Any]) -> Values:
    """What a rule of its type says."""
    return {name: getattr(row, name) for name in RULE_TYPES[row.type].fields}


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    ids = [row.id for row in rows]
    shared, tags = rbac.shared_ids(tx, context, "qos_policy", ids), tags_of(tx, ids)
    rules: dict[str, list[Values]] = {}
    for row in by_ids(tx, _RULES, ids):
        known = {"id": row.id, "qos_policy_id": row.qos_policy_id, "type": row.type}
        rules.setdefault(row.qos_policy_id, []).append({**known, **rule_values(row)})
    items = _SHAPE.items(rows)
    for item in items:
        item["shared"] = item["id"] in shared
        item["rules"] = rules.get(item["id"], [])
        item["tags"] = tags.get(item["id"], [])
    return items


def create(tx: Tx, context: Context, values: Values) -> str:
    policy_id = new_uuid()
    if values["is_default"]:
        _refuse_second_default(tx, values["project_id"])
    tx.execute(
        insert(qos_policy).values(
            id=policy_id,
            project_id=values["project_id"],
            name=values["name"],
            description=values["description"],
            is_default=values["is_default"],
            **fresh(tx),
        )
    )
    if values["shared"]:
        rbac.grant(tx, values["project_id"], "qos_policy", policy_id)
    add_tags(tx, policy_id, values["tags"])
    return policy_id


def _refuse_second_default(tx: Tx, project_id: str) -> None:
    if default_of(tx, project_id) is not None:
        raise DefaultAlreadyExists(project_id=project_id)


def default_of(tx: Tx, project_id: str) -> str | None:
    """The policy that new networks of the project get."""
    found: str | None = tx.scalar(
        select(qos_policy.c.id).where(
            qos_policy.c.project_id == project_id, qos_policy.c.is_default.is_(True)
        )
    )
    return found


def update(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    if changes.get("is_default") and not current["is_default"]:
        _refuse_second_default(tx, current["project_id"])
    if "shared" in changes:
        _set_shared(tx, context, current, changes["shared"])
    change(tx, qos_policy, current["id"], {k: v for k, v in changes.items() if k != "shared"})


def _set_shared(tx: Tx, context: Context, current: Values, wanted: bool) -> None:
    from virga.services.network import rbac_policy as policies

    table = rbac_policy
    row = tx.first(
        select(table).where(
            table.c.object_id == current["id"], table.c.action == rbac.SHARED, table.c.target_project == "*"
        )
    )
    if wanted and row is None:
        rbac.grant(tx, current["project_id"], "qos_policy", current["id"])
    elif not wanted and row is not None:
        policies.delete_policy(tx, context, policies.render(tx, context, [row])[0])


def delete_policy(tx: Tx, context: Context, current: Values) -> None:
    for kind, table in USERS:
        used = tx.scalar(select(table.c.id).where(table.c.qos_policy_id == current["id"]).limit(1))
        if used is not None:
            raise PolicyInUse(id=current["id"], kind=kind, object_id=used)
    tx.execute(delete(qos_rule).where(qos_rule.c.qos_policy_id == current["id"]))
    tx.execute(delete(rbac_policy).where(rbac_policy.c.object_id == current["id"]))
    tx.execute(delete(qos_policy).where(qos_policy.c.id == current["id"]))
    tx.touch("qos_policy", current["id"])


RESOURCE = Resource(
    name="policy",
    collection="policies",
    table=qos_policy,
    attributes=POLICY,
    not_found=lambda policy_id: PolicyNotFound(id=policy_id),
    render=render,
    create=create,
    update=update,
    delete=delete_policy,
    scope=rbac.visible("qos_policy", qos_policy),
    filters={"shared": rbac.shared_filter("qos_policy", qos_policy)},
    has_tags=True,
    tag_table=tag,
    changed=lambda tx, policy_id: bump(tx, qos_policy, policy_id),
)
