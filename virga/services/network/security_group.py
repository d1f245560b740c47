"""Security groups: named sets of rules that ports carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Row

from virga.api.collection import Collection
from virga.api.context import AsyncContext
from virga.api.request import Request
from virga.api.resource import Context, Resource, Values, bump, change
from virga.db.tx import Tx
from virga.db.within import within
from virga.lib.ids import new_uuid
from virga.services.network import faults, quota, rbac
from virga.services.network import security_group_default as default
from virga.services.network.attributes_l3 import SECURITY_GROUP
from virga.services.network.models import rbac_policy, tag
from virga.services.network.models_l3 import (
    default_security_group,
    port_security_group,
    security_group,
    security_group_rule,
)
from virga.services.network.security_group_rule import render_rows
from virga.services.network.standard import add_tags, by_ids, fresh, tags_of, time

SecurityGroupDefaultAlreadyExists = faults.refusal(
    "SecurityGroupDefaultAlreadyExists", 409, "Default security group already exists."
)
SecurityGroupCannotRemoveDefault = faults.refusal(
    "SecurityGroupCannotRemoveDefault", 409, "Insufficient rights for removing default security group."
)
SecurityGroupCannotUpdateDefault = faults.refusal(
    "SecurityGroupCannotUpdateDefault", 409, "Updating default security group not allowed."
)
SecurityGroupInUse = faults.refusal("SecurityGroupInUse", 409, "Security Group {id} in use.")

_RULES = (
    select(security_group_rule)
    .where(within(security_group_rule.c.security_group_id))
    .order_by(security_group_rule.c.id)
)


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    ids = [row.id for row in rows]
    rule_rows = by_ids(tx, _RULES, ids)
    rules: dict[str, list[Values]] = {}
    for item in render_rows(tx, rule_rows):
        rules.setdefault(item["security_group_id"], []).append({**item, "tags": []})
    tags = tags_of(tx, ids)
    shared = rbac.shared_ids(tx, context, "security_group", ids)
    return [
        {
            "id": row.id,
            "name": row.name,
            "stateful": row.stateful,
            "tenant_id": row.project_id,
            "project_id": row.project_id,
            "description": row.description,
            "shared": row.id in shared,
            "security_group_rules": rules.get(row.id, []),
            "revision_number": row.revision_number,
            "created_at": time(row.created_at),
            "updated_at": time(row.updated_at),
            "tags": tags.get(row.id, []),
        }
        for row in rows
    ]


def create(tx: Tx, context: Context, values: Values) -> str:
    default.ensure(tx, values["project_id"])
    if values["name"].lower() == "default":
        raise SecurityGroupDefaultAlreadyExists()
    rules = default.count_template_rules(tx, is_default=False)
    quota.check_projects(tx, context, "security_group_rule", [values["project_id"]] * rules)
    group_id = new_uuid()
    tx.execute(
        insert(security_group).values(
            id=group_id,
            project_id=values["project_id"],
            name=values["name"],
            description=values["description"],
            stateful=values["stateful"],
            **fresh(tx, 1),
        )
    )
    default.add_template_rules(tx, group_id, values["project_id"], is_default=False)
    add_tags(tx, group_id, values["tags"])
    tx.touch("security_group", group_id)
    return group_id


def is_default(tx: Tx, group_id: str) -> bool:
    table = default_security_group
    return tx.first(select(table.c.project_id).where(table.c.security_group_id == group_id)) is not None


def in_use(tx: Tx, group_id: str) -> bool:
    table = port_security_group
    return tx.first(select(table.c.port_id).where(table.c.security_group_id == group_id).limit(1)) is not None


def update(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    if "name" in changes and changes["name"] != current["name"] and is_default(tx, current["id"]):
        raise SecurityGroupCannotUpdateDefault()
    if changes.get("name", "").lower() == "default" and current["name"] != "default":
        raise SecurityGroupDefaultAlreadyExists()
    if changes.get("stateful", current["stateful"]) != current["stateful"] and in_use(tx, current["id"]):
        raise SecurityGroupInUse(id=current["id"])
    change(tx, security_group, current["id"], changes)
    tx.touch("security_group", current["id"])


def delete_group(tx: Tx, context: Context, current: Values) -> None:
    group_id = current["id"]
    if in_use(tx, group_id):
        raise SecurityGroupInUse(id=group_id)
    if is_default(tx, group_id) and not context.is_admin:
        raise SecurityGroupCannotRemoveDefault()
    naming = tx.all(
        select(security_group_rule.c.security_group_id).where(
            security_group_rule.c.remote_group_id == group_id
        )
    )
    table = default_security_group
    tx.execute(delete(table).where(table.c.security_group_id == group_id))
    tx.execute(delete(security_group_rule).where(security_group_rule.c.remote_group_id == group_id))
    tx.execute(delete(security_group_rule).where(security_group_rule.c.security_group_id == group_id))
    tx.execute(delete(rbac_policy).where(rbac_policy.c.object_id == group_id))
    tx.execute(delete(security_group).where(security_group.c.id == group_id))
    tx.touch("security_group", group_id)
    for row in naming:
        tx.touch("security_group", row.security_group_id)


class SecurityGroups(Collection):
    """A list shows the default group of the project it is about, so the group is made when it is missing."""

    async def index(self, ctx: AsyncContext, req: Request) -> Any:  # type: ignore[override]
        context = self.make_context(req)
        asked = req.params("project_id") + req.params("tenant_id")
        projects = {p for p in asked if context.is_admin} | {context.project_id}

        def read(tx: Tx) -> tuple[Any, list[str]]:
            # First the list: a request that is refused makes nothing.
            found = super(SecurityGroups, self).index(tx, req)
            return found, [p for p in projects if p and default.find(tx, p) is None]

        found, missing = await ctx.read(read)
        if not missing:
            return found
        for project_id in missing:
            await ctx.write(lambda tx, project_id=project_id: default.ensure(tx, project_id))  # type: ignore[misc]
        return await ctx.read(lambda tx: super(SecurityGroups, self).index(tx, req))


RESOURCE = Resource(
    name="security_group",
    collection="security_groups",
    table=security_group,
    attributes=SECURITY_GROUP,
    not_found=lambda group_id: faults.SecurityGroupNotFound(id=group_id),
    render=render,
    create=create,
    update=update,
    delete=delete_group,
    scope=rbac.visible("security_group", security_group),
    filters={"shared": rbac.shared_filter("security_group", security_group)},
    quota="security_group",
    has_tags=True,
    tag_table=tag,
    changed=lambda tx, group_id: bump(tx, security_group, group_id),
)
