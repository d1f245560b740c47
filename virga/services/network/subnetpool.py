"""Subnet pools: prefixes from which subnets are cut, within bounds and quotas."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Row

from virga.api.collection import MakeContext
from virga.api.request import Request
from virga.api.resource import UNSET, Context, Resource, Values, authorize, bump, change, target_of
from virga.api.routing import AUTHENTICATED, Route
from virga.api.validators import Invalid, cidr, list_of
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.network import faults, rbac
from virga.services.network import network as networks
from virga.services.network.attributes import SUBNETPOOL
from virga.services.network.ipam import Net
from virga.services.network.models import address_scope, rbac_policy, subnet, subnetpool, tag
from virga.services.network.standard import add_tags, fresh, tags_of, time

EmptyPrefixList = faults.refusal("EmptySubnetPoolPrefixList", 400, "Empty subnet pool prefix list.")
PrefixVersionMismatch = faults.refusal(
    "PrefixVersionMismatch", 400, "Cannot mix IPv4 and IPv6 prefixes in a subnet pool."
)
IllegalPrefixUpdate = faults.refusal(
    "IllegalSubnetPoolPrefixUpdate", 400, "Illegal update to prefixes: {reason}."
)
LENGTHS = {4: (8, 32), 6: (64, 128)}


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    ids = [row.id for row in rows]
    tags, shared = tags_of(tx, ids), rbac.shared_ids(tx, context, "subnetpool", ids)
    return [
        {
            "id": row.id,
            "name": row.name,
            "tenant_id": row.project_id,
            "project_id": row.project_id,
            # Texts, as Neutron writes them.
            "default_prefixlen": str(row.default_prefixlen),
            "min_prefixlen": str(row.min_prefixlen),
            "max_prefixlen": str(row.max_prefixlen),
            "is_default": row.is_default,
            "shared": row.id in shared,
            "prefixes": row.prefixes,
            "ip_version": row.ip_version,
            "default_quota": row.default_quota,
            "address_scope_id": row.address_scope_id,
            "description": row.description,
            "revision_number": row.revision_number,
            "created_at": time(row.created_at),
            "updated_at": time(row.updated_at),
            "tags": tags.get(row.id, []),
        }
        for row in rows
    ]


def compact(prefixes: Sequence[str]) -> list[str]:
    """The fewest prefixes that say the same."""
    nets = [ipaddress.ip_network(p) for p in prefixes]
    return [str(net) for net in ipaddress.collapse_addresses(nets)]  # type: ignore[type-var]


def _version(prefixes: Sequence[str]) -> int:
    if not prefixes:
        raise EmptyPrefixList()
    versions = {ipaddress.ip_network(p).version for p in prefixes}
    if len(versions) > 1:
        raise PrefixVersionMismatch()
    return versions.pop()


def _lengths(version: int, values: Values) -> dict[str, int]:
    low, high = LENGTHS[version]
    found = {
        "min_prefixlen": low if values["min_prefixlen"] is UNSET else values["min_prefixlen"],
        "max_prefixlen": high if values["max_prefixlen"] is UNSET else values["max_prefixlen"],
    }
    default = values["default_prefixlen"]
    found["default_prefixlen"] = found["min_prefixlen"] if default is UNSET else default
    check_lengths(version, found)
    return found


def check_lengths(version: int, found: Values) -> None:
    """Smallest, usual and largest prefix length are in this order."""
    high = LENGTHS[version][1]
    least, most, usual = (int(found[f"{name}_prefixlen"]) for name in ("min", "max", "default"))
    if max(least, most, usual) > high:
        raise faults.refusal(
            "UnsupportedMaxSubnetPoolPrefix", 400, "Prefix '{prefix}' not supported in IPv{version} pool."
        )(prefix=max(least, most, usual), version=version)
    for name, value, other, bound, wrong in (
        ("min_prefixlen", least, "max_prefixlen", most, least > most),
        ("min_prefixlen", least, "default_prefixlen", usual, least > usual),
        ("max_prefixlen", most, "default_prefixlen", usual, most < usual),
    ):
        if wrong:
            raise faults.IllegalSubnetPoolPrefixBounds(
                prefix_type=name, prefixlen=value, base_prefix_type=other, base_prefixlen=bound
            )


def create(tx: Tx, context: Context, values: Values) -> str:
    pool_id = new_uuid()
    version = _version(values["prefixes"])
    lengths = _lengths(version, values)
    prefixes = compact(values["prefixes"])
    if values["address_scope_id"]:
        check_scope(tx, context, pool_id, values["address_scope_id"], version, prefixes, values["shared"])
    if values["is_default"]:
        _refuse_second_default(tx, version)
    tx.execute(
        insert(subnetpool).values(
            id=pool_id,
            project_id=values["project_id"],
            name=values["name"],
            description=values["description"],
            ip_version=version,
            prefixes=prefixes,
            is_default=values["is_default"],
            default_quota=values["default_quota"],
            address_scope_id=values["address_scope_id"],
            **lengths,
            **fresh(tx),
        )
    )
    if values["shared"]:
        rbac.grant(tx, values["project_id"], "subnetpool", pool_id)
    add_tags(tx, pool_id, values["tags"])
    return pool_id


def _refuse_second_default(tx: Tx, version: int, own: str = "") -> None:
    query = select(subnetpool.c.id).where(
        subnetpool.c.is_default.is_(True), subnetpool.c.ip_version == version, subnetpool.c.id != own
    )
    if tx.first(query) is not None:
        raise faults.InvalidInput(
            reason=f"A default subnetpool for IPv{version} has already been set. Only one default can exist per IP "
            "family"
        )


def check_scope(
    tx: Tx, context: Context, pool_id: str, scope_id: str, version: int, prefixes: Sequence[str], shared: bool
) -> None:
    """The scope is of the same family and the caller's, and no pool in it has these addresses."""
    row = tx.first(select(address_scope).where(address_scope.c.id == scope_id))
    foreign = row is not None and not context.is_admin and row.project_id != context.project_id
    if row is None or (foreign and scope_id not in rbac.shared_ids(tx, context, "address_scope", [scope_id])):
        raise faults.AddressScopeNotFound(id=scope_id)
    if shared and not rbac.shared_ids(tx, context, "address_scope", [scope_id]):
        raise faults.IllegalSubnetPoolAssociation(pool_id=pool_id, scope_id=scope_id)
    if row.ip_version != version:
        raise faults.IllegalSubnetPoolIpVersion(pool_id=pool_id, scope_id=scope_id, ip_version=row.ip_version)
    mine = [ipaddress.ip_network(p) for p in prefixes]
    others = select(subnetpool.c.prefixes).where(
        subnetpool.c.address_scope_id == scope_id, subnetpool.c.id != pool_id
    )
    for other in tx.all(others):
        if any(ipaddress.ip_network(p).overlaps(net) for p in other.prefixes for net in mine):
            raise faults.AddressScopePrefixConflict()


