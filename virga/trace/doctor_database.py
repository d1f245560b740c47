"""Rows against rows: what was given out for objects that are no more, and objects without what they must have.

Each check is one query or two, and says how many rows it looked at. Constraints of the database keep most of it true;
what is found here was done behind the API's back, or is a defect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Row

from virga.contract.calls import PoolFacts
from virga.contract.doctor import Finding
from virga.db.tx import Tx
from virga.services.block_storage.models import volume, volume_attachment, volume_snapshot
from virga.services.compute.models import migration, server, server_port
from virga.services.network.models import (
    ip_allocation,
    network,
    network_segment,
    network_segment_range,
    port,
    subnet,
)
from virga.services.network.models_l3 import floating_ip, router
from virga.services.placement.models import allocation, consumer, inventory, resource_provider

Rows = Sequence[Row[Any]]
COUNTED = ("VCPU", "MEMORY_MB", "DISK_GB")


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found among how many rows."""

    findings: list[Finding]
    rows: int


def examine(tx: Tx) -> Checked:
    """All checks in one moment of the database."""
    results = [check(tx) for check in CHECKS]
    return Checked([f for each in results for f in each.findings], sum(each.rows for each in results))


def _wrong(subject: str, sentence: str, mend: str = "", **more: Any) -> Finding:
    return Finding(check="database", subject=subject, sentence=sentence, mend=mend, **more)


def segments(tx: Tx) -> Checked:
    """Every network has a segment, every segment a network, no number twice, each within a range."""
    networks = {row.id: row.name for row in tx.all(select(network.c.id, network.c.name))}
    rows = tx.all(select(network_segment))
    ranges = tx.all(select(network_segment_range))
    found = [
        _wrong(
            key,
            f"Network {name} ({key}) has no segment: no host can carry it.",
            f"openstack network delete {key}",
        )
        for key, name in networks.items()
        if key not in {row.network_id for row in rows}
    ]
    seen: dict[tuple[str, str, int], str] = {}
    for row in rows:
        if row.network_id not in networks:
            found.append(
                _wrong(row.id, f"{_segment(row)} is given out to network {row.network_id}, which is no more.")
            )
        key = (row.network_type, row.physical_network, row.segmentation_id)
        if row.network_type != "local" and key in seen:
            found.append(
                _wrong(row.id, f"{_segment(row)} is given out twice: to {seen[key]} and {row.network_id}.")
            )
        seen[key] = row.network_id
        if row.network_type == "vlan" and not 1 <= row.segmentation_id <= 4094:
            found.append(_wrong(row.id, f"{_segment(row)} of network {row.network_id} is no VLAN number."))
    for one in ranges:
        if one.minimum > one.maximum:
            found.append(
                _wrong(
                    one.id, f"The range {one.minimum} to {one.maximum} of {one.physical_network} is empty."
                )
            )
    return Checked(found, len(rows))


def _segment(row: Row[Any]) -> str:
    return f"{row.network_type} {row.physical_network} {row.segmentation_id}".replace("  ", " ")


def addresses(tx: Tx) -> Checked:
    """Every address given out belongs to a port, lies in its subnet and on the port's network."""
    subnets = {row.id: row for row in tx.all(select(subnet.c.id, subnet.c.cidr, subnet.c.network_id))}
    owners = {row.id: row.network_id for row in tx.all(select(port.c.id, port.c.network_id))}
    rows = tx.all(select(ip_allocation))
    return Checked([f for row in rows if (f := _address(row, subnets, owners))], len(rows))


def _address(row: Row[Any], subnets: dict[str, Row[Any]], owners: dict[str, str]) -> Finding | None:
    where = subnets.get(row.subnet_id)
    if row.port_id not in owners:
        return _wrong(
            row.ip_address, f"Address {row.ip_address} is given out to port {row.port_id}, which is no more."
        )
    if where is None:
        return _wrong(
            row.ip_address, f"Address {row.ip_address} is of subnet {row.subnet_id}, which is no more."
        )
    if ip_address(row.ip_address) not in ip_network(where.cidr):
        text = f"Address {row.ip_address} of port {row.port_id} is not in its subnet {where.cidr}."
        return _wrong(
            row.ip_address, text, f"openstack port unset --fixed-ip ip-address={row.ip_address} {row.port_id}"
        )
    if f"{int(ip_address(row.ip_address)):032x}"[-len(row.address_key) :] != row.address_key:
        return _wrong(
            row.ip_address, f"Address {row.ip_address} of port {row.port_id} is filed as {row.address_key}."
        )
    if where.network_id != owners[row.port_id]:
        return _wrong(
            row.ip_address, f"Address {row.ip_address} of port {row.port_id} is of another network."
        )
    return None


