"""Routers: their state, extra routes, and the host that carries them."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy import update as sql_update
from sqlalchemy.engine import Row

from virga.api.resource import UNSET, Context, Resource, Values, bump, change
from virga.db.tx import Tx
from virga.db.within import within
from virga.lib.ids import new_uuid
from virga.services.network import binding, faults, flavor, ipam, router_gateway
from virga.services.network import port as ports
from virga.services.network.attributes_l3 import ROUTER
from virga.services.network.models import ip_allocation, port, subnet, tag
from virga.services.network.models_l3 import floating_ip, router, router_interface
from virga.services.network.standard import add_tags, by_ids, fresh, tags_of, time, why

MAX_ROUTES = 30

RouterInUse = faults.refusal("RouterInUse", 409, "Router {id} {reason}")
InvalidRoutes = faults.refusal("InvalidRoutes", 400, "Invalid format for routes: {routes}, {reason}")
RoutesExhausted = faults.refusal(
    "RoutesExhausted",
    400,
    "Unable to complete operation for {id}. The number of routes exceeds the maximum {quota}.",
)

_GATEWAYS = (
    select(port.c.id, port.c.network_id, port.c.device_id)
    .where(within(port.c.device_id), port.c.device_owner == router_gateway.OWNER)
    .order_by(port.c.created_at, port.c.id)
)
_FIXED = (
    select(ip_allocation)
    .where(within(ip_allocation.c.port_id))
    .order_by(ip_allocation.c.port_id, ip_allocation.c.position)
)


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    tags = tags_of(tx, [row.id for row in rows])
    gateways = _gateways(tx, rows)
    return [
        {
            "id": row.id,
            "name": row.name,
            "tenant_id": row.project_id,
            "project_id": row.project_id,
            "admin_state_up": row.admin_state_up,
            "status": row.status,
            "external_gateway_info": next(iter(gateways.get(row.id, ())), None),
            "external_gateways": gateways.get(row.id, []),
            "flavor_id": row.flavor_id,
            "enable_default_route_ecmp": row.enable_default_route_ecmp,
            "enable_default_route_bfd": False,
            "description": row.description,
            "availability_zones": ["nova"] if row.host else [],
            "availability_zone_hints": row.availability_zone_hints,
            "distributed": False,
            "ha": False,
            "routes": row.routes,
            "revision_number": row.revision_number,
            "created_at": time(row.created_at),
            "updated_at": time(row.updated_at),
            "tags": tags.get(row.id, []),
            **why(row),
        }
        for row in rows
    ]


def _gateways(tx: Tx, rows: Sequence[Row[Any]]) -> dict[str, list[Values]]:
    """By router, all its ways out, the first first."""
    found = by_ids(tx, _GATEWAYS, [row.id for row in rows if row.gw_port_id])
    fixed: dict[str, list[Values]] = {}
    for one in by_ids(tx, _FIXED, [row.id for row in found]):
        fixed.setdefault(one.port_id, []).append({"subnet_id": one.subnet_id, "ip_address": one.ip_address})
    routers = {row.id: row for row in rows}
    result: dict[str, list[Values]] = {}
    for gateway in sorted(found, key=lambda row: row.id != routers[row.device_id].gw_port_id):
        shown = {
            "network_id": gateway.network_id,
            "external_fixed_ips": fixed.get(gateway.id, []),
            "enable_snat": routers[gateway.device_id].enable_snat,
        }
        result.setdefault(gateway.device_id, []).append(shown)
    return result


def create(tx: Tx, context: Context, values: Values) -> str:
    if values["flavor_id"] is not None:
        if any(values.get(name) not in (UNSET, None) for name in ("distributed", "ha")):
            raise faults.BadRequest(
                resource="router", reason="Cannot specify distributed or ha flags along with a flavor"
            )
        flavor.check_for_router(tx, values["flavor_id"])
    _refuse_kinds(values)
    router_id = new_uuid()
    tx.execute(
        insert(router).values(
            id=router_id,
            project_id=values["project_id"],
            name=values["name"],
            description=values["description"],
            admin_state_up=values["admin_state_up"],
            status="ACTIVE",
            enable_snat=True,
            gw_port_id=None,
            routes=[],
            availability_zone_hints=values["availability_zone_hints"],
            flavor_id=values["flavor_id"],
            enable_default_route_ecmp=bool(values["enable_default_route_ecmp"]),
            host=_schedule(tx, context) or "",
            **fresh(tx, 1),
        )
    )
    if values["external_gateway_info"]:
        router_gateway.set_gateway(tx, context, router_id, values["external_gateway_info"])
    add_tags(tx, router_id, values["tags"])
    tx.touch("router", router_id)
    return router_id


def _refuse_kinds(values: Values) -> None:
    for name in ("distributed", "ha"):
        if values.get(name) not in (UNSET, None, False):
            raise faults.BadRequest(resource="router", reason=f"{name} routers are not offered by this cloud")
    if values.get("enable_default_route_bfd"):
        raise faults.BadRequest(
            resource="router", reason="BFD on default routes is not offered by this cloud"
        )


def _schedule(tx: Tx, context: Context) -> str | None:
    """The network host with the fewest routers."""
    counted = tx.all(select(router.c.host, func.count().label("n")).group_by(router.c.host))
    load = Counter({row.host: row.n for row in counted})
    return binding.pick_agent(tx, context, binding.L3_AGENT, load)


def schedule_waiting(tx: Tx, context: Context) -> None:
    """Routers that found no L3 agent when they were made, once there is one."""
    for row in tx.all(select(router.c.id).where(router.c.host == "")):
        host = _schedule(tx, context)
        if host is not None:
            move(tx, context, row.id, host)


def move(tx: Tx, context: Context, router_id: str, host: str) -> None:
    """Carry the router, and bind its ports, on another host; none when ``host`` is empty."""
    tx.execute(sql_update(router).where(router.c.id == router_id).values(host=host))
    # Until the new host says otherwise, nothing leads through it.
    tx.execute(
        sql_update(floating_ip)
        .where(floating_ip.c.router_id == router_id, floating_ip.c.status != "DOWN")
        .values(status="DOWN", status_reason="", revision_number=floating_ip.c.revision_number + 1)
    )
    for row in tx.all(select(port).where(port.c.device_id == router_id)):
        if row.device_owner in (*ipam.ROUTER_OWNERS, "network:router_gateway"):
            columns = binding.bind(tx, context, row.network_id, host)
            tx.execute(sql_update(port).where(port.c.id == row.id).values(**columns, status="DOWN"))
            tx.touch("port", row.id)
    tx.touch("router", router_id)


def update(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    _refuse_kinds(changes)
    router_id = current["id"]
    columns = {k: v for k, v in changes.items() if k in ("name", "description", "admin_state_up")}
    if changes.get("enable_default_route_ecmp") is not None:
        columns["enable_default_route_ecmp"] = changes["enable_default_route_ecmp"]
    if "external_gateway_info" in changes:
        router_gateway.update_gateway(tx, context, router_id, changes["external_gateway_info"])
    if changes.get("routes", UNSET) is not UNSET:
        columns["routes"] = checked_routes(tx, router_id, changes["routes"])
    change(tx, router, router_id, columns)
    tx.touch("router", router_id)


def delete_router(tx: Tx, context: Context, current: Values) -> None:
    router_id = current["id"]
    attached = tx.all(
        select(port.c.id).where(port.c.device_id == router_id, port.c.device_owner.in_(ipam.ROUTER_OWNERS))
    )
    if attached:
        said = ", ".join(sorted(row.id for row in attached))
        raise RouterInUse(id=router_id, reason=f"has ports still attached: {said}")
    while router_gateway.row_of(tx, router_id).gw_port_id is not None:
        router_gateway.clear_gateway(tx, router_id)
    for row in tx.all(
        select(port.c.id).where(
            port.c.device_id == router_id, port.c.device_owner == "network:router_gateway"
        )
    ):
        ports.remove(tx, row.id)
    tx.execute(delete(router_interface).where(router_interface.c.router_id == router_id))
    tx.execute(delete(router).where(router.c.id == router_id))
    tx.touch("router", router_id)


# --- extra routes


def connected(tx: Tx, router_id: str) -> tuple[list[ipam.Net], set[str]]:
    """The networks that the router stands in, and its own addresses."""
    rows = tx.all(
        select(subnet.c.cidr, ip_allocation.c.ip_address)
        .join(ip_allocation, ip_allocation.c.subnet_id == subnet.c.id)
        .join(port, port.c.id == ip_allocation.c.port_id)
        .where(port.c.device_id == router_id, port.c.device_owner.like("network:router%"))
    )
    return [ipaddress.ip_network(row.cidr) for row in rows], {row.ip_address for row in rows}


def checked_routes(tx: Tx, router_id: str, wanted: Sequence[Values]) -> list[Values]:
    if len(wanted) > MAX_ROUTES:
        raise RoutesExhausted(id=router_id, quota=MAX_ROUTES)
    nets, own = connected(tx, router_id)
    for route in wanted:
        nexthop = ipaddress.ip_address(route["nexthop"])
        if not any(nexthop.version == net.version and nexthop in net for net in nets):
            raise InvalidRoutes(routes=list(wanted), reason="the nexthop is not connected with router")
        if route["nexthop"] in own:
            raise InvalidRoutes(routes=list(wanted), reason="the nexthop is used by router")
    return list(wanted)


def change_routes(tx: Tx, router_id: str, add: Sequence[Values], remove: Sequence[Values]) -> None:
    """Add and take away single routes in one step; both are idempotent."""
    held = tx.scalar(select(router.c.routes).where(router.c.id == router_id))
    kept = [route for route in held if route not in remove]
    wanted = kept + [route for route in add if route not in kept]
    if add:
        checked_routes(tx, router_id, wanted)
    change(tx, router, router_id, {"routes": wanted})
    tx.touch("router", router_id)


RESOURCE = Resource(
    name="router",
    collection="routers",
    table=router,
    attributes=ROUTER,
    not_found=lambda router_id: faults.RouterNotFound(id=router_id),
    render=render,
    create=create,
    update=update,
    delete=delete_router,
    quota="router",
    has_tags=True,
    tag_table=tag,
    changed=lambda tx, router_id: bump(tx, router, router_id),
)
