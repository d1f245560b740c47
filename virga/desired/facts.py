"""Rows of the Network service as the compiler wants them: one frozen fact an object, loaded alone or all at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.engine import Row

from virga.db.tx import Tx
from virga.services.network.models import ip_allocation, network, network_segment, port, subnet, subnetpool
from virga.services.network.models_l3 import (
    address_group,
    address_group_address,
    floating_ip,
    port_forwarding,
    port_security_group,
    router,
    security_group,
    security_group_rule,
    sub_port,
    trunk,
)


@dataclass(frozen=True, slots=True)
class NetworkFact:
    id: str
    mtu: int
    dns_domain: str
    network_type: str
    physical_network: str | None
    segmentation_id: int | None


@dataclass(frozen=True, slots=True)
class SubnetFact:
    id: str
    network_id: str
    cidr: str
    prefixlen: int
    ip_version: int
    enable_dhcp: bool
    gateway_ip: str | None
    dns_nameservers: tuple[str, ...]
    host_routes: tuple[tuple[str, str], ...]
    ipv6_address_mode: str | None
    ipv6_ra_mode: str | None
    address_scope_id: str | None


@dataclass(frozen=True, slots=True)
class SubPortFact:
    port_id: str
    segmentation_id: int


@dataclass(frozen=True, slots=True)
class PortFact:
    id: str
    network_id: str
    mac_address: str
    admin_state_up: bool
    device_id: str
    device_owner: str
    security: bool
    dns_name: str
    pairs: tuple[tuple[str, str], ...]
    dhcp_options: tuple[tuple[str, str | None, int], ...]
    host: str
    bound: bool
    hybrid: bool
    fixed_ips: tuple[tuple[str, str], ...]
    """Subnet id and address."""
    groups: tuple[str, ...]
    trunk_id: str | None
    sub_ports: tuple[SubPortFact, ...]

    @property
    def is_router_interface(self) -> bool:
        return self.device_owner.startswith("network:router_interface")

    @property
    def is_router(self) -> bool:
        return self.is_router_interface or self.device_owner == "network:router_gateway"


@dataclass(frozen=True, slots=True)
class RuleFact:
    id: str
    direction: str
    ethertype: str
    protocol: str | None
    port_range_min: int | None
    port_range_max: int | None
    remote_ip_prefix: str | None
    remote_group_id: str | None
    remote_address_group_id: str | None


@dataclass(frozen=True, slots=True)
class GroupFact:
    id: str
    stateful: bool
    rules: tuple[RuleFact, ...]


@dataclass(frozen=True, slots=True)
class RouterFact:
    id: str
    name: str
    admin_state_up: bool
    enable_snat: bool
    gw_port_id: str | None
    routes: tuple[tuple[str, str], ...]
    host: str


@dataclass(frozen=True, slots=True)
class FloatingFact:
    id: str
    address: str
    router_id: str | None
    port_id: str | None
    fixed_ip_address: str | None


@dataclass(frozen=True, slots=True)
class ForwardingFact:
    id: str
    floatingip_id: str
    protocol: str
    external_port: str
    internal_ip_address: str
    internal_port: str


def _only(column: ColumnElement[Any], object_id: str | None) -> list[ColumnElement[bool]]:
    return [] if object_id is None else [column == object_id]


def networks(tx: Tx, only: str | None = None) -> Iterable[NetworkFact]:
    segments: dict[str, Row[Any]] = {}
    table = network_segment
    for row in tx.all(select(table).where(*_only(table.c.network_id, only))):
        segments.setdefault(row.network_id, row)
    for row in tx.all(select(network).where(*_only(network.c.id, only))):
        segment = segments.get(row.id)
        if segment is None:
            continue
        local = segment.network_type == "local"
        yield NetworkFact(
            row.id,
            row.mtu,
            row.dns_domain,
            segment.network_type,
            None if local else segment.physical_network or None,
            segment.segmentation_id or None,
        )


def subnets(tx: Tx, only: str | None = None) -> Iterable[SubnetFact]:
    query = select(subnet, subnetpool.c.address_scope_id).outerjoin(
        subnetpool, subnetpool.c.id == subnet.c.subnetpool_id
    )
    for row in tx.all(query.where(*_only(subnet.c.id, only))):
        yield SubnetFact(
            id=row.id,
            network_id=row.network_id,
            cidr=row.cidr,
            prefixlen=int(row.cidr.rpartition("/")[2]),
            ip_version=row.ip_version,
            enable_dhcp=row.enable_dhcp,
            gateway_ip=row.gateway_ip,
            dns_nameservers=tuple(row.dns_nameservers),
            host_routes=tuple((r["destination"], r["nexthop"]) for r in row.host_routes),
            ipv6_address_mode=row.ipv6_address_mode,
            ipv6_ra_mode=row.ipv6_ra_mode,
            address_scope_id=row.address_scope_id,
        )


def ports(tx: Tx, only: str | None = None) -> Iterable[PortFact]:
    fixed: dict[str, list[tuple[str, str]]] = {}
    query = select(ip_allocation).where(*_only(ip_allocation.c.port_id, only))
    for row in tx.all(query.order_by(ip_allocation.c.position)):
        fixed.setdefault(row.port_id, []).append((row.subnet_id, row.ip_address))
    groups: dict[str, list[str]] = {}
    for row in tx.all(select(port_security_group).where(*_only(port_security_group.c.port_id, only))):
        groups.setdefault(row.port_id, []).append(row.security_group_id)
    trunks = _trunks(tx, only)
    for row in tx.all(select(port).where(*_only(port.c.id, only))):
        trunk_id, sub_ports = trunks.get(row.id, (None, ()))
        yield PortFact(
            id=row.id,
            network_id=row.network_id,
            mac_address=row.mac_address,
            admin_state_up=row.admin_state_up,
            device_id=row.device_id,
            device_owner=row.device_owner,
            security=row.port_security_enabled and not row.device_owner.startswith("network:"),
            dns_name=row.dns_name,
            pairs=tuple((p["ip_address"], p["mac_address"]) for p in row.allowed_address_pairs),
            dhcp_options=tuple(
                (o["opt_name"], o["opt_value"], o.get("ip_version", 4)) for o in row.extra_dhcp_opts
            ),
            host=row.host_id,
            bound=row.vif_type == "ovs",
            hybrid=bool(row.vif_details.get("ovs_hybrid_plug")),
            fixed_ips=tuple(fixed.get(row.id, ())),
            groups=tuple(sorted(groups.get(row.id, ()))),
            trunk_id=trunk_id,
            sub_ports=sub_ports,
        )


def _trunks(tx: Tx, only: str | None) -> dict[str, tuple[str, tuple[SubPortFact, ...]]]:
    rows = tx.all(select(trunk.c.id, trunk.c.port_id).where(*_only(trunk.c.port_id, only)))
    found = {}
    for row in rows:
        subs = tx.all(select(sub_port).where(sub_port.c.trunk_id == row.id))
        found[row.port_id] = (row.id, tuple(SubPortFact(s.port_id, s.segmentation_id) for s in subs))
    return found


def groups(tx: Tx, only: str | None = None) -> Iterable[GroupFact]:
    table = security_group_rule
    rules: dict[str, list[RuleFact]] = {}
    for row in tx.all(select(table).where(*_only(table.c.security_group_id, only)).order_by(table.c.id)):
        rules.setdefault(row.security_group_id, []).append(
            RuleFact(
                row.id,
                row.direction,
                row.ethertype,
                row.protocol,
                row.port_range_min,
                row.port_range_max,
                row.remote_ip_prefix,
                row.remote_group_id,
                row.remote_address_group_id,
            )
        )
    for row in tx.all(select(security_group).where(*_only(security_group.c.id, only))):
        yield GroupFact(row.id, row.stateful, tuple(rules.get(row.id, ())))


def address_groups(tx: Tx, only: str | None = None) -> Iterable[tuple[str, tuple[str, ...]]]:
    table = address_group_address
    addresses: dict[str, list[str]] = {}
    for row in tx.all(select(table).where(*_only(table.c.address_group_id, only))):
        addresses.setdefault(row.address_group_id, []).append(row.address)
    for row in tx.all(select(address_group.c.id).where(*_only(address_group.c.id, only))):
        yield row.id, tuple(sorted(addresses.get(row.id, ())))


def routers(tx: Tx, only: str | None = None) -> Iterable[RouterFact]:
    for row in tx.all(select(router).where(*_only(router.c.id, only))):
        yield RouterFact(
            row.id,
            row.name,
            row.admin_state_up,
            row.enable_snat,
            row.gw_port_id,
            tuple((r["destination"], r["nexthop"]) for r in row.routes),
            row.host,
        )


def floating_ips(tx: Tx, only: str | None = None) -> Iterable[FloatingFact]:
    for row in tx.all(select(floating_ip).where(*_only(floating_ip.c.id, only))):
        yield FloatingFact(row.id, row.floating_ip_address, row.router_id, row.port_id, row.fixed_ip_address)


def _range(start: int, end: int) -> str:
    return str(start) if start == end else f"{start}:{end}"


def port_forwardings(tx: Tx, only: str | None = None) -> Iterable[ForwardingFact]:
    for row in tx.all(select(port_forwarding).where(*_only(port_forwarding.c.id, only))):
        yield ForwardingFact(
            row.id,
            row.floatingip_id,
            row.protocol,
            _range(row.external_port_start, row.external_port_end),
            row.internal_ip_address,
            _range(row.internal_port_start, row.internal_port_end),
        )
