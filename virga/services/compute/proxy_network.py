"""os-networks, os-tenant-networks, os-floating-ips and the address actions: Network's things in Compute's old words."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from virga.api.faults import Fault
from virga.api.request import Request, Response
from virga.api.resource import fill
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.services.compute import networking
from virga.services.compute.action import action_route
from virga.services.compute.faults import Invalid, NotFoundHere, Refused
from virga.services.compute.models import server_port
from virga.services.compute.networking import caller_context
from virga.services.compute.schema import IP, IPV4, always, check_body, obj, wrapped
from virga.services.compute.server import Server, check_lock, on_server
from virga.services.network import quota
from virga.services.network.floating_ip import RESOURCE as FLOATING
from virga.services.network.models import network, subnet
from virga.services.network.models_l3 import floating_ip
from virga.services.network.network import RESOURCE as NETWORK
from virga.settings import Settings

LAST, LAST_ACTION = (2, 35), (2, 43)
ADD = always(wrapped("addFloatingIp", obj({"address": IPV4, "fixed_address": IPV4}, ["address"])))
REMOVE = always(wrapped("removeFloatingIp", obj({"address": IP}, ["address"])))
_NONE = [
    "bridge",
    "vpn_public_port",
    "dhcp_start",
    "bridge_interface",
    "updated_at",
    "cidr_v6",
    "deleted_at",
    "gateway",
    "project_id",
    "rxtx_base",
    "host",
    "broadcast",
    "netmask",
    "injected",
    "cidr",
    "vpn_public_address",
    "multi_host",
    "dns2",
    "created_at",
    "gateway_v6",
    "netmask_v6",
    "priority",
    "share_address",
    "enable_dhcp",
    "dhcp_server",
    "mtu",
    "vpn_private_address",
    "deleted",
    "vlan",
    "dns1",
]


def _networks(tx: Tx, req: Request) -> list[dict[str, Any]]:
    context = caller_context(req.caller)
    statement = select(network).order_by(network.c.name, network.c.id)
    condition = NETWORK.visible_to(context)
    rows = tx.all(statement if condition is None else statement.where(condition))
    return NETWORK.render(tx, context, rows)


def _network(tx: Tx, req: Request) -> dict[str, Any]:
    try:
        return NETWORK.find(tx, caller_context(req.caller), req["network_id"])
    except Fault:
        raise NotFoundHere("Network not found") from None


def networks(tx: Tx, req: Request) -> Any:
    req.enforce("os_compute_api:os-networks:list")
    return {
        "networks": [dict.fromkeys(_NONE) | {"id": n["id"], "label": n["name"]} for n in _networks(tx, req)]
    }


def show_network(tx: Tx, req: Request) -> Any:
    req.enforce("os_compute_api:os-networks:show")
    found = _network(tx, req)
    return {"network": dict.fromkeys(_NONE) | {"id": found["id"], "label": found["name"]}}


def _tenant(tx: Tx, found: dict[str, Any]) -> dict[str, Any]:
    row = tx.first(
        select(subnet.c.cidr).where(subnet.c.network_id == found["id"]).order_by(subnet.c.ip_version)
    )
    return {"id": found["id"], "label": found["name"], "cidr": str(row.cidr) if row else "None"}


def tenant_networks(tx: Tx, req: Request) -> Any:
    req.enforce("os_compute_api:os-tenant-networks:list")
    return {"networks": [_tenant(tx, n) for n in _networks(tx, req)]}


def show_tenant_network(tx: Tx, req: Request) -> Any:
    req.enforce("os_compute_api:os-tenant-networks:show")
    return {"network": _tenant(tx, _network(tx, req))}


# --- floating addresses --------------------------------------------------------------------------------


def _pool(tx: Tx, network_id: str) -> str:
    return str(tx.scalar(select(network.c.name).where(network.c.id == network_id)))


def _view(tx: Tx, found: dict[str, Any]) -> dict[str, Any]:
    owner = None
    if found["port_id"]:
        owner = tx.scalar(select(server_port.c.server_id).where(server_port.c.port_id == found["port_id"]))
    return {
        "id": found["id"],
        "ip": found["floating_ip_address"],
        "pool": _pool(tx, found["floating_network_id"]),
        "fixed_ip": found["fixed_ip_address"],
        "instance_id": owner,
    }


def _floating(tx: Tx, req: Request) -> dict[str, Any]:
    try:
        return FLOATING.find(tx, caller_context(req.caller), req["floating_id"])
    except Fault:
        raise NotFoundHere(f"Floating IP not found for ID {req['floating_id']}") from None


def floating_ips(tx: Tx, req: Request) -> Any:
    req.enforce("os_compute_api:os-floating-ips:list")
    context = caller_context(req.caller)
    rows = tx.all(select(floating_ip).where(floating_ip.c.project_id == req.caller.project_id))
    return {"floating_ips": [_view(tx, found) for found in FLOATING.render(tx, context, rows)]}


def show_floating(tx: Tx, req: Request) -> Any:
    req.enforce("os_compute_api:os-floating-ips:show")
    return {"floating_ip": _view(tx, _floating(tx, req))}


def create_floating(tx: Tx, req: Request) -> Any:
    req.enforce("os_compute_api:os-floating-ips:create")
    pool = (req.body or {}).get("pool") if isinstance(req.body, dict) else None
    statement = select(network.c.id).where(network.c.external.is_(True)).order_by(network.c.name)
    if pool is not None:
        statement = statement.where((network.c.name == pool) | (network.c.id == pool))
    row = tx.first(statement)
    if row is None:
        raise NotFoundHere(f"Floating IP pool {pool} not found." if pool else "Floating IP pool not found.")
    context = caller_context(req.caller)
    assert FLOATING.create is not None
    try:
        values = fill(FLOATING, context, {"floating_network_id": row.id})
        quota.check(tx, context, FLOATING, [values])
        ident = FLOATING.create(tx, context, values)
    except Fault as fault:
        if "quota" in fault.message.lower():
            raise Refused("IP allocation over quota") from None
        raise NotFoundHere("No more floating IPs available.") from None
    return {"floating_ip": _view(tx, FLOATING.find(tx, context, ident))}


def delete_floating(tx: Tx, req: Request) -> Any:
    req.enforce("os_compute_api:os-floating-ips:delete")
    found = _floating(tx, req)
    assert FLOATING.delete is not None
    FLOATING.delete(tx, caller_context(req.caller), found)
    return Response(202)


def pools(tx: Tx, req: Request) -> Any:
    rows = tx.all(
        select(network.c.name, network.c.id).where(network.c.external.is_(True)).order_by(network.c.name)
    )
    return {"floating_ip_pools": [{"name": row.name or row.id} for row in rows]}


def _by_address(tx: Tx, req: Request, address: str) -> dict[str, Any]:
    context = caller_context(req.caller)
    rows = tx.all(select(floating_ip).where(floating_ip.c.floating_ip_address == address))
    for found in FLOATING.render(tx, context, rows):
        if req.caller.is_admin or found["project_id"] == req.caller.project_id:
            return found
    raise NotFoundHere("floating IP not found")


def add(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, ADD)["addFloatingIp"]
    check_lock(row, req.caller)
    vifs = networking.vifs_of(tx, [row.id]).get(row.id, [])
    if not vifs:
        raise Invalid("Instance network is not ready yet")
    pairs = [(vif, f.ip_address) for vif in vifs for f in vif.fixed_ips if ":" not in f.ip_address]
    if not pairs:
        raise Invalid("No fixed IPs associated to instance")
    wanted = asked.get("fixed_address")
    chosen = next((pair for pair in pairs if wanted in (None, pair[1])), None)
    if chosen is None:
        raise Invalid("Specified fixed address not assigned to instance")
    found = _by_address(tx, req, asked["address"])
    assert FLOATING.update is not None
    try:
        FLOATING.update(
            tx,
            caller_context(req.caller),
            found,
            {"port_id": chosen[0].port_id, "fixed_ip_address": chosen[1]},
        )
    except Fault as fault:
        raise Invalid(
            f"Unable to associate floating IP {asked['address']} to fixed IP {chosen[1]} for instance "
            f"{row.id}. Error: {fault.message}"
        ) from None
    return Response(202)


def drop(tx: Tx, req: Request, row: Server) -> Any:
    address = check_body(req, REMOVE)["removeFloatingIp"]["address"]
    found = _by_address(tx, req, address)
    ports = {vif.port_id for vif in networking.vifs_of(tx, [row.id]).get(row.id, [])}
    if found["port_id"] not in ports:
        raise Invalid(f"Floating IP {address} is not associated with instance {row.id}.", status=409)
    assert FLOATING.update is not None
    FLOATING.update(tx, caller_context(req.caller), found, {"port_id": None})
    return Response(202)


def routes(settings: Settings) -> list[Route]:
    def route(method: str, path: str, handler: Any) -> Route:
        return Route(method, "/v2.1/" + path, handler, AUTHENTICATED, max_version=LAST)

    return [
        route("GET", "os-networks", networks),
        route("GET", "os-networks/{network_id}", show_network),
        route("GET", "os-tenant-networks", tenant_networks),
        route("GET", "os-tenant-networks/{network_id}", show_tenant_network),
        route("GET", "os-floating-ips", floating_ips),
        route("POST", "os-floating-ips", create_floating),
        route("GET", "os-floating-ips/{floating_id}", show_floating),
        route("DELETE", "os-floating-ips/{floating_id}", delete_floating),
        route("GET", "os-floating-ip-pools", pools),
        action_route("addFloatingIp", on_server("os-floating-ips:add", add), most=LAST_ACTION),
        action_route("removeFloatingIp", on_server("os-floating-ips:remove", drop), most=LAST_ACTION),
    ]
