"""Which addresses a port asks for, and the rows that hold them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select
from sqlalchemy.engine import Row

from virga.api.resource import UNSET, Values
from virga.db.tx import Tx
from virga.services.network import faults, ipam
from virga.services.network.models import ip_allocation, subnet

MAX_FIXED_IPS = 5
_SUBNETS = select(subnet).where(subnet.c.network_id == bindparam("network"))


def subnets_of(tx: Tx, network_id: str) -> Sequence[Row[Any]]:
    return tx.all(_SUBNETS, {"network": network_id})


def usable(subnets: Sequence[Row[Any]], device_owner: str) -> list[Row[Any]]:
    """Subnets whose service types fit the owner of the port; a subnet without types fits all but loses to one with."""
    fitting = [s for s in subnets if any(device_owner.startswith(t) for t in s.service_types)]
    if fitting:
        families = {s.ip_version for s in fitting}
        return fitting + [s for s in subnets if not s.service_types and s.ip_version not in families]
    return [s for s in subnets if not s.service_types]


def decide(
    tx: Tx, network_id: str, wish: Any, device_owner: str, mac: str, held: Sequence[str] = ()
) -> list[ipam.Fixed]:
    """The addresses for a new port: as asked, or one of each family, and those that it makes by itself."""
    subnets = subnets_of(tx, network_id)
    if not subnets and (wish is UNSET or not wish):
        return []
    result: list[ipam.Fixed] = []
    if wish is UNSET:
        result = _one_of_each(tx, network_id, usable(subnets, device_owner), device_owner)
        candidates = usable(subnets, device_owner)
    else:
        result = asked(tx, network_id, subnets, wish, device_owner, mac, held)
        candidates = list(subnets) if wish else []
    if device_owner in ipam.ROUTER_OWNERS:
        return result
    used = {item.subnet_id for item in result}
    for row in candidates:
        if ipam.is_auto(row) and row.id not in used:
            result.append(ipam.fixed(row, ipam.eui64(ipaddress.ip_network(row.cidr), mac)))
    return result


def _one_of_each(tx: Tx, network_id: str, subnets: Sequence[Row[Any]], device_owner: str) -> list[ipam.Fixed]:
    result = []
    for version in (4, 6):
        candidates = [s for s in subnets if s.ip_version == version and not ipam.is_auto(s)]
        if not candidates:
            continue
        found = next((f for s in candidates if (f := ipam.next_free(tx, s)) is not None), None)
        if found is None:
            raise faults.IpAddressGenerationFailure(net_id=network_id)
        result.append(found)
    return result


def asked(
    tx: Tx,
    network_id: str,
    subnets: Sequence[Row[Any]],
    wish: Sequence[Values],
    device_owner: str,
    mac: str,
    held: Sequence[str] = (),
) -> list[ipam.Fixed]:
    """What ``fixed_ips`` of a request names, checked; ``held`` are keys that the port has already."""
    if len(wish) > MAX_FIXED_IPS and not device_owner.startswith("network:"):
        raise faults.InvalidInput(reason="Exceeded maximum amount of fixed ips per port.")
    by_id = {row.id: row for row in subnets}
    result: list[ipam.Fixed] = []
    for item in wish:
        row = _subnet_for(by_id, item, network_id)
        if "ip_address" in item:
            address = ipaddress.ip_address(item["ip_address"])
            if not ipam.fits(row, address, device_owner):
                raise faults.InvalidIpForSubnet(ip=item["ip_address"])
            if (
                ipam.is_auto(row)
                and device_owner not in ipam.ROUTER_OWNERS
                and address != ipam.eui64(ipaddress.ip_network(row.cidr), mac)
            ):
                raise faults.InvalidInput(
                    reason=f"IPv6 address {item['ip_address']} cannot be directly assigned to a port on subnet "
                    f"{row.id} as the subnet is configured for automatic addresses"
                )
            result.append(ipam.fixed(row, address))
        elif ipam.is_auto(row) and device_owner not in ipam.ROUTER_OWNERS:
            result.append(ipam.fixed(row, ipam.eui64(ipaddress.ip_network(row.cidr), mac)))
        else:
            mine = [f.key for f in result if f.subnet_id == row.id]
            found = ipam.next_free(tx, row, mine)
            if found is None:
                raise faults.IpAddressGenerationFailure(net_id=network_id)
            result.append(found)
    busy = ipam.allocated(tx, [f for f in result if f.key not in held])
    if busy is not None:
        raise faults.IpAddressAlreadyAllocated(ip=busy.ip_address, subnet_id=busy.subnet_id)
    return result


def _subnet_for(by_id: dict[str, Row[Any]], item: Values, network_id: str) -> Row[Any]:
    if "subnet_id" in item:
        row = by_id.get(item["subnet_id"])
        if row is None:
            raise faults.InvalidInput(
                reason=f"Failed to create port on network {network_id}, because fixed_ips included invalid subnet "
                f"{item['subnet_id']}"
            )
        return row
    if "ip_address" not in item:
        raise faults.InvalidInput(reason="IP allocation requires subnet_id or ip_address")
    address = ipaddress.ip_address(item["ip_address"])
    for row in by_id.values():
        if ipam.fits(row, address):
            return row
    raise faults.InvalidIpForNetwork(ip=item["ip_address"])


def write(tx: Tx, port_id: str, items: Sequence[ipam.Fixed]) -> None:
    if not items:
        return
    start = tx.scalar(select(func.count()).where(ip_allocation.c.port_id == port_id)) or 0
    tx.execute(insert(ip_allocation), rows(port_id, items, start))


def rows(port_id: str, items: Sequence[ipam.Fixed], start: int = 0) -> list[Values]:
    return [
        {
            "subnet_id": item.subnet_id,
            "address_key": item.key,
            "ip_address": item.ip_address,
            "port_id": port_id,
            "position": start + index,
        }
        for index, item in enumerate(items)
    ]


def replace(tx: Tx, port_id: str, current: Sequence[Row[Any]], wanted: Sequence[ipam.Fixed]) -> bool:
    """Make the rows those wanted, keeping what stays. True if anything changed."""
    have = {(row.subnet_id, row.address_key) for row in current}
    want = {(item.subnet_id, item.key) for item in wanted}
    for subnet_id, key in have - want:
        tx.execute(
            delete(ip_allocation).where(
                ip_allocation.c.subnet_id == subnet_id, ip_allocation.c.address_key == key
            )
        )
    added = [item for item in wanted if (item.subnet_id, item.key) not in have]
    write(tx, port_id, added)
    return have != want
