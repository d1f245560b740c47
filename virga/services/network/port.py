"""Ports: create, change, remove, and the verbs that other services use on them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.engine import Row

from virga.api.resource import UNSET, Context, Values, bump, change
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.network import binding, faults, ipam, port_addresses, qos_binding
from virga.services.network import network as networks
from virga.services.network import security_group_default as groups
from virga.services.network.models import ip_allocation, network, port, tag
from virga.services.network.models_l3 import port_security_group
from virga.services.network.standard import add_tags, fresh

_INSERT = insert(port)
_INSERT_ADDRESSES = insert(ip_allocation)
_INSERT_GROUPS = insert(port_security_group)
_MAC = select(port.c.id).where(
    port.c.network_id == bindparam("network"), port.c.mac_address == bindparam("mac")
)
_ADDRESSES = (
    select(ip_allocation)
    .where(ip_allocation.c.port_id == bindparam("port"))
    .order_by(ip_allocation.c.position)
)
DIRECT = ("name", "description", "admin_state_up", "device_id", "device_owner", "dns_name", "dns_domain",
          "extra_dhcp_opts", "propagate_uplink_status", "port_security_enabled")  # fmt: skip


def new_mac(tx: Tx, network_id: str) -> str:
    """An address of OpenStack's prefix that no port of the network has."""
    while True:
        tail = random.getrandbits(24)
        mac = f"fa:16:3e:{tail >> 16:02x}:{tail >> 8 & 255:02x}:{tail & 255:02x}"
        if tx.first(_MAC, {"network": network_id, "mac": mac}) is None:
            return mac


def create(tx: Tx, context: Context, values: Values) -> str:
    """From a request of the API."""
    net = networks.exists(tx, context, values["network_id"])
    owner = values["device_owner"]
    mac = values["mac_address"]
    if mac is UNSET:
        mac = new_mac(tx, net.id)
    elif tx.first(_MAC, {"network": net.id, "mac": mac}) is not None:
        raise faults.MacAddressInUse(net_id=net.id, mac=mac)
    _check_device(tx, context, values)
    trusted = owner.startswith("network:")
    security = values["port_security_enabled"]
    if security is UNSET:
        security = net.port_security_enabled and not trusted
    members = _groups_for(tx, context, values, security, trusted)
    pairs = _pairs(values["allowed_address_pairs"], security, mac)
    addresses = port_addresses.decide(tx, net.id, values["fixed_ips"], owner, mac)
    port_id = new_uuid()
    qos = values["qos_policy_id"]
    if qos is not None:
        qos_binding.assign(tx, context, qos_binding.NotSupportedByPort, port_id, qos)
    _insert(
        tx,
        {
            "id": port_id,
            "project_id": values["project_id"],
            "network_id": net.id,
            "mac_address": mac,
            "status": "DOWN",
            "port_security_enabled": security,
            "allowed_address_pairs": pairs,
            **{name: values[name] for name in DIRECT if name != "port_security_enabled"},
            "vnic_type": values["binding:vnic_type"],
            "profile": values["binding:profile"],
            "qos_policy_id": qos,
            **binding.bind(tx, context, net.id, values["binding:host_id"], values["binding:vnic_type"]),
            **fresh(tx, 1),
        },
        addresses,
        members,
    )
    add_tags(tx, port_id, values["tags"])
    return port_id


def _insert(tx: Tx, row: Values, addresses: Sequence[ipam.Fixed], members: Sequence[str]) -> None:
    tx.execute(_INSERT, row)
    if addresses:
        tx.execute(_INSERT_ADDRESSES, port_addresses.rows(row["id"], addresses))
    if members:
        tx.execute(_INSERT_GROUPS, [{"port_id": row["id"], "security_group_id": g} for g in members])
    tx.touch("port", row["id"])


def create_internal(
    tx: Tx,
    context: Context,
    network_id: str,
    project_id: str,
    device_owner: str,
    device_id: str,
    addresses: Sequence[ipam.Fixed],
    host: str = "",
    mac_address: str = "",
    status: str = "DOWN",
) -> str:
    """A port of the service's own (DHCP, router, floating IP): trusted, without security groups."""
    port_id = new_uuid()
    _insert(
        tx,
        {
            "id": port_id,
            "project_id": project_id,
            "network_id": network_id,
            "name": "",
            "description": "",
            "mac_address": mac_address or new_mac(tx, network_id),
            "admin_state_up": True,
            "status": status,
            "device_id": device_id,
            "device_owner": device_owner,
            "port_security_enabled": False,
            "dns_name": "",
            "dns_domain": "",
            "propagate_uplink_status": True,
            "allowed_address_pairs": [],
            "extra_dhcp_opts": [],
            "vnic_type": "normal",
            "profile": {},
            "qos_policy_id": None,
            **binding.bind(tx, context, network_id, host),
            **fresh(tx, 1),
        },
        addresses,
        (),
    )
    return port_id


