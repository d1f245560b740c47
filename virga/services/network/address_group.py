"""Address groups: named lists of addresses that security group rules refer to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Row

from virga.api.collection import MakeContext, render_ids
from virga.api.request import Request
from virga.api.resource import Context, Resource, Values, authorize, bump, change, shown, target_of
from virga.api.routing import AUTHENTICATED, Route
from virga.api.validators import Invalid
from virga.db.tx import Tx
from virga.db.within import within
from virga.lib.ids import new_uuid
from virga.services.network import faults, rbac
from virga.services.network.attributes_l3 import ADDRESS_GROUP, group_addresses
from virga.services.network.models import rbac_policy
from virga.services.network.models_l3 import address_group, address_group_address, security_group_rule
from virga.services.network.standard import by_ids, fresh, grouped, time

AddressesAlreadyExist = faults.refusal(
    "AddressesAlreadyExist", 409, "Addresses {addresses} already exist in the address group {id}."
)
AddressesNotFound = faults.refusal(
    "AddressesNotFound", 404, "Addresses {addresses} not found in the address group {id}."
)
AddressGroupInUse = faults.refusal(
    "AddressGroupInUse", 409, "Address group {id} is in use on one or more security group rules."
)

_ADDRESSES = select(address_group_address.c.address_group_id, address_group_address.c.address).where(
    within(address_group_address.c.address_group_id)
)


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    ids = [row.id for row in rows]
    addresses = grouped(by_ids(tx, _ADDRESSES, ids))
    shared = rbac.shared_ids(tx, context, "address_group", ids)
    return [
        {
            "id": row.id,
            "name": row.name,
            "description": row.description,
            "tenant_id": row.project_id,
            "project_id": row.project_id,
            "shared": row.id in shared,
            "addresses": addresses.get(row.id, []),
            "revision_number": row.revision_number,
            "created_at": time(row.created_at),
            "updated_at": time(row.updated_at),
        }
        for row in rows
    ]


def create(tx: Tx, context: Context, values: Values) -> str:
    group_id = new_uuid()
    tx.execute(
        insert(address_group).values(
            id=group_id,
            project_id=values["project_id"],
            name=values["name"],
            description=values["description"],
            **fresh(tx),
        )
    )
    _add(tx, group_id, values["addresses"])
    tx.touch("address_group", group_id)
    return group_id


def _add(tx: Tx, group_id: str, addresses: Sequence[str]) -> None:
    if addresses:
        rows = [{"address_group_id": group_id, "address": a} for a in addresses]
        tx.execute(insert(address_group_address), rows)


def update(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    change(tx, address_group, current["id"], changes)


def delete_group(tx: Tx, context: Context, current: Values) -> None:
    table = security_group_rule
    used = select(table.c.id).where(table.c.remote_address_group_id == current["id"]).limit(1)
    if tx.first(used) is not None:
        raise AddressGroupInUse(id=current["id"])
    own = address_group_address
    tx.execute(delete(own).where(own.c.address_group_id == current["id"]))
    tx.execute(delete(rbac_policy).where(rbac_policy.c.object_id == current["id"]))
    tx.execute(delete(address_group).where(address_group.c.id == current["id"]))
    tx.touch("address_group", current["id"])


def add_addresses(tx: Tx, current: Values, addresses: Sequence[str]) -> None:
    twice = [a for a in addresses if a in current["addresses"]]
    if twice:
        raise AddressesAlreadyExist(addresses=twice, id=current["id"])
    _add(tx, current["id"], addresses)


def remove_addresses(tx: Tx, current: Values, addresses: Sequence[str]) -> None:
    missing = [a for a in addresses if a not in current["addresses"]]
    if missing:
        raise AddressesNotFound(addresses=missing, id=current["id"])
    table = address_group_address
    tx.execute(delete(table).where(table.c.address_group_id == current["id"], table.c.address.in_(addresses)))


def _bare(value: Any) -> Any:
    """What is to be removed may be an address without its length."""
    if not isinstance(value, list):
        return value
    return [f"{v}/{128 if ':' in v else 32}" if isinstance(v, str) and "/" not in v else v for v in value]


def actions(make_context: MakeContext) -> list[Route]:
    def serve(act: Callable[[Tx, Values, Sequence[str]], None]) -> Callable[[Tx, Request], Any]:
        def handler(tx: Tx, req: Request) -> Any:
            context = make_context(req)
            if not isinstance(req.body, dict) or "addresses" not in req.body:
                raise faults.BadRequest(resource="address_groups", reason="Missing addresses in request body")
            try:
                asked = req.body["addresses"]
                addresses = group_addresses(_bare(asked) if act is remove_addresses else asked)
            except Invalid as problem:
                raise faults.InvalidInput(reason=str(problem)) from None
            current = RESOURCE.find(tx, context, req["id"])
            target = target_of(RESOURCE, tx, context, current)
            authorize(context, ["update_address_group"], target)
            act(tx, current, addresses)
            bump(tx, address_group, current["id"])
            tx.touch("address_group", current["id"])
            made = render_ids(tx, context, RESOURCE, [current["id"]])
            return {"address_group": shown(RESOURCE, tx, context, made)[0]}

        return handler

    url = "/v2.0/address-groups/{id}/"
    return [
        Route("PUT", url + "add_addresses", serve(add_addresses), AUTHENTICATED),
        Route("PUT", url + "remove_addresses", serve(remove_addresses), AUTHENTICATED),
    ]


RESOURCE = Resource(
    name="address_group",
    collection="address_groups",
    table=address_group,
    attributes=ADDRESS_GROUP,
    not_found=lambda group_id: faults.AddressGroupNotFound(id=group_id),
    render=render,
    create=create,
    update=update,
    delete=delete_group,
    scope=rbac.visible("address_group", address_group),
    filters={"shared": rbac.shared_filter("address_group", address_group)},
    quota="address_group",
    shy=True,
)