def macs(tx: Tx) -> Checked:
    """No MAC twice on a network."""
    count = func.count().label("count")
    columns = (port.c.network_id, port.c.mac_address)
    rows = tx.all(select(*columns, count).group_by(*columns).having(func.count() > 1))
    found = [
        _wrong(
            row.mac_address,
            f"MAC {row.mac_address} is that of {row.count} ports of network {row.network_id}.",
        )
        for row in rows
    ]
    return Checked(found, int(tx.scalar(select(func.count()).select_from(port)) or 0))


def ports(tx: Tx) -> Checked:
    """Ports of servers that are no more, and what hosts could not realise."""
    rows = tx.all(select(port.c.id, port.c.name, port.c.device_id, port.c.device_owner, port.c.host_id,
                         port.c.status, port.c.status_reason, port.c.vif_type))  # fmt: skip
    living = {row.id for row in tx.all(select(server.c.id).where(server.c.deleted.is_(False)))}
    found = []
    for row in rows:
        if row.device_owner.startswith("compute:") and row.device_id and row.device_id not in living:
            text = f"Port {row.id} belongs to server {row.device_id}, which is no more."
            found.append(_wrong(row.id, text, f"openstack port delete {row.id}", kind="extra"))
        if row.status_reason:
            text = f"Port {row.id} is {row.status} on {row.host_id}: {row.status_reason}"
            found.append(Finding(check="ports", subject=row.id, host=row.host_id, sentence=text,
                                 mend=f"virga logs {row.id}"))  # fmt: skip
        elif row.vif_type == "binding_failed":
            text = f"Port {row.id} could not be bound to {row.host_id}: no agent there carries its network."
            found.append(Finding(check="ports", subject=row.id, host=row.host_id, sentence=text))
    attached = {row.port_id: row.server_id for row in tx.all(select(server_port))}
    known = {row.id for row in rows}
    for port_id, server_id in attached.items():
        if port_id not in known and server_id in living:
            found.append(
                _wrong(port_id, f"Server {server_id} has port {port_id}, which is no more.", kind="missing")
            )
    return Checked(found, len(rows))


def layer3(tx: Tx) -> Checked:
    """Routers and floating IPs that hosts could not realise, or that no host carries."""
    routers, floating = tx.all(select(router)), tx.all(select(floating_ip))
    found = []
    for row in routers:
        if row.status_reason:
            found.append(Finding(check="addresses", subject=row.id, host=row.host,
                                 sentence=f"Router {row.name} ({row.id}) is {row.status}: {row.status_reason}"))  # fmt: skip
        elif not row.host:
            found.append(Finding(check="services", subject=row.id, kind="missing",
                                 sentence=f"Router {row.name} ({row.id}) is on no host.",
                                 mend="openstack network agent list --agent-type l3"))  # fmt: skip
    for row in floating:
        if row.status_reason:
            text = f"Floating IP {row.floating_ip_address} is {row.status}: {row.status_reason}"
            found.append(Finding(check="addresses", subject=row.floating_ip_address, sentence=text))
    return Checked(found, len(routers) + len(floating))


def claims(tx: Tx) -> Checked:
    """Placement: nothing is claimed for servers that are no more, every server on a host claims its flavor."""
    rows = tx.all(select(allocation))
    servers = {row.id: row for row in tx.all(select(server).where(server.c.deleted.is_(False)))}
    moves = {row.id for row in tx.all(select(migration.c.id))}
    claimed: dict[str, dict[str, int]] = {}
    for row in rows:
        claimed.setdefault(row.consumer_id, {})[row.resource_class] = row.used
    kinds = {row.id: row.consumer_type for row in tx.all(select(consumer.c.id, consumer.c.consumer_type))}
    found = [
        _wrong(
            key,
            f"Server {key}, which is no more, holds {_resources(used)}.",
            f"openstack resource provider allocation delete {key}",
            kind="extra",
        )
        for key, used in claimed.items()
        # Somebody may use Placement for things of his own.
        if key not in servers and key not in moves and kinds.get(key) == "INSTANCE"
    ]
    for key, row in servers.items():
        if (
            not row.on_host
            or not row.host
            or row.vm_state in ("error", "shelved_offloaded")
            or row.task_state
        ):
            continue
        if key not in claimed:
            found.append(
                _wrong(
                    key,
                    f"Server {row.name} ({key}) runs on {row.host} and claims nothing there.",
                    kind="missing",
                )
            )
    return Checked([*found, *_too_full(tx, rows)], len(rows))


