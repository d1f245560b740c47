"""Chooses a host for a server: filters say which may, weighers which should. Operators list, order and add.

A filter is ``(host, wish) -> bool``, a weigher ``(host, wish) -> float``; names without a dot are those of this
room, others are dotted paths to a function of the same shape.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from virga.db.tx import Tx
from virga.services.compute import host as hosts
from virga.services.compute.models import aggregate, aggregate_host, server, server_group, server_group_member
from virga.services.placement import claim
from virga.services.placement.inventory import Inventory
from virga.services.placement.models import provider_trait
from virga.settings import Settings, SettingsError

Room = dict[str, tuple[Inventory, int]]


@dataclass(frozen=True)
class Candidate:
    """A host as filters and weighers see it."""

    host: str
    provider_id: str
    up: bool
    disabled: bool
    zone: str
    room: Room
    traits: frozenset[str]
    hypervisor_type: str
    aggregates: tuple[dict[str, str], ...]
    servers: int
    """How many servers it has."""

    def free(self, resource: str) -> float:
        item, used = self.room.get(resource, (Inventory(0), 0))
        return item.capacity - used


@dataclass(frozen=True)
class Wish:
    """What a server needs of its host."""

    server_id: str
    project_id: str
    resources: dict[str, int]
    zone: str | None = None
    traits: frozenset[str] = frozenset()
    forbidden_traits: frozenset[str] = frozenset()
    extra_specs: dict[str, str] = field(default_factory=dict)
    image_properties: dict[str, Any] = field(default_factory=dict)
    exclude: frozenset[str] = frozenset()
    only: str | None = None
    """The one host that an admin named."""
    group_policy: str = ""
    group_limit: int = 1
    group_hosts: dict[str, int] = field(default_factory=dict)
    """Host to number of members of the same server group there."""
    same_as: frozenset[str] = frozenset()
    different_from: frozenset[str] = frozenset()


HostFilter = Callable[[Candidate, Wish], bool]
Weigher = Callable[[Candidate, Wish], float]


# --- filters -------------------------------------------------------------------------------------------


def compute_filter(host: Candidate, wish: Wish) -> bool:
    """The service is up and enabled."""
    return host.up and not host.disabled


def availability_zone_filter(host: Candidate, wish: Wish) -> bool:
    return wish.zone is None or host.zone == wish.zone


def image_properties_filter(host: Candidate, wish: Wish) -> bool:
    """The image is for the hypervisor that the host has."""
    wanted = wish.image_properties.get("img_hv_type") or wish.image_properties.get("hypervisor_type")
    known = {"qemu": ("qemu", "kvm"), "kvm": ("qemu", "kvm")}
    have = host.hypervisor_type.lower()
    return not wanted or have in known.get(str(wanted).lower(), (str(wanted).lower(),))


def anti_affinity_filter(host: Candidate, wish: Wish) -> bool:
    return wish.group_policy != "anti-affinity" or wish.group_hosts.get(host.host, 0) < wish.group_limit


def affinity_filter(host: Candidate, wish: Wish) -> bool:
    return wish.group_policy != "affinity" or not wish.group_hosts or host.host in wish.group_hosts


def resource_filter(host: Candidate, wish: Wish) -> bool:
    """Placement has room for the claim, and the required traits."""
    fits = all(
        amount == 0 or (name in host.room and host.room[name][0].fits(amount, host.room[name][1]))
        for name, amount in wish.resources.items()
    )
    return fits and wish.traits <= host.traits and not wish.forbidden_traits & host.traits


def same_host_filter(host: Candidate, wish: Wish) -> bool:
    return not wish.same_as or host.host in wish.same_as


def different_host_filter(host: Candidate, wish: Wish) -> bool:
    return host.host not in wish.different_from


def aggregate_extra_specs_filter(host: Candidate, wish: Wish) -> bool:
    """Extra specs under ``aggregate_instance_extra_specs:`` are metadata of an aggregate of the host."""
    prefix = "aggregate_instance_extra_specs:"
    wanted = {k[len(prefix) :]: v for k, v in wish.extra_specs.items() if k.startswith(prefix)}
    return all(any(a.get(name) == value for a in host.aggregates) for name, value in wanted.items())


def tenant_isolation_filter(host: Candidate, wish: Wish) -> bool:
    """Aggregates that name projects (``filter_tenant_id``) take servers of no others."""
    named = [a["filter_tenant_id"].split(",") for a in host.aggregates if a.get("filter_tenant_id")]
    return not named or any(wish.project_id in projects for projects in named)


FILTERS: dict[str, HostFilter] = {
    "ComputeFilter": compute_filter,
    "AvailabilityZoneFilter": availability_zone_filter,
    "ImagePropertiesFilter": image_properties_filter,
    "ServerGroupAntiAffinityFilter": anti_affinity_filter,
    "ServerGroupAffinityFilter": affinity_filter,
    "ResourceFilter": resource_filter,
    "SameHostFilter": same_host_filter,
    "DifferentHostFilter": different_host_filter,
    "AggregateInstanceExtraSpecsFilter": aggregate_extra_specs_filter,
    "AggregateMultiTenancyIsolation": tenant_isolation_filter,
}


# --- weighers ------------------------------------------------------------------------------------------


def ram_weigher(host: Candidate, wish: Wish) -> float:
    return host.free("MEMORY_MB")


def cpu_weigher(host: Candidate, wish: Wish) -> float:
    return host.free("VCPU")


def disk_weigher(host: Candidate, wish: Wish) -> float:
    return host.free("DISK_GB")


def soft_affinity_weigher(host: Candidate, wish: Wish) -> float:
    return wish.group_hosts.get(host.host, 0) if wish.group_policy == "soft-affinity" else 0


def soft_anti_affinity_weigher(host: Candidate, wish: Wish) -> float:
    return -wish.group_hosts.get(host.host, 0) if wish.group_policy == "soft-anti-affinity" else 0


def instances_weigher(host: Candidate, wish: Wish) -> float:
    """Fewer servers first."""
    return -host.servers


WEIGHERS: dict[str, Weigher] = {
    "RAMWeigher": ram_weigher,
    "CPUWeigher": cpu_weigher,
    "DiskWeigher": disk_weigher,
    "ServerGroupSoftAffinityWeigher": soft_affinity_weigher,
    "ServerGroupSoftAntiAffinityWeigher": soft_anti_affinity_weigher,
    "NumInstancesWeigher": instances_weigher,
}


def _load(name: str, known: dict[str, Any], setting: str) -> Any:
    if name in known:
        return known[name]
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError):
        raise SettingsError(f"setting {setting!r}: there is no {name!r}") from None


def filters_of(settings: Settings) -> list[tuple[str, HostFilter]]:
    return [(name, _load(name, FILTERS, "scheduler_filters")) for name in settings.scheduler_filters]


def weighers_of(settings: Settings) -> list[tuple[Weigher, float]]:
    found = []
    for text in settings.scheduler_weighers:
        name, _, factor = text.partition("=")
        found.append((_load(name, WEIGHERS, "scheduler_weighers"), float(factor or 1.0)))
    return found


# --- choice --------------------------------------------------------------------------------------------


def rank(candidates: Sequence[Candidate], wish: Wish, settings: Settings) -> list[Candidate]:
    """The hosts that may, best first. Pure."""
    fit = [c for c in candidates if c.host not in wish.exclude and wish.only in (None, c.host)]
    for _name, test in filters_of(settings):
        fit = [host for host in fit if test(host, wish)]
    scores = dict.fromkeys((host.host for host in fit), 0.0)
    for weigher, factor in weighers_of(settings):
        weights = {host.host: weigher(host, wish) for host in fit}
        if not weights:
            break
        low, high = min(weights.values()), max(weights.values())
        for name, weight in weights.items():
            scores[name] += factor * ((weight - low) / (high - low) if high > low else 0.0)
    # Where all is alike, the name decides: tests and people see the same choice twice.
    return sorted(fit, key=lambda host: (-scores[host.host], host.host))


def candidates(tx: Tx) -> list[Candidate]:
    """All compute hosts as they are now."""
    room = claim.room(tx)
    zones = hosts.zones_by_host(tx)
    traits: dict[str, set[str]] = {}
    for row in tx.all(select(provider_trait)):
        traits.setdefault(row.provider_id, set()).add(row.trait)
    aggregates: dict[str, list[dict[str, str]]] = {}
    joined = select(aggregate.c.metadata, aggregate_host.c.host).join(
        aggregate_host, aggregate_host.c.aggregate_number == aggregate.c.number
    )
    for row in tx.all(joined):
        aggregates.setdefault(row.host, []).append(row.metadata)
    counts: dict[str, int] = {}
    for row in tx.all(select(server.c.host).where(server.c.deleted.is_(False), server.c.host.is_not(None))):
        counts[row.host] = counts.get(row.host, 0) + 1
    return [
        Candidate(
            host=row.host,
            provider_id=row.node_id,
            up=hosts.is_up(row, tx.now),
            disabled=row.disabled,
            zone=zones.get(row.host, hosts.DEFAULT_ZONE),
            room=room.get(row.node_id, {}),
            traits=frozenset(traits.get(row.node_id, ())),
            hypervisor_type=(row.resources or {}).get("hypervisor_type", "QEMU"),
            aggregates=tuple(aggregates.get(row.host, ())),
            servers=counts.get(row.host, 0),
        )
        for row in hosts.compute_services(tx)
    ]


def resources_of(flavor: dict[str, Any], boots_from_volume: bool) -> dict[str, int]:
    """What a server of this flavor claims; ``resources:`` extra specs override and add."""
    disk = flavor["ephemeral_gb"] + -(-flavor["swap_mb"] // 1024)
    if not boots_from_volume:
        disk += flavor["root_gb"]
    found = {"VCPU": flavor["vcpus"], "MEMORY_MB": flavor["memory_mb"], "DISK_GB": disk}
    for name, value in flavor["extra_specs"].items():
        if name.startswith("resources:") and str(value).isdecimal():
            found[name.partition(":")[2]] = int(value)
    return {name: amount for name, amount in found.items() if amount}


def wish_of(
    tx: Tx,
    row: Any,
    boots_from_volume: bool,
    *,
    exclude: Sequence[str] = (),
    only: str | None = None,
    flavor: Any = None,
) -> Wish:
    """What the row says that its host must offer."""
    flavor = flavor or row.flavor
    specs = flavor["extra_specs"]
    hints = row.scheduler_hints or {}
    policy, limit, group_hosts = _group(tx, row)
    return Wish(
        server_id=row.id,
        project_id=row.project_id,
        resources=resources_of(flavor, boots_from_volume),
        zone=row.pinned_availability_zone,
        traits=frozenset(k[6:] for k, v in specs.items() if k.startswith("trait:") and v == "required"),
        forbidden_traits=frozenset(
            k[6:] for k, v in specs.items() if k.startswith("trait:") and v == "forbidden"
        ),
        extra_specs=specs,
        image_properties=row.image_properties,
        exclude=frozenset(exclude),
        only=only,
        group_policy=policy,
        group_limit=limit,
        group_hosts=group_hosts,
        same_as=_hosts_of(tx, hints.get("same_host")),
        different_from=_hosts_of(tx, hints.get("different_host")),
    )


def _hosts_of(tx: Tx, servers: Any) -> frozenset[str]:
    if not servers:
        return frozenset()
    ids = [servers] if isinstance(servers, str) else list(servers)
    rows = tx.all(select(server.c.host).where(server.c.id.in_(ids), server.c.deleted.is_(False)))
    return frozenset(row.host for row in rows if row.host)


def _group(tx: Tx, row: Any) -> tuple[str, int, dict[str, int]]:
    group = tx.first(
        select(server_group)
        .join(server_group_member, server_group_member.c.group_id == server_group.c.id)
        .where(server_group_member.c.server_id == row.id)
    )
    if group is None:
        return "", 1, {}
    found: dict[str, int] = {}
    members = tx.all(
        select(server.c.host)
        .join(server_group_member, server_group_member.c.server_id == server.c.id)
        .where(
            server_group_member.c.group_id == group.id,
            server.c.deleted.is_(False),
            server.c.host.is_not(None),
            server.c.id != row.id,
        )
    )
    for member in members:
        found[member.host] = found.get(member.host, 0) + 1
    return group.policy, int(group.rules.get("max_server_per_host", 1)), found
