"""Prefixes taken from a subnet pool: which pool, which prefix, and what may stand beside it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.engine import Row

from virga.api.resource import UNSET, Context, Values
from virga.db.tx import Tx
from virga.services.network import faults, rbac
from virga.services.network.ipam import Net
from virga.services.network.models import subnet, subnetpool

PREFIX_DELEGATION = "prefix_delegation"


def choose(tx: Tx, context: Context, values: Values) -> str | None:
    """The pool a new subnet takes its prefix from, or None when the request brings its own."""
    asked, cidr = values["subnetpool_id"], values["cidr"]
    if values["use_default_subnetpool"]:
        if asked not in (UNSET, None):
            raise faults.BadRequest(
                resource="subnets", reason="subnetpool_id and use_default_subnetpool cannot both be specified"
            )
        row = tx.first(
            select(subnetpool.c.id).where(
                subnetpool.c.is_default.is_(True), subnetpool.c.ip_version == values["ip_version"]
            )
        )
        if row is None:
            raise faults.BadRequest(
                resource="subnets",
                reason=f"No default subnetpool found for IPv{values['ip_version']}",
            )
        return str(row.id)
    if asked is UNSET or asked is None:
        if cidr in (UNSET, None):
            raise faults.BadRequest(
                resource="subnets", reason="a subnetpool must be specified in the absence of a cidr"
            )
        return None
    if asked == PREFIX_DELEGATION:
        raise faults.BadRequest(resource="subnets", reason="Prefix delegation is not offered by this cloud")
    return str(asked)


def find(tx: Tx, context: Context, pool_id: str) -> Row[Any]:
    query = select(subnetpool).where(subnetpool.c.id == pool_id)
    if not context.is_admin:
        query = query.where(
            or_(
                subnetpool.c.project_id == context.project_id,
                subnetpool.c.id.in_(rbac.granted("subnetpool", context)),
            )
        )
    row = tx.first(query)
    if row is None:
        raise faults.SubnetPoolNotFound(id=pool_id)
    return row


def take(tx: Tx, context: Context, pool_id: str, values: Values, siblings: Sequence[Row[Any]]) -> str:
    """The prefix for a subnet: the one asked for, or the first free one of the wanted length."""
    pool = find(tx, context, pool_id)
    if pool.ip_version != values["ip_version"]:
        raise faults.BadRequest(
            resource="subnets",
            reason=f"Cannot allocate IPv{values['ip_version']} subnet from IPv{pool.ip_version} subnet pool",
        )
    cidr, length = values["cidr"], values["prefixlen"]
    if cidr not in (UNSET, None) and length is not UNSET:
        raise faults.BadRequest(resource="subnets", reason="cidr and prefixlen must not be supplied together")
    if cidr not in (UNSET, None):
        length = ipaddress.ip_network(cidr).prefixlen
    elif length is UNSET:
        length = pool.default_prefixlen
    if length < pool.min_prefixlen:
        raise faults.MinPrefixSubnetAllocationError(prefixlen=length, bound=pool.min_prefixlen)
    if length > pool.max_prefixlen:
        raise faults.MaxPrefixSubnetAllocationError(prefixlen=length, bound=pool.max_prefixlen)
    used_rows = tx.all(select(subnet.c.cidr, subnet.c.project_id).where(subnet.c.subnetpool_id == pool_id))
    _check_quota(pool, values["project_id"], length, used_rows)
    used = [ipaddress.ip_network(row.cidr) for row in used_rows]
    prefixes = [ipaddress.ip_network(p) for p in pool.prefixes]
    if cidr not in (UNSET, None):
        wanted = ipaddress.ip_network(cidr)
        inside = any(wanted.version == p.version and wanted.subnet_of(p) for p in prefixes)  # type: ignore[arg-type]
        if not inside or any(wanted.overlaps(u) for u in used):
            raise faults.SubnetAllocationError(
                reason="Cannot allocate requested subnet from the available set of prefixes"
            )
        return str(wanted)
    found = first_free(prefixes, used, length)
    if found is None:
        raise faults.SubnetAllocationError(
            reason=f"Insufficient prefix space to allocate subnet size /{length}"
        )
    return str(found)


def _check_quota(pool: Row[Any], project_id: str, length: int, used: Sequence[Row[Any]]) -> None:
    if pool.default_quota is None:
        return
    # IPv4 quotas count addresses, IPv6 quotas count /64 networks.
    unit = 32 if pool.ip_version == 4 else 64

    def size(prefixlen: int) -> float:
        return float(2 ** (unit - prefixlen))

    spent = sum(size(ipaddress.ip_network(r.cidr).prefixlen) for r in used if r.project_id == project_id)
    if spent + size(length) > pool.default_quota:
        raise faults.SubnetPoolQuotaExceeded()


def first_free(prefixes: Sequence[Net], used: Sequence[Net], length: int) -> Net | None:
    """The lowest network of this length inside the prefixes that overlaps nothing used."""
    taken = sorted((int(u.network_address), int(u.broadcast_address)) for u in used)
    for prefix in sorted(prefixes, key=lambda p: (-p.prefixlen, int(p.network_address))):
        if length < prefix.prefixlen:
            continue
        size = 1 << (prefix.max_prefixlen - length)
        start, last = int(prefix.network_address), int(prefix.broadcast_address)
        for low, high in taken:
            if high < start:
                continue
            if low >= start + size:
                break
            # Next multiple of the size beyond what is in the way.
            start = (high // size + 1) * size
        if start + size - 1 <= last:
            kind = ipaddress.IPv4Network if prefix.version == 4 else ipaddress.IPv6Network
            return kind((start, length))
    return None


def check_affinity(tx: Tx, pool_id: str | None, version: int, siblings: Sequence[Row[Any]]) -> None:
    """Subnets of one family on one network come from the same pool, or from one address scope."""
    others = {row.subnetpool_id for row in siblings if row.ip_version == version}
    if not others or others == {pool_id}:
        return
    ids = [p for p in (*others, pool_id) if p]
    scopes = {
        row.id: row.address_scope_id
        for row in tx.all(
            select(subnetpool.c.id, subnetpool.c.address_scope_id).where(subnetpool.c.id.in_(ids))
        )
    }
    wanted = scopes.get(pool_id) if pool_id else None
    if {scopes.get(p) if p else None for p in others} != {wanted}:
        raise faults.NetworkAddressScopeAffinityError()
    if wanted is None and pool_id is not None:
        raise faults.NetworkSubnetPoolAffinityError()
