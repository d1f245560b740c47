"""Which address a port gets: pools, checks, and the next free address in time that does not grow with the pool."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.engine import Row

from virga.api.resource import Values
from virga.db.tx import Tx
from virga.services.network import faults
from virga.services.network.models import ip_allocation

Address = IPv4Address | IPv6Address
Net = IPv4Network | IPv6Network
AUTO_MODES = ("slaac", "dhcpv6-stateless")
ROUTER_OWNERS = (
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
    "network:router_centralized_snat",
)
PROBES = 16
WALK = 512

_TOP = select(func.max(ip_allocation.c.address_key)).where(
    ip_allocation.c.subnet_id == bindparam("subnet"),
    ip_allocation.c.address_key.between(bindparam("first"), bindparam("last")),
)
_TAKEN = select(ip_allocation.c.address_key).where(
    ip_allocation.c.subnet_id == bindparam("subnet"),
    ip_allocation.c.address_key.in_(bindparam("keys", expanding=True)),
)
_WALK = (
    select(ip_allocation.c.address_key)
    .where(
        ip_allocation.c.subnet_id == bindparam("subnet"),
        ip_allocation.c.address_key.between(bindparam("first"), bindparam("last")),
    )
    .order_by(ip_allocation.c.address_key)
    .limit(WALK)
)


@dataclass(frozen=True, slots=True)
class Fixed:
    """One address of a port, decided."""

    subnet_id: str
    ip_address: str
    key: str


def key_of(number: int, version: int) -> str:
    """The address as text of one width: sorts as the number does."""
    return f"{number:08x}" if version == 4 else f"{number:032x}"


def is_auto(subnet: Row[Any]) -> bool:
    """Hosts of the subnet make their own addresses from the MAC (SLAAC or stateless DHCPv6)."""
    return subnet.ip_version == 6 and subnet.ipv6_address_mode in AUTO_MODES


def eui64(prefix: Net, mac: str) -> Address:
    """The address that a host with this MAC gives itself."""
    octets = bytes.fromhex(mac.replace(":", ""))
    interface = bytes((octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]))
    return IPv6Address(int(prefix.network_address) | int.from_bytes(interface, "big"))


def fixed(subnet: Row[Any], address: Address) -> Fixed:
    return Fixed(subnet.id, str(address), key_of(int(address), subnet.ip_version))


def fits(subnet: Row[Any], address: Address, device_owner: str = "") -> bool:
    """A host of the subnet may have the address."""
    net = ipaddress.ip_network(subnet.cidr)
    if address.version != net.version or address not in net:
        return False
    if net.version == 4:
        return net.prefixlen >= 31 or address not in (net.network_address, net.broadcast_address)
    return net.prefixlen >= 127 or address != net.network_address or device_owner in ROUTER_OWNERS


def next_free(tx: Tx, subnet: Row[Any], taken: Iterable[str] = ()) -> Fixed | None:
    """A free address of the pools: the one above the highest in use, else one that was given back."""
    own = set(taken)
    kind: Callable[[int], Address] = IPv4Address if subnet.ip_version == 4 else IPv6Address
    for pool in subnet.allocation_pools:
        first, last = int(ipaddress.ip_address(pool["start"])), int(ipaddress.ip_address(pool["end"]))
        number = _above_highest(tx, subnet, first, last, own)
        if number is None and last - first > 4096:
            number = _by_chance(tx, subnet, first, last, own)
        if number is None:
            number = _lowest_gap(tx, subnet, first, last, own)
        if number is not None:
            return fixed(subnet, kind(number))
    return None


def _above_highest(tx: Tx, subnet: Row[Any], first: int, last: int, own: set[str]) -> int | None:
    version = subnet.ip_version
    top = tx.scalar(
        _TOP, {"subnet": subnet.id, "first": key_of(first, version), "last": key_of(last, version)}
    )
    number = first if top is None else int(top, 16) + 1
    while number <= last and key_of(number, version) in own:
        number += 1
    return number if number <= last else None


def _by_chance(tx: Tx, subnet: Row[Any], first: int, last: int, own: set[str]) -> int | None:
    numbers = [random.randint(first, last) for _ in range(PROBES)]
    keys = [key_of(number, subnet.ip_version) for number in numbers]
    busy = {row.address_key for row in tx.all(_TAKEN, {"subnet": subnet.id, "keys": keys})} | own
    return next((n for n, key in zip(numbers, keys, strict=True) if key not in busy), None)


def _lowest_gap(tx: Tx, subnet: Row[Any], first: int, last: int, own: set[str]) -> int | None:
    version = subnet.ip_version
    candidate = first
    while candidate <= last:
        rows = tx.all(
            _WALK, {"subnet": subnet.id, "first": key_of(candidate, version), "last": key_of(last, version)}
        )
        busy = {row.address_key for row in rows} | own
        end = int(rows[-1].address_key, 16) if len(rows) == WALK else last
        while candidate <= end:
            if key_of(candidate, version) not in busy:
                return candidate
            candidate += 1
    return None


def allocated(tx: Tx, items: Sequence[Fixed]) -> Fixed | None:
    """The first of these addresses that is in use already."""
    for item in items:
        if tx.first(_TAKEN, {"subnet": item.subnet_id, "keys": [item.key]}) is not None:
            return item
    return None


# --- pools of a subnet


def default_pools(net: Net, gateway: Address | None) -> list[dict[str, str]]:
    """Everything but the network's own addresses and the gateway."""
    first, last = int(net.network_address), int(net.broadcast_address)
    if net.version == 4 and net.prefixlen < 31:
        first, last = first + 1, last - 1
    elif net.version == 6 and net.prefixlen < 127:
        first += 1
    kind: Callable[[int], Address] = IPv4Address if net.version == 4 else IPv6Address
    ranges = [(first, last)]
    if gateway is not None and first <= int(gateway) <= last:
        ranges = [(first, int(gateway) - 1), (int(gateway) + 1, last)]
    return [{"start": str(kind(a)), "end": str(kind(b))} for a, b in ranges if a <= b]


def check_pools(pools: Sequence[Values], cidr: str, gateway: str | None) -> None:
    """Pools lie in the subnet, in order, apart from one another and from the gateway."""
    net = ipaddress.ip_network(cidr)
    ranges: list[tuple[Address, Address]] = []
    low, high = net.network_address, net.broadcast_address
    if net.version == 4 and net.prefixlen < 31:
        low, high = low + 1, high - 1
    for pool in pools:
        start, end = ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])
        said = f"{pool['start']}-{pool['end']}"
        if start.version != net.version or end.version != net.version:
            raise faults.InvalidAllocationPool(pool=said)
        if int(end) < int(start):
            raise faults.InvalidAllocationPool(pool=said)
        if int(start) < int(low) or int(end) > int(high):
            raise faults.OutOfBoundsAllocationPool(pool=said, cidr=cidr)
        for other_start, other_end in ranges:
            if int(start) <= int(other_end) and int(other_start) <= int(end):
                raise faults.OverlappingAllocationPools(
                    pool_1=f"{other_start}-{other_end}", pool_2=said, cidr=cidr
                )
        ranges.append((start, end))
    check_gateway_outside(pools, gateway)


def check_gateway_outside(pools: Sequence[Values], gateway: str | None) -> None:
    if gateway is None:
        return
    address = int(ipaddress.ip_address(gateway))
    for pool in pools:
        if int(ipaddress.ip_address(pool["start"])) <= address <= int(ipaddress.ip_address(pool["end"])):
            raise faults.GatewayConflictWithAllocationPools(ip=gateway, pool=f"{pool['start']}-{pool['end']}")
