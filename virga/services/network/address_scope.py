"""Address scopes: within one, addresses are unique and routed without translation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy import update as sql_update
from sqlalchemy.engine import Row

from virga.api.resource import Context, Resource, Values
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.network import faults, rbac
from virga.services.network.attributes import ADDRESS_SCOPE
from virga.services.network.models import address_scope, rbac_policy, subnetpool

UpdateError = faults.refusal("AddressScopeUpdateError", 400, "Unable to update address scope {id} : {reason}")


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    shared = rbac.shared_ids(tx, context, "address_scope", [row.id for row in rows])
    return [
        {
            "id": row.id,
            "name": row.name,
            "tenant_id": row.project_id,
            "project_id": row.project_id,
            "shared": row.id in shared,
            "ip_version": row.ip_version,
        }
        for row in rows
    ]


def create(tx: Tx, context: Context, values: Values) -> str:
    scope_id = new_uuid()
    tx.execute(
        insert(address_scope).values(
            id=scope_id,
            project_id=values["project_id"],
            name=values["name"],
            ip_version=values["ip_version"],
        )
    )
    if values["shared"]:
        rbac.grant(tx, values["project_id"], "address_scope", scope_id)
    return scope_id


def update(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    if "shared" in changes and changes["shared"] != current["shared"]:
        if not changes["shared"]:
            raise UpdateError(id=current["id"], reason="Shared address scope can't be unshared")
        rbac.grant(tx, current["project_id"], "address_scope", current["id"])
    if "name" in changes:
        table = address_scope
        tx.execute(sql_update(table).where(table.c.id == current["id"]).values(name=changes["name"]))


def delete_scope(tx: Tx, context: Context, current: Values) -> None:
    used = select(subnetpool.c.id).where(subnetpool.c.address_scope_id == current["id"]).limit(1)
    if tx.first(used) is not None:
        raise faults.AddressScopeInUse(id=current["id"])
    tx.execute(delete(rbac_policy).where(rbac_policy.c.object_id == current["id"]))
    tx.execute(delete(address_scope).where(address_scope.c.id == current["id"]))


RESOURCE = Resource(
    name="address_scope",
    collection="address_scopes",
    table=address_scope,
    attributes=ADDRESS_SCOPE,
    not_found=lambda scope_id: faults.AddressScopeNotFound(id=scope_id),
    render=render,
    create=create,
    update=update,
    delete=delete_scope,
    scope=rbac.visible("address_scope", address_scope),
    filters={"shared": rbac.shared_filter("address_scope", address_scope)},
)
