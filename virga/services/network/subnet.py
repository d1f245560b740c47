"""Subnets: an address range of a network, its gateway, pools, names, routes and way of IPv6 configuration."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, insert, or_, select
from sqlalchemy.engine import Row

from virga.api.lists import equals
from virga.api.resource import UNSET, Context, Resource, Values, bump, change
from virga.db.tx import Tx
from virga.db.within import within
from virga.lib.ids import new_uuid
from virga.services.network import dhcp, faults, ipam, rbac
from virga.services.network import network as networks
from virga.services.network.attributes import SUBNET
from virga.services.network.models import ip_allocation, network, network_segment, port, subnet, tag
from virga.services.network.standard import add_tags, by_ids, fresh, tags_of, time

# Neutron takes any type that begins like an owner of the network's own, or with a letter of "compute:".
SERVICE_TYPES = ("network:", "neutron:", *"compute:")
MAX_NAMESERVERS = 5
MAX_ROUTES = 20
# Ports that hold an address only as long as the subnet is there.
AUTO_DELETE_OWNERS = ("network:dhcp", "network:dhcp_old", "network:distributed", "network:router_gateway_ha")

_EXTERNAL = select(network.c.id, network.c.external).where(within(network.c.id))


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    tags = tags_of(tx, [row.id for row in rows])
    external = {r.id: r.external for r in by_ids(tx, _EXTERNAL, sorted({row.network_id for row in rows}))}
    return [
        {
            "id": row.id,
            "name": row.name,
            "tenant_id": row.project_id,
            "project_id": row.project_id,
            "network_id": row.network_id,
            "ip_version": row.ip_version,
            "subnetpool_id": row.subnetpool_id,
            "enable_dhcp": row.enable_dhcp,
            "ipv6_ra_mode": row.ipv6_ra_mode,
            "ipv6_address_mode": row.ipv6_address_mode,
            "gateway_ip": row.gateway_ip,
            "cidr": row.cidr,
            "allocation_pools": row.allocation_pools,
            "host_routes": row.host_routes,
            "dns_nameservers": row.dns_nameservers,
            "description": row.description,
            "router:external": external.get(row.network_id, False),
            "service_types": row.service_types,
            "segment_id": row.segment_id,
            "revision_number": row.revision_number,
            "created_at": time(row.created_at),
            "updated_at": time(row.updated_at),
            "tags": tags.get(row.id, []),
        }
        for row in rows
    ]


def target(tx: Tx, context: Context, item: Values) -> Values:
    """Policies ask who owns the network and whether it is shared."""
    row = tx.first(select(network.c.project_id).where(network.c.id == item.get("network_id")))
    shared = rbac.shared_ids(tx, context, "network", [item["network_id"]]) if row else ()
    return {"network:tenant_id": row.project_id if row else None, "shared": bool(shared)}


def create(tx: Tx, context: Context, values: Values) -> str:
    from virga.services.network import subnetpool_allocation

    net = networks.exists(tx, context, values["network_id"])
    networks.check_least_mtu(net.id, net.mtu, values["ip_version"])
    _check_modes(values)
    siblings = tx.all(select(subnet).where(subnet.c.network_id == net.id))
    subnet_id = new_uuid()
    pool_id = subnetpool_allocation.choose(tx, context, values)
    if values["service_types"]:
        _check_service_types(values["service_types"])
    if pool_id is not None:
        values["cidr"] = subnetpool_allocation.take(tx, context, pool_id, values, siblings)
    elif values["cidr"] in (UNSET, None):
        raise faults.BadRequest(
            resource="subnets", reason="a subnetpool must be specified in the absence of a cidr"
        )
    cidr = _check_cidr(values)
    subnetpool_allocation.check_affinity(tx, pool_id, values["ip_version"], siblings)
    _check_overlap(values["cidr"], net.id, siblings)
    gateway, pools = _gateway_and_pools(values, cidr)
    _check_limits(values, subnet_id)
    _check_segment(tx, net.id, values["segment_id"])
    tx.execute(
        insert(subnet).values(
            id=subnet_id,
            project_id=values["project_id"],
            name=values["name"],
            description=values["description"],
            network_id=net.id,
            ip_version=values["ip_version"],
            cidr=values["cidr"],
            gateway_ip=gateway,
            enable_dhcp=values["enable_dhcp"],
            ipv6_ra_mode=values["ipv6_ra_mode"],
            ipv6_address_mode=values["ipv6_address_mode"],
            allocation_pools=pools,
            dns_nameservers=values["dns_nameservers"],
            host_routes=values["host_routes"],
            service_types=values["service_types"],
            subnetpool_id=pool_id,
            segment_id=values["segment_id"],
            **fresh(tx),
        )
    )
    add_tags(tx, subnet_id, values["tags"])
    bump(tx, network, net.id)
    tx.touch("subnet", subnet_id)
    tx.touch("network", net.id)
    _add_auto_addresses(tx, context, subnet_id)
    dhcp.subnet_changed(tx, context, net.id)
    return subnet_id


def _check_modes(values: Values) -> None:
    ra, mode = values["ipv6_ra_mode"], values["ipv6_address_mode"]
    if values["ip_version"] == 4:
        for name in ("ipv6_ra_mode", "ipv6_address_mode"):
            if values[name] is not None:
                raise faults.InvalidInput(reason=f"{name} is not valid when ip_version is 4")
        return
    if (ra or mode) and not values["enable_dhcp"]:
        raise faults.InvalidInput(
            reason="ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False"
        )
    if ra and mode and ra != mode:
        raise faults.InvalidInput(
            reason=f"ipv6_ra_mode set to '{ra}' with ipv6_address_mode set to '{mode}' is not valid. If both "
            "attributes are set, they must be the same value"
        )


def _check_cidr(values: Values) -> ipam.Net:
    net = ipaddress.ip_network(values["cidr"])
    version = values["ip_version"]
    if net.version != version:
        raise faults.InvalidInput(reason=f"cidr '{values['cidr']}' does not match the ip_version '{version}'")
    if net.is_multicast or net.is_loopback or net.prefixlen == 0:
        said = "multicast" if net.is_multicast else "loopback" if net.is_loopback else "0"
        raise faults.InvalidInput(
            reason=f"{values['cidr']} is {said} IP subnet"
            if said != "0"
            else "0 is not allowed as CIDR prefix length"
        )
    if version == 6 and net.prefixlen != 64 and values["ipv6_address_mode"] in ipam.AUTO_MODES:
        raise faults.InvalidInput(
            reason="Invalid CIDR {} for IPv6 address mode. OpenStack uses the EUI-64 address format, which requires "
            "the prefix to be /64".format(values["cidr"])
        )
    if values["enable_dhcp"] and version == 4 and net.prefixlen > 30:
        raise faults.InvalidInput(
            reason="Subnet has a prefix length that is incompatible with DHCP service enabled"
        )
    for server in values["dns_nameservers"]:
        if ipaddress.ip_address(server).version != version:
            raise faults.InvalidInput(
                reason=f"dns_nameserver '{server}' does not match the ip_version '{version}'"
            )
    _check_routes(values["host_routes"], version)
    return net


def _check_routes(routes: Sequence[Values], version: int) -> None:
    for route in routes:
        for name in ("destination", "nexthop"):
            if ipaddress.ip_interface(route[name]).version != version:
                raise faults.InvalidInput(reason=f"'{route[name]}' does not match the ip_version '{version}'")


def _check_overlap(cidr: str, network_id: str, siblings: Sequence[Row[Any]]) -> None:
    net = ipaddress.ip_network(cidr)
    for other in siblings:
        there = ipaddress.ip_network(other.cidr)
        if there.version == net.version and there.overlaps(net):
            raise faults.InvalidInput(
                reason=f"Requested subnet with cidr: {cidr} for network: {network_id} overlaps with another subnet"
            )


def _gateway_and_pools(values: Values, net: ipam.Net) -> tuple[str | None, list[dict[str, str]]]:
    gateway = values["gateway_ip"]
    if gateway is UNSET:
        gateway = _default_gateway(net)
    elif gateway is not None:
        _check_gateway(gateway, net)
    pools = values["allocation_pools"]
    if pools is UNSET or pools == []:
        return gateway, ipam.default_pools(net, None if gateway is None else ipaddress.ip_address(gateway))
    ipam.check_pools(pools, str(net), gateway)
    return gateway, pools


def _default_gateway(net: ipam.Net) -> str | None:
    """The first host of an IPv4 subnet; of an IPv6 one the anycast address that its routers share."""
    if net.version == 6:
        return str(net.network_address)
    if net.prefixlen == 32:
        return None
    return str(net.network_address + (0 if net.prefixlen == 31 else 1))


def _check_gateway(gateway: str, net: ipam.Net) -> None:
    address = ipaddress.ip_address(gateway)
    if address.version != net.version:
        raise faults.InvalidInput(
            reason=f"gateway_ip '{gateway}' does not match the ip_version '{net.version}'"
        )
    if (
        address.version == 4
        and net.prefixlen < 31
        and address in (net.network_address, net.broadcast_address)
    ):
        raise faults.InvalidInput(reason="Gateway is not valid on subnet")


def _check_segment(tx: Tx, network_id: str, segment_id: str | None, known: str | None = None) -> None:
    """A segment of the very network; once there is one it stays."""
    if segment_id is None or segment_id == known:
        return
    row = tx.first(select(network_segment.c.network_id).where(network_segment.c.id == segment_id))
    if row is None:
        raise faults.SegmentNotFound(id=segment_id)
    if row.network_id != network_id:
        raise faults.NetworkIdsDontMatch(subnet_network=network_id, segment_id=segment_id)
    if known is not None:
        raise faults.SubnetSegmentAssociationChangeNotAllowed(current_segment=known, new_segment=segment_id)


def _check_service_types(types: Sequence[str]) -> None:
    for item in types:
        if not item.startswith(SERVICE_TYPES):
            raise faults.InvalidInput(
                reason=f"Subnet service type {item} does not correspond to a valid device owner"
            )


def _check_limits(values: Values, subnet_id: str) -> None:
    if len(values.get("dns_nameservers", ())) > MAX_NAMESERVERS:
        raise faults.DNSNameServersExhausted(id=subnet_id, quota=MAX_NAMESERVERS)
    if len(values.get("host_routes", ())) > MAX_ROUTES:
        raise faults.HostRoutesExhausted(id=subnet_id, quota=MAX_ROUTES)


def _add_auto_addresses(tx: Tx, context: Context, subnet_id: str) -> None:
    """Ports that are on the network already make themselves an address of a new SLAAC subnet."""
    row = tx.first(select(subnet).where(subnet.c.id == subnet_id))
    assert row is not None
    if not ipam.is_auto(row):
        return
    from virga.services.network.port import add_addresses

    ports = tx.all(
        select(port.c.id, port.c.mac_address).where(
            port.c.network_id == row.network_id,
            port.c.device_owner.notin_([*ipam.ROUTER_OWNERS, "network:dhcp", "network:floatingip"]),
        )
    )
    net = ipaddress.ip_network(row.cidr)
    for item in ports:
        add_addresses(tx, item.id, [ipam.fixed(row, ipam.eui64(net, item.mac_address))])


def update(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    subnet_id, version = current["id"], current["ip_version"]
    columns = {k: v for k, v in changes.items() if k not in ("gateway_ip", "allocation_pools")}
    _check_limits(changes, subnet_id)
    for server in changes.get("dns_nameservers", ()):
        if ipaddress.ip_address(server).version != version:
            raise faults.InvalidInput(
                reason=f"dns_nameserver '{server}' does not match the ip_version '{version}'"
            )
    _check_routes(changes.get("host_routes", ()), version)
    _check_segment(tx, current["network_id"], changes.get("segment_id"), current["segment_id"])
    if changes.get("service_types"):
        _check_service_types(changes["service_types"])
    if changes.get("enable_dhcp") is False and (current["ipv6_ra_mode"] or current["ipv6_address_mode"]):
        raise faults.InvalidInput(
            reason="ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False"
        )
    pools: list[Values] = changes.get("allocation_pools") or current["allocation_pools"]
    gateway = changes.get("gateway_ip", current["gateway_ip"])
    if "allocation_pools" in changes:
        ipam.check_pools(pools, current["cidr"], gateway)
        columns["allocation_pools"] = pools
    if "gateway_ip" in changes and gateway != current["gateway_ip"]:
        if gateway is not None:
            _check_gateway(gateway, ipaddress.ip_network(current["cidr"]))
            ipam.check_gateway_outside(pools, gateway)
        _refuse_if_gateway_is_used(tx, current)
        columns["gateway_ip"] = gateway
    change(tx, subnet, subnet_id, columns)
    tx.touch("subnet", subnet_id)
    if "enable_dhcp" in changes:
        dhcp.subnet_changed(tx, context, current["network_id"])


def _refuse_if_gateway_is_used(tx: Tx, current: Values) -> None:
    if current["gateway_ip"] is None:
        return
    used = tx.first(
        select(port.c.id)
        .join(ip_allocation, ip_allocation.c.port_id == port.c.id)
        .where(
            ip_allocation.c.subnet_id == current["id"],
            ip_allocation.c.ip_address == current["gateway_ip"],
            port.c.device_owner.in_(ipam.ROUTER_OWNERS),
        )
    )
    if used is not None:
        raise faults.GatewayIpInUse(ip=current["gateway_ip"], port_id=used.id)


def delete_subnet(tx: Tx, context: Context, current: Values) -> None:
    """Refused while a port of a user has an address here; addresses that hosts make for themselves just go."""
    subnet_id = current["id"]
    auto = current["ipv6_address_mode"] in ipam.AUTO_MODES
    rows = tx.all(
        select(port.c.id, port.c.device_owner)
        .join(ip_allocation, ip_allocation.c.port_id == port.c.id)
        .where(ip_allocation.c.subnet_id == subnet_id)
    )
    for row in rows:
        router = row.device_owner in ipam.ROUTER_OWNERS
        if row.device_owner not in AUTO_DELETE_OWNERS and (router or not auto):
            raise faults.SubnetInUse(
                id=subnet_id, reason="One or more ports have an IP allocation from this subnet."
            )
    tx.execute(delete(ip_allocation).where(ip_allocation.c.subnet_id == subnet_id))
    for row in rows:
        bump(tx, port, row.id)
        tx.touch("port", row.id)
    remove_row(tx, subnet_id)
    bump(tx, network, current["network_id"])
    dhcp.subnet_changed(tx, context, current["network_id"])


def remove_row(tx: Tx, subnet_id: str) -> None:
    tx.execute(delete(ip_allocation).where(ip_allocation.c.subnet_id == subnet_id))
    tx.execute(delete(subnet).where(subnet.c.id == subnet_id))
    tx.execute(delete(tag).where(tag.c.resource_id == subnet_id))
    tx.touch("subnet", subnet_id)


def scope(context: Context) -> ColumnElement[bool]:
    """One's own, those on one's own networks, and those on networks that are shared or external."""
    mine = exists(
        select(1).where(network.c.id == subnet.c.network_id, network.c.project_id == context.project_id)
    )
    return or_(
        subnet.c.project_id == context.project_id,
        mine,
        subnet.c.network_id.in_(rbac.granted("network", context)),
    )


def _shared_filter(context: Context, values: list[str]) -> ColumnElement[bool]:
    inner = rbac.shared_filter("network", network)(context, values)
    return subnet.c.network_id.in_(select(network.c.id).where(inner))


def _external_filter(context: Context, values: list[str]) -> ColumnElement[bool]:
    return subnet.c.network_id.in_(select(network.c.id).where(equals(network.c.external, values)))


RESOURCE = Resource(
    name="subnet",
    collection="subnets",
    table=subnet,
    attributes=SUBNET,
    not_found=lambda subnet_id: faults.SubnetNotFound(id=subnet_id),
    render=render,
    create=create,
    update=update,
    delete=delete_subnet,
    scope=scope,
    target=target,
    filters={"shared": _shared_filter, "router:external": _external_filter},
    quota="subnet",
    has_tags=True,
    tag_table=tag,
    changed=lambda tx, subnet_id: bump(tx, subnet, subnet_id),
)