def update(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    pool_id, version = current["id"], current["ip_version"]
    merged = {**current, **changes}
    columns = dict(changes)
    prefixes: list[str] = current["prefixes"]
    if "prefixes" in changes:
        prefixes = columns["prefixes"] = _grown(current["prefixes"], changes["prefixes"], version)
    if {"min_prefixlen", "max_prefixlen", "default_prefixlen"} & changes.keys():
        check_lengths(version, merged)
    if changes.get("is_default"):
        _refuse_second_default(tx, version, pool_id)
    scope = merged["address_scope_id"]
    if scope and "prefixes" in changes and not context.is_admin:
        owner = tx.scalar(select(address_scope.c.project_id).where(address_scope.c.id == scope))
        if owner != context.project_id:
            raise faults.IllegalSubnetPoolAssociation(pool_id=pool_id, scope_id=scope)
    if scope and ("address_scope_id" in changes or "prefixes" in changes):
        check_scope(
            tx,
            context,
            pool_id,
            scope,
            version,
            prefixes,
            current["shared"],
        )
    if "address_scope_id" in changes and scope != current["address_scope_id"]:
        touch_subnets(tx, pool_id)
    change(tx, subnetpool, pool_id, columns)


def _grown(before: Sequence[str], after: Sequence[str], version: int) -> list[str]:
    if _version(after) != version:
        raise PrefixVersionMismatch()
    wanted = [ipaddress.ip_network(p) for p in compact(after)]
    for prefix in before:
        net = ipaddress.ip_network(prefix)
        if not any(net.subnet_of(w) for w in wanted):  # type: ignore[arg-type]
            raise IllegalPrefixUpdate(reason="Existing prefixes must be a subset of the new prefixes")
    return [str(net) for net in wanted]


def touch_subnets(tx: Tx, pool_id: str) -> None:
    """Routers know the address scope of each subnet."""
    for row in tx.all(select(subnet.c.id).where(subnet.c.subnetpool_id == pool_id)):
        tx.touch("subnet", row.id)


def delete_pool(tx: Tx, context: Context, current: Values) -> None:
    if tx.first(select(subnet.c.id).where(subnet.c.subnetpool_id == current["id"]).limit(1)) is not None:
        raise faults.SubnetPoolDeleteError()
    tx.execute(delete(rbac_policy).where(rbac_policy.c.object_id == current["id"]))
    tx.execute(delete(subnetpool).where(subnetpool.c.id == current["id"]))


# --- single prefixes come and go


def _asked(req: Request) -> list[Net]:
    body = req.body
    if not isinstance(body, dict) or "prefixes" not in body:
        raise faults.BadRequest(resource="subnetpools", reason="Prefixes must be specified")
    try:
        prefixes = list_of(cidr)(body["prefixes"])
    except Invalid as problem:
        raise faults.HTTPBadRequest(reason=f"Invalid input for prefixes. Reason: {problem}.") from None
    return [ipaddress.ip_network(p) for p in prefixes]


def add_prefixes(tx: Tx, context: Context, current: Values, req: Request) -> Values:
    wanted = [*current["prefixes"], *map(str, _asked(req))]
    update(tx, context, current, {"prefixes": wanted})
    return {"prefixes": compact(wanted)}


def remove_prefixes(tx: Tx, context: Context, current: Values, req: Request) -> Values:
    gone = _asked(req)
    held = [ipaddress.ip_network(p) for p in current["prefixes"]]
    for row in tx.all(select(subnet.c.cidr).where(subnet.c.subnetpool_id == current["id"])):
        if any(ipaddress.ip_network(row.cidr).overlaps(net) for net in gone):
            raise IllegalPrefixUpdate(reason="A prefix cannot be removed while a subnet is allocated from it")
    left = held
    for net in gone:
        left = [rest for one in left for rest in _without(one, net)]
    result = [str(n) for n in ipaddress.collapse_addresses(left)]  # type: ignore[type-var]
    change(tx, subnetpool, current["id"], {"prefixes": result})
    return {"prefixes": result}


def _without(one: Net, gone: Net) -> list[Net]:
    if one.version != gone.version or not one.overlaps(gone):
        return [one]
    if one.subnet_of(gone):  # type: ignore[arg-type]
        return []
    return list(one.address_exclude(gone))  # type: ignore[arg-type]


def onboard(tx: Tx, context: Context, current: Values, req: Request) -> Values:
    """Subnets that a network brought along become the pool's."""
    body = req.body if isinstance(req.body, dict) else {}
    network_id = body.get("network_id")
    if not isinstance(network_id, str):
        raise faults.BadRequest(resource="subnetpools", reason="network_id must be specified")
    networks.RESOURCE.find(tx, context, network_id)
    mine = select(subnet).where(
        subnet.c.network_id == network_id, subnet.c.ip_version == current["ip_version"]
    )
    if not context.is_admin:
        mine = mine.where(subnet.c.project_id == context.project_id)
    rows = tx.all(mine)
    if not rows:
        raise faults.BadRequest(
            resource="subnetpools", reason=f"No subnets to onboard on network {network_id}"
        )
    wanted = compact([*current["prefixes"], *(row.cidr for row in rows)])
    update(tx, context, current, {"prefixes": wanted})
    for row in rows:
        change(tx, subnet, row.id, {"subnetpool_id": current["id"]})
    return {}


Act = Callable[[Tx, Context, Values, Request], Values]


def actions(make_context: MakeContext) -> list[Route]:
    acts: dict[str, Act] = {
        "add_prefixes": add_prefixes,
        "remove_prefixes": remove_prefixes,
        "onboard_network_subnets": onboard,
    }

    def serve(rule: str, act: Act) -> Callable[[Tx, Request], Any]:
        def handler(tx: Tx, req: Request) -> Any:
            context = make_context(req)
            current = RESOURCE.find(tx, context, req["id"])
            authorize(context, [rule], target_of(RESOURCE, tx, context, current))
            return act(tx, context, current, req)

        return handler

    return [
        Route("PUT", f"/v2.0/subnetpools/{{id}}/{name}", serve(name, act), AUTHENTICATED)
        for name, act in acts.items()
    ]


RESOURCE = Resource(
    name="subnetpool",
    collection="subnetpools",
    table=subnetpool,
    attributes=SUBNETPOOL,
    not_found=lambda pool_id: faults.SubnetPoolNotFound(id=pool_id),
    render=render,
    create=create,
    update=update,
    delete=delete_pool,
    scope=rbac.visible("subnetpool", subnetpool),
    filters={"shared": rbac.shared_filter("subnetpool", subnetpool)},
    quota="subnetpool",
    has_tags=True,
    tag_table=tag,
    changed=lambda tx, pool_id: bump(tx, subnetpool, pool_id),
)
