"""RBAC policies: one project's object opened to another project, or to all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Table, delete, insert, select, union
from sqlalchemy import update as sql_update
from sqlalchemy.engine import Row

from virga.api.resource import REQUIRED, Attribute, Context, Resource, Values, bump
from virga.api.validators import filled_text, text, uuid
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.network import faults, rbac
from virga.services.network.attributes import ID, PROJECT
from virga.services.network.models import (
    address_scope,
    network,
    port,
    rbac_policy,
    subnet,
    subnetpool,
)
from virga.services.network.models_l3 import (
    address_group,
    port_security_group,
    security_group,
    security_group_rule,
)
from virga.services.network.models_qos import qos_policy
from virga.services.network.qos_policy import USERS as QOS_USERS
from virga.services.network.qos_policy import PolicyNotFound

TABLES: dict[str, Table] = {
    "network": network,
    "security_group": security_group,
    "address_scope": address_scope,
    "subnetpool": subnetpool,
    "address_group": address_group,
    "qos_policy": qos_policy,
}
ACTIONS = dict.fromkeys(TABLES, (rbac.SHARED,)) | {"network": (rbac.SHARED, rbac.EXTERNAL)}
NOT_FOUND: dict[str, Callable[..., faults.Refusal]] = {
    "network": faults.NetworkNotFound,
    "security_group": faults.SecurityGroupNotFound,
    "address_scope": faults.AddressScopeNotFound,
    "subnetpool": faults.SubnetPoolNotFound,
    "address_group": faults.AddressGroupNotFound,
    "qos_policy": PolicyNotFound,
}


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    return [
        {
            "id": row.id,
            "tenant_id": row.project_id,
            "project_id": row.project_id,
            "object_type": row.object_type,
            "object_id": row.object_id,
            "action": row.action,
            "target_tenant": row.target_project,
        }
        for row in rows
    ]


def _check_object(tx: Tx, context: Context, values: Values) -> Row[Any]:
    kind = values["object_type"]
    table = TABLES.get(kind)
    if table is None:
        raise faults.HTTPBadRequest(
            reason=f"Invalid input for object_type. Reason: '{kind}' is not in {sorted(TABLES)}."
        )
    if values["action"] not in ACTIONS[kind]:
        raise faults.InvalidInput(
            reason=f"Invalid action '{values['action']}' for object type '{kind}'. Valid actions: "
            f"{', '.join(ACTIONS[kind])}"
        )
    row = tx.first(select(table).where(table.c.id == values["object_id"]))
    if row is None:
        raise NOT_FOUND[kind](id=values["object_id"])
    if row.project_id != context.project_id and not context.is_admin:
        if row.id not in rbac.shared_ids(tx, context, kind, [row.id]):
            raise NOT_FOUND[kind](id=values["object_id"])
        raise faults.InvalidInput(reason="Only admins can manipulate policies on objects they do not own")
    return row


def _check_scope_of_pool(tx: Tx, pool: Row[Any], target_project: str) -> None:
    """A pool in an address scope is of use only to those who may use the scope."""
    scope_id = pool.address_scope_id
    if scope_id is None:
        return
    owner = tx.scalar(select(address_scope.c.project_id).where(address_scope.c.id == scope_id))
    table = rbac_policy
    open_to = select(table.c.id).where(
        table.c.object_id == scope_id, table.c.target_project.in_(["*", target_project])
    )
    if owner != target_project and tx.first(open_to) is None:
        raise faults.IllegalSubnetPoolAssociation(pool_id=pool.id, scope_id=scope_id)


def create(tx: Tx, context: Context, values: Values) -> str:
    row = _check_object(tx, context, values)
    if values["object_type"] == "subnetpool":
        _check_scope_of_pool(tx, row, values["target_tenant"])
    table = rbac_policy
    same = select(table.c.id).where(
        table.c.object_id == row.id,
        table.c.action == values["action"],
        table.c.target_project == values["target_tenant"],
    )
    if tx.first(same) is not None:
        raise faults.DuplicateRbac(
            object_type=f"{values['object_type'].title()}RBAC",
            attributes="['target_project', 'object_id', 'action']",
            values=[values["target_tenant"], row.id, values["action"]],
        )
    policy_id = new_uuid()
    tx.execute(
        insert(table).values(
            id=policy_id,
            project_id=values["project_id"],
            object_type=values["object_type"],
            object_id=row.id,
            action=values["action"],
            target_project=values["target_tenant"],
        )
    )
    if "revision_number" in TABLES[values["object_type"]].c:
        bump(tx, TABLES[values["object_type"]], row.id)
    if values["action"] == rbac.EXTERNAL:
        tx.execute(sql_update(network).where(network.c.id == row.id).values(external=True))
        tx.touch("network", row.id)
    return policy_id


def update(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    wanted = changes.get("target_tenant", current["target_tenant"])
    if wanted == current["target_tenant"]:
        return
    if wanted != "*":
        # Of a QoS policy even the one project that uses it cannot be made the only one that may.
        _refuse_if_used(tx, current, but=None if current["object_type"] == "qos_policy" else wanted)
    table = rbac_policy
    tx.execute(sql_update(table).where(table.c.id == current["id"]).values(target_project=wanted))


def delete_policy(tx: Tx, context: Context, current: Values) -> None:
    _refuse_if_used(tx, current)
    _refuse_if_default(tx, current)
    table = rbac_policy
    tx.execute(delete(table).where(table.c.id == current["id"]))
    if current["action"] == rbac.EXTERNAL:
        left = select(table.c.id).where(
            table.c.object_id == current["object_id"], table.c.action == rbac.EXTERNAL
        )
        if tx.first(left) is None:
            tx.execute(sql_update(network).where(network.c.id == current["object_id"]).values(external=False))
            tx.touch("network", current["object_id"])


def _refuse_if_default(tx: Tx, current: Values) -> None:
    if (current["action"], current["target_tenant"]) != (rbac.EXTERNAL, "*"):
        return
    if tx.scalar(select(network.c.is_default).where(network.c.id == current["object_id"])):
        raise faults.RbacPolicyInUse(
            object_id=current["object_id"], details="Default external networks must be shared to everyone."
        )


def _users(current: Values) -> Any:
    """Projects that use the object, as a query of their ids."""
    kind, object_id = current["object_type"], current["object_id"]
    if kind == "network":
        if current["action"] == rbac.EXTERNAL:
            # A gateway port belongs to nobody; whose router it is counts.
            from virga.services.network.models_l3 import router

            return (
                select(router.c.project_id)
                .join(port, port.c.id == router.c.gw_port_id)
                .where(port.c.network_id == object_id)
            )
        return select(port.c.project_id).where(port.c.network_id == object_id, port.c.project_id != "")
    if kind == "security_group":
        mine = select(port_security_group.c.port_id).where(
            port_security_group.c.security_group_id == object_id
        )
        return select(port.c.project_id).where(port.c.id.in_(mine))
    if kind == "subnetpool":
        return select(subnet.c.project_id).where(subnet.c.subnetpool_id == object_id)
    if kind == "qos_policy":
        return union(
            *(select(table.c.project_id).where(table.c.qos_policy_id == object_id) for _, table in QOS_USERS)
        )
    if kind == "address_scope":
        return select(subnetpool.c.project_id).where(subnetpool.c.address_scope_id == object_id)
    return select(security_group_rule.c.project_id).where(
        security_group_rule.c.remote_address_group_id == object_id
    )


def _refuse_if_used(tx: Tx, current: Values, but: str | None = None) -> None:
    """The projects that would lose their access must not be using the object."""
    table, kind, object_id = rbac_policy, current["object_type"], current["object_id"]
    owner_table = TABLES[kind]
    owner = tx.scalar(select(owner_table.c.project_id).where(owner_table.c.id == object_id))
    others = {
        row.target_project
        for row in tx.all(
            select(table.c.target_project).where(
                table.c.object_id == object_id,
                table.c.action == current["action"],
                table.c.id != current["id"],
            )
        )
    }
    if "*" in others:
        return
    safe = others | ({but} if but else set())
    if kind != "qos_policy" or current["target_tenant"] != "*":
        # Neutron counts the owner's own use of a QoS policy against taking it back from everybody.
        safe |= {owner}
    users = {row.project_id for row in tx.all(_users(current))} - safe
    if current["target_tenant"] != "*":
        users &= {current["target_tenant"]}
    if users:
        name = "Network" if kind == "network" else kind.replace("_", " ")
        raise faults.RbacPolicyInUse(
            object_id=object_id, details=f"{name} is in use by project(s) {', '.join(sorted(users))}"
        )


def target(tx: Tx, context: Context, item: Values) -> Values:
    return {"target_project": item.get("target_tenant")}


RESOURCE = Resource(
    name="rbac_policy",
    collection="rbac_policies",
    table=rbac_policy,
    attributes=(
        ID,
        PROJECT,
        Attribute("tenant_id", column="project_id"),
        Attribute("object_type", text(), post=True, default=REQUIRED),
        Attribute("object_id", uuid, post=True, default=REQUIRED),
        Attribute("action", text(), post=True, default=REQUIRED),
        Attribute(
            "target_tenant", filled_text(), post=True, put=True, default=REQUIRED, column="target_project"
        ),
    ),
    not_found=lambda policy_id: faults.RbacPolicyNotFound(object_type="rbac_policy", id=policy_id),
    render=render,
    create=create,
    update=update,
    delete=delete_policy,
    target=target,
    quota="rbac_policy",
)
