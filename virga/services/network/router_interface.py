"""Interfaces of a router: added and removed by subnet or by port."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy import update as sql_update
from sqlalchemy.engine import Row

from virga.api.resource import Context, Values, bump
from virga.db.tx import Tx
from virga.lib.ids import is_uuid_like
from virga.services.network import binding, faults, ipam, port_resource, port_users, router_gateway
from virga.services.network import port as ports
from virga.services.network import subnet as subnets
from virga.services.network.models import ip_allocation, port, subnet
from virga.services.network.models_l3 import floating_ip, port_security_group, router, router_interface

OWNER = "network:router_interface"

RouterInterfaceNotFound = faults.refusal(
    "RouterInterfaceNotFound", 404, "Router {router_id} does not have an interface with id {port_id}"
)
RouterInterfaceNotFoundForSubnet = faults.refusal(
    "RouterInterfaceNotFoundForSubnet", 404, "Router {router_id} has no interface on subnet {subnet_id}"
)
SubnetMismatchForPort = faults.refusal(
    "SubnetMismatchForPort", 409, "Subnet on port {port_id} does not match the requested subnet {subnet_id}."
)
InUseByFloatingIP = faults.refusal(
    "RouterInterfaceInUseByFloatingIP",
    409,
    "Router interface for subnet {subnet_id} on router {router_id} cannot be deleted, as it is required by one or "
    "more floating IPs.",
)
InUseByRoute = faults.refusal(
    "RouterInterfaceInUseByRoute",
    409,
    "Router interface for subnet {subnet_id} on router {router_id} cannot be deleted, as it is required by one or "
    "more routes.",
)


def _wish(body: Any) -> tuple[str | None, str | None]:
    """Subnet id and port id of a request."""
    if not isinstance(body, dict):
        raise faults.BadRequest(resource="router", reason="Either subnet_id or port_id must be specified")
    for name in body:
        if name not in ("subnet_id", "port_id", "id", "router_id"):
            raise faults.HTTPBadRequest(reason=f"Unrecognized attribute(s) '{name}'")
    found = body.get("subnet_id"), body.get("port_id")
    if not any(found):
        raise faults.BadRequest(resource="router", reason="Either subnet_id or port_id must be specified")
    for name, value in zip(("subnet_id", "port_id"), found, strict=True):
        if value is not None and not is_uuid_like(value):
            raise faults.HTTPBadRequest(
                reason=f"Invalid input for {name}. Reason: '{value}' is not a valid UUID."
            )
    return found


def add(tx: Tx, context: Context, current: Values, body: Any) -> Values:
    """Plug the router in; the answer of ``add_router_interface``."""
    subnet_id, port_id = _wish(body)
    if subnet_id and port_id:
        raise faults.BadRequest(resource="router", reason="Cannot specify both subnet-id and port-id")
    router_id = current["id"]
    if port_id:
        made, ids = _add_by_port(tx, context, current, port_id)
    else:
        assert subnet_id is not None
        made, ids = _add_by_subnet(tx, context, current, subnet_id)
    bump(tx, router, router_id)
    tx.touch("router", router_id)
    return _answer(tx, current, made, ids)


def _answer(tx: Tx, current: Values, port_id: str, subnet_ids: Sequence[str], net_id: str = "") -> Values:
    net_id = net_id or tx.scalar(select(port.c.network_id).where(port.c.id == port_id))
    return {
        "id": current["id"],
        "tenant_id": current["project_id"],
        "project_id": current["project_id"],
        "port_id": port_id,
        "network_id": net_id,
        "subnet_id": subnet_ids[0],
        "subnet_ids": list(subnet_ids),
    }


def _check_subnet(tx: Tx, router_id: str, row: Row[Any]) -> None:
    if row.ip_version == 6 and row.ipv6_ra_mode is None and row.ipv6_address_mode is not None:
        raise faults.BadRequest(
            resource="router",
            reason=f"IPv6 subnet {row.id} configured to receive RAs from an external router cannot be added to "
            "Neutron Router",
        )
    router_gateway.refuse_overlap(tx, router_id, row)


def _add_by_subnet(tx: Tx, context: Context, current: Values, subnet_id: str) -> tuple[str, list[str]]:
    router_id = current["id"]
    subnets.RESOURCE.find(tx, context, subnet_id)
    row = tx.first(select(subnet).where(subnet.c.id == subnet_id))
    assert row is not None
    if row.gateway_ip is None:
        raise faults.BadRequest(
            resource="router", reason="Subnet for router interface must have a gateway IP"
        )
    _check_subnet(tx, router_id, row)
    address = ipam.fixed(row, ipaddress.ip_address(row.gateway_ip))
    if ipam.allocated(tx, [address]) is not None:
        raise faults.IpAddressAlreadyAllocated(ip=address.ip_address, subnet_id=row.id)
    joined = _ipv6_port(tx, router_id, row) if row.ip_version == 6 else None
    if joined is not None:
        ports.add_addresses(tx, joined, [address])
        port_id = joined
    else:
        host = tx.scalar(select(router.c.host).where(router.c.id == router_id))
        port_id = ports.create_internal(
            tx,
            context.elevated(),
            row.network_id,
            current["project_id"],
            OWNER,
            router_id,
            [address],
            host=host,
        )
    _remember(tx, router_id, port_id, [row.id])
    return port_id, [row.id]


def _ipv6_port(tx: Tx, router_id: str, row: Row[Any]) -> str | None:
    """IPv6 subnets of one network share one port of the router."""
    query = (
        select(port.c.id)
        .join(ip_allocation, ip_allocation.c.port_id == port.c.id)
        .join(subnet, subnet.c.id == ip_allocation.c.subnet_id)
        .where(
            port.c.device_id == router_id,
            port.c.device_owner == OWNER,
            port.c.network_id == row.network_id,
            subnet.c.ip_version == 6,
        )
    )
    found: str | None = tx.scalar(query)
    return found


def _remember(tx: Tx, router_id: str, port_id: str, subnet_ids: Sequence[str]) -> None:
    tx.execute(
        insert(router_interface),
        [{"router_id": router_id, "subnet_id": s, "port_id": port_id} for s in subnet_ids],
    )


def _add_by_port(tx: Tx, context: Context, current: Values, port_id: str) -> tuple[str, list[str]]:
    router_id = current["id"]
    item = port_resource.RESOURCE.find(tx, context, port_id)
    if item["device_id"]:
        raise faults.PortInUse(port_id=port_id, net_id=item["network_id"], device_id=item["device_id"])
    if not item["fixed_ips"]:
        raise faults.BadRequest(resource="router", reason="Router port must have at least one fixed IP")
    ids = list(dict.fromkeys(fixed["subnet_id"] for fixed in item["fixed_ips"]))
    rows = tx.all(select(subnet).where(subnet.c.id.in_(ids)))
    if sum(row.ip_version == 4 for row in rows) > 1:
        raise faults.BadRequest(resource="router", reason="Cannot have multiple IPv4 subnets on router port")
    for row in rows:
        _check_subnet(tx, router_id, row)
    host = tx.scalar(select(router.c.host).where(router.c.id == router_id))
    columns = binding.bind(tx, context, item["network_id"], host)
    tx.execute(delete(port_security_group).where(port_security_group.c.port_id == port_id))
    tx.execute(
        sql_update(port)
        .where(port.c.id == port_id)
        .values(
            device_id=router_id,
            device_owner=OWNER,
            port_security_enabled=False,
            allowed_address_pairs=[],
            **columns,
        )
    )
    bump(tx, port, port_id)
    tx.touch("port", port_id)
    _remember(tx, router_id, port_id, ids)
    return port_id, ids


def remove(tx: Tx, context: Context, current: Values, body: Any) -> Values:
    """Unplug the router; the answer of ``remove_router_interface``."""
    subnet_id, port_id = _wish(body)
    router_id = current["id"]
    table = router_interface
    if port_id:
        rows = tx.all(select(table).where(table.c.router_id == router_id, table.c.port_id == port_id))
        if not rows:
            raise RouterInterfaceNotFound(router_id=router_id, port_id=port_id)
        if subnet_id and subnet_id not in {row.subnet_id for row in rows}:
            raise SubnetMismatchForPort(port_id=port_id, subnet_id=subnet_id)
        gone = [row.subnet_id for row in rows]
    else:
        assert subnet_id is not None
        subnets.RESOURCE.find(tx, context, subnet_id)
        port_id = router_gateway.interface_on(tx, router_id, subnet_id)
        if port_id is None:
            raise RouterInterfaceNotFoundForSubnet(router_id=router_id, subnet_id=subnet_id)
        gone = [subnet_id]
    for one in gone:
        _refuse_if_needed(tx, current, one, port_id)
    port_users.refuse_trunk(tx, port_id)
    answer = _answer(tx, current, port_id, gone)
    tx.execute(delete(table).where(table.c.router_id == router_id, table.c.subnet_id.in_(gone)))
    left = tx.first(select(table.c.subnet_id).where(table.c.port_id == port_id))
    if left is None:
        ports.remove(tx, port_id)
    else:
        for one in gone:
            ports.drop_subnet(tx, port_id, one)
    bump(tx, router, router_id)
    tx.touch("router", router_id)
    return answer


def _refuse_if_needed(tx: Tx, current: Values, subnet_id: str, port_id: str) -> None:
    cidr = tx.scalar(select(subnet.c.cidr).where(subnet.c.id == subnet_id))
    net = ipaddress.ip_network(cidr)
    behind = select(floating_ip.c.fixed_ip_address).where(
        floating_ip.c.router_id == current["id"], floating_ip.c.fixed_ip_address.is_not(None)
    )
    if any(ipaddress.ip_address(row.fixed_ip_address) in net for row in tx.all(behind)):
        raise InUseByFloatingIP(subnet_id=subnet_id, router_id=current["id"])
    if any(ipaddress.ip_address(route["nexthop"]) in net for route in current["routes"]):
        raise InUseByRoute(subnet_id=subnet_id, router_id=current["id"])
