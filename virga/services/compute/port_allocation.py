"""Ports of servers: checked when a server is asked for, made when it has a host, bound, moved, given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, delete, func, insert, or_, select, update

from virga.api.faults import Fault
from virga.api.request import Request
from virga.api.resource import Context, fill
from virga.db.tx import Tx
from virga.services.compute.faults import Busy, Invalid, Refused
from virga.services.compute.models import server_port
from virga.services.compute.networking import caller_context, find_port, service_context
from virga.services.network import auto_topology, port_resource, port_users, quota, security_group_default
from virga.services.network import network as networks
from virga.services.network import port as ports
from virga.services.network.faults import NetworkNotFound, PortNotFound
from virga.services.network.models import ip_allocation, network, port, subnet
from virga.services.network.models_l3 import security_group

Wanted = list[dict[str, Any]]
OWNER = "compute:"


# --- when a server is asked for ------------------------------------------------------------------------


def check_request(tx: Tx, caller: Any, asked: Any, count: int, req: Request) -> Wanted:
    """The networks that a create names exist for the caller, ports are free, addresses possible; as a list."""
    context = caller_context(caller)
    if asked == "none":
        return []
    if asked is None or asked == "auto" or asked == []:
        return _available(tx, context, asked == "auto")
    for item in asked:
        if item.get("port"):
            check_port(tx, context, item["port"])
        else:
            check_network(tx, context, item["uuid"], req)
            if item.get("fixed_ip"):
                _check_address(tx, item["uuid"], item["fixed_ip"])
    return list(asked)


def check_network(tx: Tx, context: Context, network_id: str, req: Request) -> None:
    """A server of the caller may have a port on it."""
    try:
        row = networks.exists(tx, context, network_id)
    except NetworkNotFound:
        raise Invalid(f"Network {network_id} could not be found.", type="NetworkNotFound") from None
    if (
        row.external
        and not networks.shared_with_all(tx, row.id)
        and not req.allows("network:attach_external_network")
    ):
        raise Refused(
            f"It is not allowed to create an interface on external network {network_id}",
            type="ExternalNetworkAttachForbidden",
        )
    if not tx.scalar(select(func.count()).select_from(subnet).where(subnet.c.network_id == network_id)):
        raise Invalid(
            f"Network {network_id} requires a subnet in order to boot instances on.",
            type="NetworkRequiresSubnet",
        )


def check_port(tx: Tx, context: Context, port_id: str) -> dict[str, Any]:
    """The port exists for the caller and nobody uses it."""
    try:
        found = find_port(tx, context, port_id)
    except PortNotFound:
        raise Invalid(f"Port id {port_id} could not be found.", type="PortNotFound") from None
    if found["device_id"]:
        raise Busy(f"Port {port_id} is still in use.", type="PortInUse")
    if not found["fixed_ips"] and found.get("ip_allocation") != "deferred" and found["port_security_enabled"]:
        raise Invalid(f"Port {port_id} requires a FixedIP in order to be used.", type="PortRequiresFixedIP")
    return found


def _check_address(tx: Tx, network_id: str, address: str) -> None:
    taken = tx.first(
        select(port.c.device_id)
        .join(ip_allocation, ip_allocation.c.port_id == port.c.id)
        .where(port.c.network_id == network_id, ip_allocation.c.ip_address == address)
    )
    if taken is not None:
        raise Invalid(
            f"Fixed IP address {address} is already in use on instance {taken.device_id}.",
            type="FixedIpAlreadyInUse",
        )


def _available(tx: Tx, context: Context, auto: bool) -> Wanted:
    """Nobody named a network: the project's only one, or one that is shared with all."""
    visible = networks.RESOURCE.visible_to(context)
    own = network.c.project_id == context.project_id
    statement = select(network).where(
        own if visible is None else and_(visible, or_(own, network.c.external.is_(False)))
    )
    rows = [
        row
        for row in tx.all(statement)
        if not (row.external and row.project_id != context.project_id)
        and tx.scalar(select(func.count()).select_from(subnet).where(subnet.c.network_id == row.id))
    ]
    if len(rows) > 1:
        raise Busy(
            "Multiple possible networks found, use a Network ID to be more specific.", type="NetworkAmbiguous"
        )
    if auto and not rows:
        return [{"uuid": _topology(tx, context)}]
    return [{"uuid": row.id} for row in rows]


