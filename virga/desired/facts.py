"""Rows of the Network service as the compiler wants them: one frozen fact an object, some or all at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.engine import Row

from virga.db.tx import Tx
from virga.db.within import within
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
from virga.services.network.models_metering import metering_label, metering_label_rule
from virga.services.network.models_qos import qos_policy, qos_rule


@dataclass(frozen=True, slots=True)
class NetworkFact:
    id: str
    mtu: int
    dns_domain: str
    network_type: str
    physical_network: str | None
    segmentation_id: int | None
    qos_policy_id: str | None


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
    next_host: str
    """Where its running instance comes to: the port waits there, shut."""
    bound: bool
    hybrid: bool
    fixed_ips: tuple[tuple[str, str], ...]
    """Subnet id and address."""
    groups: tuple[str, ...]
    trunk_id: str | None
    sub_ports: tuple[SubPortFact, ...]
    qos_policy_id: str | None

    @property
    def hosts(self) -> tuple[str, ...]:
        """All that must know it."""
        return tuple(host for host in (self.host, self.next_host) if host)

    @property
    def is_router_interface(self) -> bool:
        return self.device_owner.startswith("network:router_interface")

    @property
    def is_router(self) -> bool:
        return self.is_router_interface or self.device_owner == "network:router_gateway"


@dataclass(frozen=True, slots=True)
class QosRuleFact:
    type: str
    direction: str
    limit: int
    burst: int


@dataclass(frozen=True, slots=True)
class QosFact:
    """A policy by its rules that hosts realise."""

    id: str
    rules: tuple[QosRuleFact, ...]


@dataclass(frozen=True, slots=True)
class MeterRuleFact:
    direction: str
    excluded: bool
    source: str | None
    destination: str | None


@dataclass(frozen=True, slots=True)
class LabelFact:
    """A metering label. ``project_id`` None: it counts for the routers of all projects."""

    id: str
    project_id: str | None
    rules: tuple[MeterRuleFact, ...]


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
    project_id: str
    gw_port_id: str | None
    default_route_ecmp: bool
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


Ids = Sequence[str] | None
"""Of these objects; None for all."""


class _Rows:
    """A query for all objects, or for those with some ids: one statement either way, kept for the next time."""

    def __init__(self, query: Select[Any], key: ColumnElement[Any], *order: ColumnElement[Any]) -> None:
        self._all = query.order_by(*order)
        self._some = query.where(within(key)).order_by(*order)

    def __call__(self, tx: Tx, ids: Ids) -> Sequence[Row[Any]]:
        return tx.all(self._all) if ids is None else tx.all(self._some, {"ids": ids})


_SEGMENTS = _Rows(select(network_segment), network_segment.c.network_id)
_NETWORKS = _Rows(select(network), network.c.id)
_SUBNETS = _Rows(
    select(subnet, subnetpool.c.address_scope_id).outerjoin(
        subnetpool, subnetpool.c.id == subnet.c.subnetpool_id
    ),
    subnet.c.id,
)
_FIXED = _Rows(select(ip_allocation), ip_allocation.c.port_id, ip_allocation.c.position)
_MEMBERSHIPS = _Rows(select(port_security_group), port_security_group.c.port_id)
_PORTS = _Rows(select(port), port.c.id)
_TRUNKS = _Rows(select(trunk.c.id, trunk.c.port_id), trunk.c.port_id)
_SUB_PORTS = _Rows(select(sub_port), sub_port.c.trunk_id)
_RULES = _Rows(select(security_group_rule), security_group_rule.c.security_group_id, security_group_rule.c.id)
_GROUPS = _Rows(select(security_group), security_group.c.id)
_ADDRESSES = _Rows(select(address_group_address), address_group_address.c.address_group_id)
_ADDRESS_GROUPS = _Rows(select(address_group.c.id), address_group.c.id)
_ROUTERS = _Rows(select(router), router.c.id)
_FLOATING = _Rows(select(floating_ip), floating_ip.c.id)
_LABELS = _Rows(select(metering_label), metering_label.c.id)
_LABEL_RULES = _Rows(
    select(metering_label_rule), metering_label_rule.c.metering_label_id, metering_label_rule.c.id
)
_QOS_RULES = _Rows(select(qos_rule), qos_rule.c.qos_policy_id, qos_rule.c.id)
_QOS_POLICIES = _Rows(select(qos_policy.c.id), qos_policy.c.id)
_FORWARDINGS = _Rows(select(port_forwarding), port_forwarding.c.id)


def networks(tx: Tx, only: Ids = None) -> Iterable[NetworkFact]:
    segments: dict[str, Row[Any]] = {}
    for row in _SEGMENTS(tx, only):
        segments.setdefault(row.network_id, row)
    for row in _NETWORKS(tx, only):
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
            row.qos_policy_id,
        )


def subnets(tx: Tx, only: Ids = None) -> Iterable[SubnetFact]:
    for row in _SUBNETS(tx, only):
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


def ports(tx: Tx, only: Ids = None) -> Iterable[PortFact]:
    fixed: dict[str, list[tuple[str, str]]] = {}
    for row in _FIXED(tx, only):
        fixed.setdefault(row.port_id, []).append((row.subnet_id, row.ip_address))
    groups: dict[str, list[str]] = {}
    for row in _MEMBERSHIPS(tx, only):
        groups.setdefault(row.port_id, []).append(row.security_group_id)
    trunks = _trunks(tx, only)
    for row in _PORTS(tx, only):
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
            next_host=str(row.profile.get("migrating_to") or ""),
            bound=row.vif_type == "ovs",
            hybrid=bool(row.vif_details.get("ovs_hybrid_plug")),
            fixed_ips=tuple(fixed.get(row.id, ())),
            groups=tuple(sorted(groups.get(row.id, ()))),
            trunk_id=trunk_id,
            sub_ports=sub_ports,
            qos_policy_id=row.qos_policy_id,
        )


def _trunks(tx: Tx, only: Ids) -> dict[str, tuple[str, tuple[SubPortFact, ...]]]:
    trunks = _TRUNKS(tx, only)
    if not trunks:
        return {}
    subs: dict[str, list[SubPortFact]] = {}
    for row in _SUB_PORTS(tx, None if only is None else [row.id for row in trunks]):
        subs.setdefault(row.trunk_id, []).append(SubPortFact(row.port_id, row.segmentation_id))
    return {row.port_id: (row.id, tuple(subs.get(row.id, ()))) for row in trunks}


def groups(tx: Tx, only: Ids = None) -> Iterable[GroupFact]:
    rules: dict[str, list[RuleFact]] = {}
    for row in _RULES(tx, only):
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
    for row in _GROUPS(tx, only):
        yield GroupFact(row.id, row.stateful, tuple(rules.get(row.id, ())))


def address_groups(tx: Tx, only: Ids = None) -> Iterable[tuple[str, tuple[str, ...]]]:
    addresses: dict[str, list[str]] = {}
    for row in _ADDRESSES(tx, only):
        addresses.setdefault(row.address_group_id, []).append(row.address)
    for row in _ADDRESS_GROUPS(tx, only):
        yield row.id, tuple(sorted(addresses.get(row.id, ())))


def qos_policies(tx: Tx, only: Ids = None) -> Iterable[QosFact]:
    rules: dict[str, list[QosRuleFact]] = {}
    for row in _QOS_RULES(tx, only):
        if row.type == "bandwidth_limit":
            limit, burst = row.max_kbps, row.max_burst_kbps
        elif row.type == "packet_rate_limit":
            limit, burst = row.max_kpps, row.max_burst_kpps
        elif row.type == "dscp_marking":
            limit, burst = row.dscp_mark, 0
        else:
            continue
        fact = QosRuleFact(row.type, row.direction, limit, burst or 0)
        rules.setdefault(row.qos_policy_id, []).append(fact)
    for row in _QOS_POLICIES(tx, only):
        yield QosFact(row.id, tuple(rules.get(row.id, ())))


def metering_labels(tx: Tx, only: Ids = None) -> Iterable[LabelFact]:
    rules: dict[str, list[MeterRuleFact]] = {}
    for row in _LABEL_RULES(tx, only):
        source, destination = row.source_ip_prefix, row.destination_ip_prefix
        if row.remote_ip_prefix is not None:
            # As OpenStack's agent has it: of what leaves the source, of what arrives the destination.
            source, destination = (
                (row.remote_ip_prefix, None) if row.direction == "egress" else (None, row.remote_ip_prefix)
            )
        fact = MeterRuleFact(row.direction, row.excluded, source, destination)
        rules.setdefault(row.metering_label_id, []).append(fact)
    for row in _LABELS(tx, only):
        yield LabelFact(row.id, None if row.shared else row.project_id, tuple(rules.get(row.id, ())))


def routers(tx: Tx, only: Ids = None) -> Iterable[RouterFact]:
    for row in _ROUTERS(tx, only):
        yield RouterFact(
            row.id,
            row.name,
            row.admin_state_up,
            row.enable_snat,
            row.project_id,
            row.gw_port_id,
            row.enable_default_route_ecmp,
            tuple((r["destination"], r["nexthop"]) for r in row.routes),
            row.host,
        )


def floating_ips(tx: Tx, only: Ids = None) -> Iterable[FloatingFact]:
    for row in _FLOATING(tx, only):
        yield FloatingFact(row.id, row.floating_ip_address, row.router_id, row.port_id, row.fixed_ip_address)


def _range(start: int, end: int) -> str:
    return str(start) if start == end else f"{start}:{end}"


def port_forwardings(tx: Tx, only: Ids = None) -> Iterable[ForwardingFact]:
    for row in _FORWARDINGS(tx, only):
        yield ForwardingFact(
            row.id,
            row.floatingip_id,
            row.protocol,
            _range(row.external_port_start, row.external_port_end),
            row.internal_ip_address,
            _range(row.internal_port_start, row.internal_port_end),
        )