def _too_full(tx: Tx, rows: Rows) -> list[Finding]:
    used: dict[tuple[str, str], int] = {}
    for row in rows:
        used[row.provider_id, row.resource_class] = (
            used.get((row.provider_id, row.resource_class), 0) + row.used
        )
    names = {row.id: row.name for row in tx.all(select(resource_provider))}
    return [
        _wrong(
            names.get(row.provider_id, row.provider_id),
            f"{names.get(row.provider_id)} offers {int((row.total - row.reserved) * row.allocation_ratio)} {row.resource_class}, "
            f"and {used[row.provider_id, row.resource_class]} are claimed.",
            level="note",
        )
        for row in tx.all(select(inventory))
        if used.get((row.provider_id, row.resource_class), 0)
        > (row.total - row.reserved) * row.allocation_ratio
    ]


def _resources(used: dict[str, int]) -> str:
    return ", ".join(f"{amount} {name}" for name, amount in sorted(used.items()))


def volumes(tx: Tx) -> Checked:
    """Attachments of volumes or servers that are no more; volumes in use by nobody."""
    rows = tx.all(select(volume))
    attachments = tx.all(select(volume_attachment))
    living = {row.id for row in tx.all(select(server.c.id).where(server.c.deleted.is_(False)))}
    known = {row.id: row for row in rows}
    found = []
    for row in attachments:
        if row.volume_id not in known:
            found.append(
                _wrong(
                    row.id,
                    f"Attachment {row.id} is of volume {row.volume_id}, which is no more.",
                    kind="extra",
                )
            )
        elif row.server_id and row.server_id not in living:
            text = f"Volume {row.volume_id} is attached to server {row.server_id}, which is no more."
            found.append(
                _wrong(row.volume_id, text, f"openstack volume attachment delete {row.id}", kind="extra")
            )
    held = {row.volume_id for row in attachments}
    for row in rows:
        if row.status == "in-use" and row.id not in held:
            text = f"Volume {row.id} is in use, and nobody is attached."
            found.append(_wrong(row.id, text, f"openstack volume set --state available {row.id}"))
    return Checked(found, len(rows) + len(attachments))


def servers(tx: Tx) -> Checked:
    """Servers that could not be built, or were broken by what was done to them."""
    rows = tx.all(select(server).where(server.c.deleted.is_(False)))
    found = [
        Finding(
            check="instances",
            level="note",
            host=row.host or "",
            subject=row.id,
            sentence=f"Server {row.name} ({row.id}) is in error: {(row.fault or {}).get('message', 'no reason given')}",
            mend=f"openstack server show {row.id}; virga logs {row.id}",
        )
        for row in rows
        if row.vm_state == "error"
    ]
    return Checked(found, len(rows))


CHECKS: tuple[Callable[[Tx], Checked], ...] = (
    segments,
    addresses,
    macs,
    ports,
    layer3,
    claims,
    volumes,
    servers,
)


@dataclass(frozen=True, slots=True)
class PoolRows:
    """What the rows say of one pool: ids, and those that are on their way in or out."""

    volumes: frozenset[str]
    snapshots: frozenset[str]
    moving: frozenset[str]


def pool_findings(host: str, pool: PoolFacts, rows: PoolRows) -> list[Finding]:
    """What is in the pool without a row, rows without what they mean, and what is wrong inside of it."""
    found = [
        Finding(
            check="targets", host=host, subject="pool", kind="differs", sentence=f"Pool of {host}: {problem}"
        )
        for problem in pool.problems
    ]
    known = rows.moving | set(pool.unmanaged)
    for kind, actual, wanted in (
        ("volume", pool.volumes, rows.volumes),
        ("snapshot", pool.snapshots, rows.snapshots),
    ):
        for key in sorted(set(actual) - wanted - known):
            text = f"The pool of {host} holds {kind} {key}, of which there is no row."
            found.append(Finding(check="orphans", host=host, subject=key, kind="extra", sentence=text))
        for key in sorted(wanted - set(actual) - rows.moving):
            text = f"{kind.capitalize()} {key} is not in the pool of {host}."
            found.append(Finding(check="targets", host=host, subject=key, kind="missing", sentence=text))
    return found


STEADY = ("available", "in-use", "reserved", "attaching", "detaching", "maintenance")


def pool_rows(tx: Tx, host: str) -> PoolRows:
    """Volumes and snapshots of a host's pool by their rows."""
    rows = tx.all(select(volume.c.id, volume.c.status).where(volume.c.host == host))
    here = {row.id for row in rows}
    of_here = [row for row in tx.all(select(volume_snapshot)) if row.volume_id in here]
    moving = {row.id for row in rows if row.status not in STEADY}
    moving |= {row.id for row in of_here if row.status != "available"}
    # A volume that is just being made or taken away is somewhere between row and file.
    return PoolRows(
        frozenset(here - moving), frozenset({row.id for row in of_here} - moving), frozenset(moving)
    )