def _topology(tx: Tx, context: Context) -> str:
    """The network that Network makes for a project that has none."""
    try:
        return auto_topology.ensure(tx, context, context.project_id)
    except Fault:
        raise Invalid(
            f"Unable to automatically allocate a network for project {context.project_id}",
            type="UnableToAutoAllocateNetwork",
        ) from None


def check_groups(tx: Tx, caller: Any, names: Sequence[str]) -> None:
    """The security groups that a create names exist."""
    for name in names:
        if name != "default":
            group_id(tx, caller.project_id or "", name, caller.is_admin)


def group_id(tx: Tx, project_id: str, name: str, admin: bool = False) -> str:
    """A group by name or id, as a project sees it."""
    if name == "default":
        return security_group_default.ensure(tx, project_id)
    rows = tx.all(
        select(security_group.c.id, security_group.c.name, security_group.c.project_id).where(
            or_(security_group.c.id == name, security_group.c.name == name)
        )
    )
    mine = [row for row in rows if row.project_id == project_id or (row.id == name and admin)]
    exact = [row for row in mine if row.id == name]
    if len(exact) == 1:
        return str(exact[0].id)
    if len(mine) > 1:
        raise Busy(
            f"Multiple security_group matches found for name '{name}', use an ID to be more specific.",
            type="NoUniqueMatch",
        )
    if not mine:
        raise Invalid(f"Unable to find security_group with name or id '{name}'", type="SecurityGroupNotFound")
    return str(mine[0].id)


def remember_request(tx: Tx, server_id: str, caller: Any, asked: Any) -> None:
    """Ports that a create names belong to the server from now on."""
    for item in asked or ():
        if isinstance(item, dict) and item.get("port"):
            _take(tx, server_id, item["port"], item.get("tag"))


def _take(tx: Tx, server_id: str, port_id: str, tag: str | None) -> None:
    tx.execute(insert(server_port).values(server_id=server_id, port_id=port_id, keep=True, tag=tag))
    tx.execute(update(port).where(port.c.id == port_id).values(device_id=server_id, updated_at=tx.now))


# --- when it has a host --------------------------------------------------------------------------------


def allocate(tx: Tx, row: Any, zone: str) -> None:
    """Make the ports that the server asked for, and bind all of its ports to its host."""
    has = {item.port_id for item in tx.all(select(server_port).where(server_port.c.server_id == row.id))}
    asked = row.requested_networks or []
    made = [item for item in asked if not item.get("port")]
    groups = _groups_of(tx, row) if made else []
    already = len(has) - sum(1 for item in asked if item.get("port"))
    for item in made[already:]:
        create_port(tx, row, item["uuid"], item.get("fixed_ip"), item.get("tag"), groups)
    bind(tx, row.id, row.host, zone)
    refuse_unbound(tx, row.id)


class BindingFailed(Exception):
    """The host does not reach a network of the server."""


def refuse_unbound(tx: Tx, server_id: str) -> None:
    """Raise BindingFailed when a port of the server could not be bound to its host."""
    failed = tx.first(
        select(port.c.id)
        .join(server_port, server_port.c.port_id == port.c.id)
        .where(server_port.c.server_id == server_id, port.c.vif_type == "binding_failed")
    )
    if failed is not None:
        raise BindingFailed(
            f"Binding failed for port {failed.id}, please check neutron logs for more information."
        )


def _groups_of(tx: Tx, row: Any) -> list[str]:
    return [group_id(tx, row.project_id, name, True) for name in row.security_groups]


