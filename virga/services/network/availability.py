"""What can be looked up about the whole: availability zones, addresses in use, pools of floating IPs, providers."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func, select

from virga.api.collection import MakeContext
from virga.api.request import Request
from virga.api.resource import Context, Values, authorize
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.services.network import binding, faults, network
from virga.services.network.models import agent, ip_allocation, subnet
from virga.services.network.models import network as network_table

ZONE_KINDS = {binding.DHCP_AGENT: "network", binding.L3_AGENT: "router"}


def zones(tx: Tx, context: Context, req: Request) -> Any:
    """A zone is there for a kind of resource while an enabled agent serves it."""
    found: dict[tuple[str, str], bool] = {}
    for row in tx.all(select(agent).where(agent.c.agent_type.in_(ZONE_KINDS))):
        key = (row.availability_zone or "nova", ZONE_KINDS[row.agent_type])
        found[key] = found.get(key, False) or row.admin_state_up
    items = [
        {"name": name, "resource": resource, "state": "available" if up else "unavailable"}
        for (name, resource), up in sorted(found.items())
    ]
    for wanted in ("name", "resource", "state"):
        values = req.params(wanted)
        items = [item for item in items if not values or item[wanted] in values]
    return {"availability_zones": items}


# --- addresses in use


def _total(pools: Sequence[Values]) -> int:
    return sum(int(ipaddress.ip_address(p["end"])) - int(ipaddress.ip_address(p["start"])) + 1 for p in pools)


def ip_availability(tx: Tx, context: Context, req: Request) -> Any:
    """``network_ip_availabilities`` of all networks that fit the filters."""
    allowed = {"network_id", "network_name", "tenant_id", "project_id", "ip_version", "fields"}
    unknown = [name for name, _ in req.query if name not in allowed]
    if unknown:
        raise faults.HTTPBadRequest(reason=f"{unknown} is invalid attribute for filtering")
    query = select(network_table)
    for name, column in (
        ("network_id", network_table.c.id),
        ("network_name", network_table.c.name),
        ("project_id", network_table.c.project_id),
        ("tenant_id", network_table.c.project_id),
    ):
        values = req.params(name)
        if values:
            query = query.where(column.in_(values))
    versions = [int(v) for v in req.params("ip_version") if v.isdecimal()]
    rows = tx.all(query.order_by(network_table.c.id))
    return {"network_ip_availabilities": [_availability(tx, row, versions) for row in rows]}


def one_ip_availability(tx: Tx, context: Context, req: Request) -> Any:
    row = tx.first(select(network_table).where(network_table.c.id == req["id"]))
    if row is None:
        raise faults.NetworkNotFound(id=req["id"])
    return {"network_ip_availability": _availability(tx, row, [])}


def _availability(tx: Tx, row: Any, versions: Sequence[int]) -> Values:
    query = select(subnet).where(subnet.c.network_id == row.id)
    if versions:
        query = query.where(subnet.c.ip_version.in_(versions))
    counted = select(ip_allocation.c.subnet_id, func.count().label("n")).group_by(ip_allocation.c.subnet_id)
    own = select(subnet.c.id).where(subnet.c.network_id == row.id)
    used = {r.subnet_id: r.n for r in tx.all(counted.where(ip_allocation.c.subnet_id.in_(own)))}
    parts = [
        {
            "subnet_id": s.id,
            "ip_version": s.ip_version,
            "cidr": s.cidr,
            "subnet_name": s.name,
            "used_ips": used.get(s.id, 0),
            "total_ips": _total(s.allocation_pools),
        }
        for s in tx.all(query)
    ]
    return {
        "network_id": row.id,
        "network_name": row.name,
        "tenant_id": row.project_id,
        "project_id": row.project_id,
        "used_ips": sum(p["used_ips"] for p in parts),
        "total_ips": sum(p["total_ips"] for p in parts),
        "subnet_ip_availability": parts,
    }


def floatingip_pools(tx: Tx, context: Context, req: Request) -> Any:
    """Subnets of the external networks that the caller may take floating IPs from."""
    condition = network.RESOURCE.visible_to(context)
    query = (
        select(subnet)
        .join(network_table, network_table.c.id == subnet.c.network_id)
        .where(network_table.c.external.is_(True), subnet.c.ip_version == 4)
    )
    rows = tx.all(query if condition is None else query.where(condition))
    items = [
        {
            "subnet_id": row.id,
            "subnet_name": row.name,
            "tenant_id": row.project_id,
            "project_id": row.project_id,
            "network_id": row.network_id,
            "cidr": row.cidr,
        }
        for row in rows
    ]
    for name in ("subnet_id", "subnet_name", "network_id", "cidr", "tenant_id", "project_id"):
        values = req.params(name)
        items = [item for item in items if not values or item[name] in values]
    fields = req.params("fields")
    if fields:
        items = [{k: v for k, v in item.items() if k in fields} for item in items]
    return {"floatingip_pools": items}


def service_providers(tx: Tx, context: Context, req: Request) -> Any:
    return {"service_providers": [{"service_type": "L3_ROUTER_NAT", "name": "single_node", "default": True}]}


def routes(make_context: MakeContext) -> list[Route]:
    def serve(rule: str, act: Callable[[Tx, Context, Request], Any]) -> Callable[[Tx, Request], Any]:
        def handler(tx: Tx, req: Request) -> Any:
            context = make_context(req)
            authorize(context, [rule], req.own_target())
            return act(tx, context, req)

        return handler

    table = (
        ("/v2.0/availability_zones", "get_availability_zone", zones),
        ("/v2.0/network-ip-availabilities", "get_network_ip_availability", ip_availability),
        ("/v2.0/network-ip-availabilities/{id}", "get_network_ip_availability", one_ip_availability),
        ("/v2.0/floatingip_pools", "get_floatingip_pool", floatingip_pools),
        ("/v2.0/floatingip-pools", "get_floatingip_pool", floatingip_pools),
        ("/v2.0/service-providers", "get_service_provider", service_providers),
    )
    return [Route("GET", path, serve(rule, act), AUTHENTICATED) for path, rule, act in table]
