"""Ports of a running server: listed, attached, detached (os-interface), and the old actions on addresses and groups."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert

from virga.api.faults import Fault
from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.services.compute import instance_action, networking, port_allocation, server, states
from virga.services.compute.action import action_route
from virga.services.compute.faults import Invalid, NotFoundHere
from virga.services.compute.networking import Vif, caller_context
from virga.services.compute.schema import (
    IP,
    NAME,
    TAG,
    UUID,
    V21,
    Versioned,
    always,
    changed,
    check_body,
    obj,
    wrapped,
)
from virga.services.compute.server import Server, check_lock, check_state, on_server
from virga.services.network import port as ports
from virga.services.network.models_l3 import port_security_group
from virga.settings import Settings

_ADDRESS = {"type": "array", "minItems": 1, "maxItems": 1, "items": obj({"ip_address": IP}, ["ip_address"])}
_CREATE = obj({"interfaceAttachment": obj({"net_id": UUID, "port_id": UUID, "fixed_ips": _ADDRESS})})
CREATE = Versioned((V21, _CREATE), ((2, 49), changed(_CREATE, "interfaceAttachment", tag=TAG)))
STATES = (states.ACTIVE, states.PAUSED, states.STOPPED)
ADD_GROUP = always(wrapped("addSecurityGroup", obj({"name": NAME}, ["name"])))
REMOVE_GROUP = always(wrapped("removeSecurityGroup", obj({"name": NAME}, ["name"])))
ADD_FIXED = always(
    wrapped(
        "addFixedIp",
        obj(
            {
                "networkId": {
                    "type": ["string", "number"],
                    "minLength": 1,
                    "maxLength": 36,
                    "pattern": "^[-a-zA-Z0-9]*$",
                }
            },
            ["networkId"],
        ),
    )
)
REMOVE_FIXED = always(wrapped("removeFixedIp", obj({"address": IP}, ["address"])))


def _view(req: Request, vif: Vif) -> dict[str, Any]:
    body: dict[str, Any] = {
        "net_id": vif.network_id,
        "port_id": vif.port_id,
        "mac_addr": vif.mac_address,
        "port_state": vif.status,
        "fixed_ips": [{"subnet_id": f.subnet_id, "ip_address": f.ip_address} for f in vif.fixed_ips],
    }
    if req.microversion >= (2, 70):
        body["tag"] = vif.tag
    return body


def _vifs(tx: Tx, row: Server) -> list[Vif]:
    return networking.vifs_of(tx, [row.id]).get(row.id, [])


def index(tx: Tx, req: Request, row: Server) -> Any:
    return {"interfaceAttachments": [_view(req, vif) for vif in _vifs(tx, row)]}


def _find(tx: Tx, row: Server, port_id: str) -> Vif:
    for vif in _vifs(tx, row):
        if vif.port_id == port_id:
            return vif
    raise NotFoundHere(f"Instance {row.id} does not have a port with id {port_id}")


def show(tx: Tx, req: Request, row: Server) -> Any:
    return {"interfaceAttachment": _view(req, _find(tx, row, req["port_id"]))}


def create(tx: Tx, req: Request, row: Server) -> Any:
    asked = (check_body(req, CREATE) if req.body else {}).get("interfaceAttachment") or {}
    network_id, port_id, fixed = asked.get("net_id"), asked.get("port_id"), asked.get("fixed_ips")
    if network_id and port_id:
        raise Invalid("Must not input both network_id and port_id")
    if fixed and not network_id:
        raise Invalid("Must input network_id when request IP address")
    check_lock(row, req.caller)
    check_state(row, "attach_interface", STATES)
    context = caller_context(req.caller)
    if port_id:
        try:
            port_allocation.check_port(tx, context, port_id)
        except Fault as fault:
            if fault.type == "PortNotFound":
                raise NotFoundHere(fault.message) from None
            raise Invalid(fault.message) from None
        port_allocation.attach_port(tx, row, port_id, asked.get("tag"))
    else:
        network_id = network_id or _only_network(tx, req)
        port_allocation.check_network(tx, context, network_id, req)
        address = fixed[0]["ip_address"] if fixed else None
        groups = [port_allocation.group_id(tx, row.project_id, "default", True)]
        port_id = port_allocation.create_port(tx, row, network_id, address, asked.get("tag"), groups)
    instance_action.start(tx, row.id, "attach_interface", req.caller)
    instance_action.event(tx, row.id, "compute_attach_interface", row.host)
    instance_action.finish(tx, row.id, "compute_attach_interface")
    server.save(tx, row.id, touch=True)
    return {"interfaceAttachment": _view(req, _find(tx, row, port_id))}


def _only_network(tx: Tx, req: Request) -> str:
    found = port_allocation.check_request(tx, req.caller, None, 1, req)
    if not found:
        raise Invalid("No network found to attach.")
    return str(found[0]["uuid"])


def delete(tx: Tx, req: Request, row: Server) -> Any:
    check_lock(row, req.caller)
    check_state(row, "detach_interface", STATES)
    item = port_allocation.attachment(tx, row.id, req["port_id"])
    if item is None:
        raise NotFoundHere(f"Port {req['port_id']} is not attached")
    instance_action.start(tx, row.id, "detach_interface", req.caller)
    instance_action.event(tx, row.id, "compute_detach_interface", row.host)
    port_allocation.detach_port(tx, item)
    instance_action.finish(tx, row.id, "compute_detach_interface")
    server.save(tx, row.id, touch=True)
    return Response(202)


# --- security groups of a server -----------------------------------------------------------------------


def _group(tx: Tx, req: Request, name: str) -> str:
    try:
        return port_allocation.group_id(tx, req.caller.project_id or "", name.strip(), req.caller.is_admin)
    except Fault as fault:
        if fault.type == "SecurityGroupNotFound":
            raise NotFoundHere(
                f"Security group {name} not found for project {req.caller.project_id}."
            ) from None
        raise


def add_group(tx: Tx, req: Request, row: Server) -> Any:
    name = check_body(req, ADD_GROUP)["addSecurityGroup"]["name"]
    check_lock(row, req.caller)
    check_state(row, "addSecurityGroup", None, None)
    group_id = _group(tx, req, name)
    for vif in _vifs(tx, row):
        if group_id not in vif.security_groups:
            _set_groups(tx, vif, [*vif.security_groups, group_id])
    return Response(202)


def remove_group(tx: Tx, req: Request, row: Server) -> Any:
    name = check_body(req, REMOVE_GROUP)["removeSecurityGroup"]["name"]
    check_lock(row, req.caller)
    check_state(row, "removeSecurityGroup", None, None)
    group_id = _group(tx, req, name)
    vifs = [vif for vif in _vifs(tx, row) if group_id in vif.security_groups]
    if not vifs:
        raise NotFoundHere(f"Security group {group_id} not associated with the instance {row.id}")
    for vif in vifs:
        _set_groups(tx, vif, [g for g in vif.security_groups if g != group_id])
    return Response(202)


def _set_groups(tx: Tx, vif: Vif, wanted: list[str]) -> None:
    tx.execute(sql_delete(port_security_group).where(port_security_group.c.port_id == vif.port_id))
    for group_id in wanted:
        tx.execute(insert(port_security_group).values(port_id=vif.port_id, security_group_id=group_id))
    for group_id in {*wanted, *vif.security_groups}:
        tx.touch("security_group", group_id)
    tx.touch("port", vif.port_id)


# --- fixed addresses, as nova-network had them ---------------------------------------------------------


def add_fixed(tx: Tx, req: Request, row: Server) -> Any:
    network_id = str(check_body(req, ADD_FIXED)["addFixedIp"]["networkId"])
    check_lock(row, req.caller)
    for vif in _vifs(tx, row):
        if vif.network_id == network_id:
            context = networking.service_context()
            current = networking.find_port(tx, context, vif.port_id)
            subnet_id = vif.fixed_ips[0].subnet_id
            ports.update_port(
                tx, context, current, {"fixed_ips": [*current["fixed_ips"], {"subnet_id": subnet_id}]}
            )
            server.save(tx, row.id, touch=True)
            return Response(202)
    raise Invalid(f"Network not found for {network_id}.", type="NetworkNotFoundForInstance")


def remove_fixed(tx: Tx, req: Request, row: Server) -> Any:
    address = check_body(req, REMOVE_FIXED)["removeFixedIp"]["address"]
    check_lock(row, req.caller)
    for vif in _vifs(tx, row):
        if any(f.ip_address == address for f in vif.fixed_ips):
            context = networking.service_context()
            current = networking.find_port(tx, context, vif.port_id)
            left = [f for f in current["fixed_ips"] if f["ip_address"] != address]
            ports.update_port(tx, context, current, {"fixed_ips": left})
            server.save(tx, row.id, touch=True)
            return Response(202)
    raise Invalid(f"Fixed IP not found for instance: {row.id}", type="FixedIpNotFoundForSpecificInstance")


def routes(settings: Settings) -> list[Route]:
    at = "/v2.1/servers/{server_id}/os-interface"
    rule = "os-attach-interfaces:"
    return [
        Route("GET", at, on_server(rule + "list", index), AUTHENTICATED),
        Route("POST", at, on_server(rule + "create", create), AUTHENTICATED),
        Route("GET", at + "/{port_id}", on_server(rule + "show", show), AUTHENTICATED),
        Route("DELETE", at + "/{port_id}", on_server(rule + "delete", delete), AUTHENTICATED),
        action_route("addSecurityGroup", on_server("os-security-groups:add", add_group)),
        action_route("removeSecurityGroup", on_server("os-security-groups:remove", remove_group)),
        action_route("addFixedIp", on_server("os-multinic:add", add_fixed), most=(2, 43)),
        action_route("removeFixedIp", on_server("os-multinic:remove", remove_fixed), most=(2, 43)),
    ]
