"""Floating IPs: an address outside that leads, through a router, to a fixed address of a port."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Row

from virga.api.resource import UNSET, Context, Resource, Values, bump, change
from virga.db.tx import Tx
from virga.db.within import within
from virga.lib.ids import new_uuid
from virga.services.network import faults, port_addresses, router_path
from virga.services.network import network as networks
from virga.services.network import port as ports
from virga.services.network.attributes_l3 import FLOATING_IP
from virga.services.network.models import port, tag
from virga.services.network.models_l3 import floating_ip, port_forwarding
from virga.services.network.standard import add_tags, by_ids, fresh, tags_of, time, why

OWNER = "network:floatingip"

PortAlreadyAssociated = faults.refusal(
    "FloatingIPPortAlreadyAssociated",
    409,
    "Cannot associate floating IP {address} ({id}) with port {port_id} using fixed IP {fixed}, as that fixed IP "
    "already has a floating IP on external network {net_id}.",
)

_PORTS = select(port).where(within(port.c.id))
_FORWARDINGS = select(port_forwarding).where(within(port_forwarding.c.floatingip_id))


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    ids = [row.id for row in rows]
    tags = tags_of(tx, ids)
    details = {row.id: row for row in by_ids(tx, _PORTS, [row.port_id for row in rows if row.port_id])}
    forwardings: dict[str, list[Values]] = {}
    for row in by_ids(tx, _FORWARDINGS, ids):
        forwardings.setdefault(row.floatingip_id, []).append(_forwarding(row))
    return [
        {
            "id": row.id,
            "tenant_id": row.project_id,
            "project_id": row.project_id,
            "floating_ip_address": row.floating_ip_address,
            "floating_network_id": row.floating_network_id,
            "router_id": row.router_id,
            "port_id": row.port_id,
            "fixed_ip_address": row.fixed_ip_address,
            "status": row.status,
            "description": row.description,
            "port_details": _details(details.get(row.port_id)),
            "dns_domain": row.dns_domain,
            "dns_name": row.dns_name,
            "port_forwardings": forwardings.get(row.id, []),
            "revision_number": row.revision_number,
            "created_at": time(row.created_at),
            "updated_at": time(row.updated_at),
            "tags": tags.get(row.id, []),
            **why(row),
        }
        for row in rows
    ]


def _details(row: Row[Any] | None) -> Values | None:
    if row is None:
        return None
    names = ("name", "network_id", "mac_address", "admin_state_up", "status", "device_id", "device_owner")
    return {name: getattr(row, name) for name in names}


def _forwarding(row: Row[Any]) -> Values:
    item = {
        "id": row.id,
        "protocol": row.protocol,
        "internal_ip_address": row.internal_ip_address,
        "internal_port_id": row.internal_port_id,
    }
    if row.external_port_start == row.external_port_end:
        return item | {"external_port": row.external_port_start, "internal_port": row.internal_port_start}
    item["external_port_range"] = f"{row.external_port_start}:{row.external_port_end}"
    item["internal_port_range"] = f"{row.internal_port_start}:{row.internal_port_end}"
    return item


def create(tx: Tx, context: Context, values: Values) -> str:
    net = networks.exists(tx, context, values["floating_network_id"])
    if not net.external:
        raise faults.BadRequest(
            resource="floatingip", reason=f"Network {net.id} is not a valid external network"
        )
    floating_id = new_uuid()
    addresses = _outside_address(tx, net.id, values)
    port_id = ports.create_internal(tx, context, net.id, "", OWNER, floating_id, addresses, status="N/A")
    row = {
        "id": floating_id,
        "project_id": values["project_id"],
        "description": values["description"],
        "floating_ip_address": addresses[0].ip_address,
        "floating_network_id": net.id,
        "floating_port_id": port_id,
        "router_id": None,
        "port_id": None,
        "fixed_ip_address": None,
        "status": "DOWN",
        "dns_name": values["dns_name"],
        "dns_domain": values["dns_domain"],
        **fresh(tx),
    }
    row |= _association(tx, context, row, values)
    tx.execute(insert(floating_ip).values(**row))
    add_tags(tx, floating_id, values["tags"])
    tx.touch("floating_ip", floating_id)
    return floating_id


def _outside_address(tx: Tx, net_id: str, values: Values) -> list[Any]:
    subnets = [s for s in port_addresses.subnets_of(tx, net_id) if s.ip_version == 4]
    if not subnets:
        raise faults.BadRequest(
            resource="floatingip", reason=f"Network {net_id} does not contain any IPv4 subnet"
        )
    wish: list[Values] | Any = UNSET
    if values["subnet_id"] and values["subnet_id"] not in {s.id for s in subnets}:
        raise faults.InvalidInput(
            reason=f"Failed to create port on network {net_id}, because fixed_ips included invalid subnet "
            f"{values['subnet_id']}"
        )
    if values["subnet_id"] or values["floating_ip_address"]:
        named = {"subnet_id": values["subnet_id"], "ip_address": values["floating_ip_address"]}
        wish = [{k: v for k, v in named.items() if v}]
        return port_addresses.asked(tx, net_id, subnets, wish, OWNER, "")
    chosen = port_addresses.decide(tx, net_id, UNSET, OWNER, "fa:16:3e:00:00:00")
    wanted = [item for item in chosen if ":" not in item.ip_address]
    if not wanted:
        raise faults.IpAddressGenerationFailure(net_id=net_id)
    return wanted


def _association(tx: Tx, context: Context, current: Values, values: Values) -> Values:
    """The columns that say where the floating IP leads."""
    port_id, fixed = values.get("port_id"), values.get("fixed_ip_address")
    if port_id is None:
        if fixed is not None:
            raise faults.BadRequest(
                resource="floatingip", reason="fixed_ip_address cannot be specified without a port_id"
            )
        return {"port_id": None, "fixed_ip_address": None, "router_id": None}
    inner = _port(tx, context, port_id)
    if inner.project_id != current["project_id"] and not context.is_admin:
        raise faults.BadRequest(
            resource="floatingip",
            reason=f"Port {port_id} is associated with a different tenant than Floating IP {current['id']} and "
            "therefore cannot be bound",
        )
    chosen = _fixed_address(tx, port_id, fixed)
    router_id = router_path.router_for(
        tx, chosen, port_id, current["floating_network_id"], values.get("router_id")
    )
    _refuse_second(tx, current, port_id, chosen.ip_address)
    _refuse_forwarded(tx, current["id"])
    return {"port_id": port_id, "fixed_ip_address": chosen.ip_address, "router_id": router_id}


def _port(tx: Tx, context: Context, port_id: str) -> Row[Any]:
    from virga.services.network.port_resource import RESOURCE as PORTS

    query = select(port).where(port.c.id == port_id)
    condition = PORTS.visible_to(context)
    row = tx.first(query if condition is None else query.where(condition))
    if row is None:
        raise faults.PortNotFound(id=port_id)
    return row


def _fixed_address(tx: Tx, port_id: str, wanted: str | None) -> Row[Any]:
    rows = [
        row for row in ports.addresses_of(tx, port_id) if ipaddress.ip_address(row.ip_address).version == 4
    ]
    if wanted is not None:
        for row in rows:
            if row.ip_address == wanted:
                return row
        raise faults.BadRequest(
            resource="floatingip", reason=f"Port {port_id} does not have fixed ip {wanted}"
        )
    if not rows:
        raise faults.BadRequest(
            resource="floatingip",
            reason=f"Cannot add floating IP to port {port_id} that has no fixed IPv4 addresses",
        )
    if len(rows) > 1:
        raise faults.BadRequest(
            resource="floatingip",
            reason=f"Port {port_id} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address when "
            "assigning a floating IP",
        )
    return rows[0]


def _refuse_second(tx: Tx, current: Values, port_id: str, fixed: str) -> None:
    other = tx.first(
        select(floating_ip).where(
            floating_ip.c.port_id == port_id,
            floating_ip.c.fixed_ip_address == fixed,
            floating_ip.c.floating_network_id == current["floating_network_id"],
            floating_ip.c.id != current["id"],
        )
    )
    if other is not None:
        raise PortAlreadyAssociated(
            address=other.floating_ip_address,
            id=other.id,
            port_id=port_id,
            fixed=fixed,
            net_id=current["floating_network_id"],
        )


def _refuse_forwarded(tx: Tx, floating_id: str) -> None:
    if tx.first(select(port_forwarding.c.id).where(port_forwarding.c.floatingip_id == floating_id).limit(1)):
        raise faults.refusal(
            "FipInUseByPortForwarding", 409, "Floating IP {id} in use by Port Forwarding resources."
        )(id=floating_id)


def update(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    if not changes:
        # An empty update means what it meant when a floating IP had nothing but its association.
        changes = {"port_id": None}
    columns: Values = {}
    if "description" in changes:
        columns["description"] = changes["description"]
    if "port_id" in changes or "fixed_ip_address" in changes or "router_id" in changes:
        merged = {"port_id": current["port_id"], **changes}
        columns |= _association(tx, context, current, merged)
        moved = any(columns[name] != current[name] for name in ("port_id", "fixed_ip_address", "router_id"))
        if moved:
            columns |= {"status": "DOWN", "status_reason": ""}
    change(tx, floating_ip, current["id"], columns)
    tx.touch("floating_ip", current["id"])


def delete_floating(tx: Tx, context: Context, current: Values) -> None:
    floating_id = current["id"]
    _refuse_forwarded(tx, floating_id)
    port_id = tx.scalar(select(floating_ip.c.floating_port_id).where(floating_ip.c.id == floating_id))
    tx.execute(delete(floating_ip).where(floating_ip.c.id == floating_id))
    ports.remove(tx, port_id)
    tx.touch("floating_ip", floating_id)


def remove_unused(tx: Tx, context: Context, network_id: str) -> None:
    """Floating IPs that lead nowhere do not keep their network alive."""
    rows = tx.all(
        select(floating_ip.c.id).where(
            floating_ip.c.floating_network_id == network_id, floating_ip.c.port_id.is_(None)
        )
    )
    for row in rows:
        delete_floating(tx, context, {"id": row.id})


RESOURCE = Resource(
    name="floatingip",
    collection="floatingips",
    table=floating_ip,
    attributes=FLOATING_IP,
    not_found=lambda floating_id: faults.FloatingIPNotFound(id=floating_id),
    render=render,
    create=create,
    update=update,
    delete=delete_floating,
    quota="floatingip",
    has_tags=True,
    tag_table=tag,
    changed=lambda tx, floating_id: bump(tx, floating_ip, floating_id),
)