def _check_device(tx: Tx, context: Context, values: Values) -> None:
    """A port may not pretend to be part of somebody else's router."""
    from virga.services.network.models_l3 import router

    if (
        context.is_admin
        or values.get("device_owner") not in ipam.ROUTER_OWNERS
        or not values.get("device_id")
    ):
        return
    owner = tx.scalar(select(router.c.project_id).where(router.c.id == values["device_id"]))
    if owner is not None and owner != context.project_id:
        raise faults.DeviceIDNotOwnedByTenant(device_id=values["device_id"])


def _groups_for(tx: Tx, context: Context, values: Values, security: bool, trusted: bool) -> list[str]:
    asked = values["security_groups"]
    if asked is UNSET:
        if trusted or not security:
            return []
        return [groups.ensure(tx, values["project_id"])]
    if asked and not security:
        raise faults.PortSecurityAndIPRequired()
    return groups.check(tx, context, asked, values["project_id"])


def _pairs(asked: Any, security: bool, mac: str) -> list[Values]:
    if asked is UNSET or not asked:
        return []
    if not security:
        raise faults.AddressPairAndPortSecurityRequired()
    return [{"mac_address": mac, **pair} for pair in asked]


def update_port(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    """From a request of the API; ``current`` is the port as rendered."""
    port_id = current["id"]
    merged = {**current, **changes}
    _check_device(tx, context, merged)
    columns: Values = {name: changes[name] for name in DIRECT if name in changes}
    mac = _new_mac_of(tx, current, changes)
    if mac is not None:
        columns["mac_address"] = mac
    security = merged["port_security_enabled"]
    _update_groups(tx, context, current, changes, security)
    if "allowed_address_pairs" in changes:
        columns["allowed_address_pairs"] = _pairs(
            changes["allowed_address_pairs"], security, mac or current["mac_address"]
        )
    elif current["allowed_address_pairs"] and not security:
        raise faults.AddressPairAndPortSecurityRequired()
    if "fixed_ips" in changes or mac is not None:
        _update_addresses(tx, current, changes, mac or current["mac_address"], merged["device_owner"])
    if "binding:vnic_type" in changes:
        columns["vnic_type"] = changes["binding:vnic_type"]
    if "binding:profile" in changes:
        columns["profile"] = changes["binding:profile"]
    if "qos_policy_id" in changes:
        kind, wanted = qos_binding.NotSupportedByPort, changes["qos_policy_id"]
        columns["qos_policy_id"] = qos_binding.changed(tx, context, kind, current, wanted)
    if "binding:host_id" in changes:
        columns |= _rebind(tx, context, current, changes["binding:host_id"], merged)
    change(tx, port, port_id, columns)
    tx.touch("port", port_id)
    _follow(tx, context, current, changes)


def _rebind(tx: Tx, context: Context, current: Values, host: str, merged: Values) -> Values:
    same = host == current["binding:host_id"]
    if same and current["binding:vif_type"] not in (binding.UNBOUND, binding.FAILED):
        return {}
    wanted = binding.bind(tx, context, current["network_id"], host, merged["binding:vnic_type"])
    return wanted if same and not host else {**wanted, "status": "DOWN"}


def _new_mac_of(tx: Tx, current: Values, changes: Values) -> str | None:
    if "mac_address" not in changes:
        return None
    mac = changes["mac_address"]
    if mac is UNSET:
        mac = new_mac(tx, current["network_id"])
    if mac == current["mac_address"]:
        return None
    if current["binding:vif_type"] not in (binding.UNBOUND, binding.FAILED) and current["device_id"]:
        raise faults.PortBound(
            port_id=current["id"],
            vif_type=current["binding:vif_type"],
            old_mac=current["mac_address"],
            new_mac=mac,
        )
    if tx.first(_MAC, {"network": current["network_id"], "mac": mac}) is not None:
        raise faults.MacAddressInUse(net_id=current["network_id"], mac=mac)
    return str(mac)


def _update_groups(tx: Tx, context: Context, current: Values, changes: Values, security: bool) -> None:
    if "security_groups" not in changes:
        if current["security_groups"] and not security:
            raise faults.PortSecurityPortHasSecurityGroup()
        return
    asked = changes["security_groups"]
    asked = [] if asked is UNSET else asked
    if asked and not security:
        raise faults.PortSecurityAndIPRequired()
    wanted = groups.check(tx, context, asked, current["project_id"])
    for group_id in (*current["security_groups"], *wanted):
        tx.touch("security_group", group_id)
    tx.execute(delete(port_security_group).where(port_security_group.c.port_id == current["id"]))
    if wanted:
        tx.execute(_INSERT_GROUPS, [{"port_id": current["id"], "security_group_id": g} for g in wanted])


def _update_addresses(tx: Tx, current: Values, changes: Values, mac: str, owner: str) -> None:
    rows = tx.all(_ADDRESSES, {"port": current["id"]})
    wish = changes.get("fixed_ips", UNSET)
    if wish is UNSET:
        # A new MAC: what the port was given stays, what it makes of its MAC follows.
        auto = {s.id for s in port_addresses.subnets_of(tx, current["network_id"]) if ipam.is_auto(s)}
        wish = [
            {"subnet_id": r.subnet_id}
            if r.subnet_id in auto
            else {"subnet_id": r.subnet_id, "ip_address": r.ip_address}
            for r in rows
        ]
    else:
        wish = keep(wish, rows)
    held = [row.address_key for row in rows]
    wanted = port_addresses.decide(tx, current["network_id"], wish, owner, mac, held)
    port_addresses.replace(tx, current["id"], rows, wanted)


def keep(wish: Sequence[Values], rows: Sequence[Row[Any]]) -> list[Values]:
    """A wish for just a subnet is met by the address that the port has there already."""
    named = {item["ip_address"] for item in wish if "ip_address" in item}
    free = [row for row in rows if row.ip_address not in named]
    result = []
    for item in wish:
        if "ip_address" not in item:
            row = next((r for r in free if r.subnet_id == item.get("subnet_id")), None)
            if row is not None:
                free.remove(row)
                item = {"subnet_id": row.subnet_id, "ip_address": row.ip_address}
        result.append(item)
    return result


def _follow(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    """Objects that are compiled from the port change with it."""
    from virga.services.network.trunk import follow_parent

    if "binding:host_id" in changes:
        follow_parent(tx, context, current["id"], changes["binding:host_id"])
    if current["device_owner"].startswith("network:router") and current["device_id"]:
        tx.touch("router", current["device_id"])


def delete_port(tx: Tx, context: Context, current: Values) -> None:
    """From a request of the API: what belongs to a router or a floating IP is not deleted behind its back."""
    from virga.services.network import port_users

    port_users.refuse_delete(tx, current)
    port_users.release(tx, context, current["id"])
    remove(tx, current["id"])


def remove(tx: Tx, port_id: str) -> None:
    """The rows of a port; hosts learn."""
    for row in tx.all(
        select(port_security_group.c.security_group_id).where(port_security_group.c.port_id == port_id)
    ):
        tx.touch("security_group", row.security_group_id)
    tx.execute(delete(port_security_group).where(port_security_group.c.port_id == port_id))
    tx.execute(delete(ip_allocation).where(ip_allocation.c.port_id == port_id))
    tx.execute(delete(tag).where(tag.c.resource_id == port_id))
    tx.execute(delete(port).where(port.c.id == port_id))
    tx.touch("port", port_id)


def add_addresses(tx: Tx, port_id: str, items: Sequence[ipam.Fixed]) -> None:
    port_addresses.write(tx, port_id, items)
    bump(tx, port, port_id)
    tx.touch("port", port_id)


def drop_subnet(tx: Tx, port_id: str, subnet_id: str) -> None:
    """Give back the port's addresses in one subnet."""
    tx.execute(
        delete(ip_allocation).where(
            ip_allocation.c.port_id == port_id, ip_allocation.c.subnet_id == subnet_id
        )
    )
    bump(tx, port, port_id)
    tx.touch("port", port_id)


def addresses_of(tx: Tx, port_id: str) -> Sequence[Row[Any]]:
    return tx.all(_ADDRESSES, {"port": port_id})


# --- verbs for what happens on hosts


def set_status(tx: Tx, port_id: str, status: str, reason: str = "") -> str | None:
    """What an agent says became of the port; the old status, or None when there is no such port."""
    row = tx.first(select(port.c.status, port.c.status_reason).where(port.c.id == port_id))
    if row is None:
        return None
    if (row.status, row.status_reason) != (status, reason):
        tx.execute(
            update(port)
            .where(port.c.id == port_id)
            .values(
                status=status,
                status_reason=reason,
                updated_at=tx.now,
                revision_number=port.c.revision_number + 1,
            )
        )
    return str(row.status)


def network_of(tx: Tx, port_id: str) -> Row[Any] | None:
    return tx.first(select(network).join(port, port.c.network_id == network.c.id).where(port.c.id == port_id))