def create_port(
    tx: Tx,
    row: Any,
    network_id: str,
    address: str | None = None,
    tag: str | None = None,
    groups: Sequence[str] | None = None,
    addresses: Sequence[dict[str, str]] = (),
) -> str:
    """A port of the server's own on a network, bound to its host."""
    context = service_context()
    net = networks.exists(tx, context, network_id)
    item: dict[str, Any] = {
        "network_id": network_id,
        "project_id": row.project_id,
        "admin_state_up": True,
        "device_id": row.id,
        "device_owner": OWNER + (row.availability_zone or "nova"),
        "binding:host_id": row.host or "",
        "dns_name": row.hostname.split(".")[0][:63],
    }
    if address:
        item["fixed_ips"] = [{"ip_address": address}]
    elif addresses:
        item["fixed_ips"] = list(addresses)
    if not net.port_security_enabled:
        item["security_groups"] = []
    elif groups is not None:
        item["security_groups"] = list(groups)
    values = fill(port_resource.RESOURCE, context, item)
    quota.check(tx, context, port_resource.RESOURCE, [values])
    port_id = ports.create(tx, context, values)
    tx.execute(insert(server_port).values(server_id=row.id, port_id=port_id, keep=False, tag=tag))
    return port_id


def attach_port(tx: Tx, row: Any, port_id: str, tag: str | None = None) -> None:
    """Give an existing port to a server."""
    _take(tx, row.id, port_id, tag)
    _bind_one(tx, port_id, row.host, row.availability_zone or "nova", row)


def bind(tx: Tx, server_id: str, host: str | None, zone: str = "nova") -> None:
    """Move the server's ports to a host (None: to no host)."""
    for item in tx.all(select(server_port.c.port_id).where(server_port.c.server_id == server_id)):
        _bind_one(tx, item.port_id, host, zone)


def expect(tx: Tx, server_id: str, host: str | None) -> None:
    """Let the next host of a running server make the devices of its ports ready (None: let it forget them)."""
    for item in tx.all(select(server_port.c.port_id).where(server_port.c.server_id == server_id)):
        context = service_context()
        try:
            current = find_port(tx, context, item.port_id)
        except PortNotFound:
            continue
        profile = dict(current["binding:profile"])
        profile.pop("migrating_to", None)
        if host is not None:
            profile["migrating_to"] = host
        if profile != current["binding:profile"]:
            ports.update_port(tx, context, current, {"binding:profile": profile})


def _bind_one(tx: Tx, port_id: str, host: str | None, zone: str, row: Any = None) -> None:
    context = service_context()
    try:
        current = find_port(tx, context, port_id)
    except PortNotFound:
        return
    changes: dict[str, Any] = {"binding:host_id": host or ""}
    if host and current["device_owner"] != OWNER + zone:
        changes["device_owner"] = OWNER + zone
    if row is not None and not current["dns_name"]:
        changes["dns_name"] = row.hostname.split(".")[0][:63]
    if changes["binding:host_id"] != current["binding:host_id"] or len(changes) > 1:
        ports.update_port(tx, context, current, changes)


# --- given back ----------------------------------------------------------------------------------------


def release(tx: Tx, server_id: str) -> None:
    """Remove the ports that were made for the server; give back those that were not."""
    for item in tx.all(select(server_port).where(server_port.c.server_id == server_id)):
        detach_port(tx, item)


def detach_port(tx: Tx, item: Any) -> None:
    """``item`` is the server_port row. A port that came from outside is left, unbound and free."""
    tx.execute(delete(server_port).where(server_port.c.number == item.number))
    context = service_context()
    try:
        current = find_port(tx, context, item.port_id)
    except PortNotFound:
        return
    # A port that somebody built a trunk on is the trunk's now: it stays, without the server.
    if not item.keep and not port_users.in_trunk(tx, item.port_id):
        port_users.release(tx, context, item.port_id)
        ports.remove(tx, item.port_id)
        return
    changes = {"device_id": "", "device_owner": "", "binding:host_id": "", "dns_name": ""}
    ports.update_port(tx, context, current, changes)


def attachment(tx: Tx, server_id: str, port_id: str) -> Any:
    """The server_port row, or None."""
    return tx.first(
        select(server_port).where(server_port.c.server_id == server_id, server_port.c.port_id == port_id)
    )


def forget_missing(tx: Tx, port_id: str) -> None:
    """The port was deleted in Network: the server has it no more."""
    row = tx.first(select(server_port).where(server_port.c.port_id == port_id))
    if row is not None:
        tx.execute(delete(server_port).where(server_port.c.number == row.number))
        tx.touch("server", row.server_id)
