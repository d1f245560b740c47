"""All flows of a host from all its items at once: what a fresh agent ends up with, and what the explainer expects.

The agent keeps the same flows incrementally, from the same functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from virga.contract.items import AddressGroup, AnyItem, GroupMember, Network, Port, Rule, SecurityGroup
from virga.sdn import base_flows
from virga.sdn.flow import Flow
from virga.sdn.flowset import FlowSet
from virga.sdn.network_flows import (
    PlacedNetwork,
    Uplink,
    on_integration,
    on_provider,
    uplink_on_integration,
    uplink_on_provider,
)
from virga.sdn.port_flows import PlacedPort, is_trusted, port_flows
from virga.sdn.security_group_flows import Conjunctions, group_flows, member_flows, membership_flows


@dataclass(frozen=True, slots=True)
class Placement:
    """What a host decided by itself: tags of networks, numbers of ports, and its uplinks."""

    tags: Mapping[str, int]
    ofports: Mapping[str, int]
    """Port id -> OpenFlow number on br-int."""
    uplinks: Mapping[str, Uplink] = field(default_factory=dict)
    """Physical network -> uplink."""
    integration_bridge: str = "br-int"


@dataclass(slots=True)
class _Items:
    networks: dict[str, Network] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    groups: dict[str, SecurityGroup] = field(default_factory=dict)
    members: dict[str, GroupMember] = field(default_factory=dict)
    addresses: dict[str, list[str]] = field(default_factory=dict)


def compile_host(items: Iterable[AnyItem], placement: Placement) -> dict[str, FlowSet]:
    """Bridge to its flows, by owner."""
    found = _sorted_out(items)
    sets = {placement.integration_bridge: FlowSet()}
    inside = sets[placement.integration_bridge]
    inside.put("base", base_flows.integration_bridge())
    for uplink in placement.uplinks.values():
        outside = sets.setdefault(uplink.bridge, FlowSet())
        outside.put("base", base_flows.provider_bridge())
        inside.put(f"uplink/{uplink.bridge}", uplink_on_integration(uplink))
        outside.put(f"uplink/{uplink.bridge}", uplink_on_provider(uplink))
    for network in found.networks.values():
        _put_network(sets, network, found, placement)
    conjunctions = Conjunctions()
    for group in found.groups.values():
        inside.put(f"security_group/{group.key}", group_flows(group, conjunctions, found.addresses))
    for member in found.members.values():
        naming = _naming(found.groups.values(), member.group_id)
        flows = member_flows(member.group_id, member.addresses, naming, conjunctions)
        inside.put(f"group_member/{member.key}", flows)
    for port in found.ports.values():
        inside.put(f"port/{port.key}", _flows_of_port(port, found, placement, conjunctions))
    return sets


def _sorted_out(items: Iterable[AnyItem]) -> _Items:
    found = _Items()
    for item in items:
        if isinstance(item, Network):
            found.networks[item.key] = item
        elif isinstance(item, Port):
            found.ports[item.key] = item
        elif isinstance(item, SecurityGroup):
            found.groups[item.key] = item
        elif isinstance(item, GroupMember):
            found.members[item.key] = item
        elif isinstance(item, AddressGroup):
            found.addresses[item.key] = item.addresses
    return found


def _put_network(sets: dict[str, FlowSet], network: Network, found: _Items, placement: Placement) -> None:
    uplink = placement.uplinks.get(network.physical_network or "")
    flooded = any(
        port.network_id == network.key and not port.port_security_enabled and not is_trusted(port)
        for port in found.ports.values()
    )
    placed = PlacedNetwork(network, placement.tags[network.key], uplink, flooded)
    sets[placement.integration_bridge].put(f"network/{network.key}", on_integration(placed))
    if uplink is not None:
        sets[uplink.bridge].put(f"network/{network.key}", on_provider(placed))


def _naming(groups: Iterable[SecurityGroup], remote_group_id: str) -> list[Rule]:
    return [rule for group in groups for rule in group.rules if rule.remote_group_id == remote_group_id]


def _flows_of_port(port: Port, found: _Items, placement: Placement, conjunctions: Conjunctions) -> list[Flow]:
    if port.key not in placement.ofports or port.network_id not in found.networks:
        return []
    groups = [found.groups[g] for g in port.security_group_ids if g in found.groups]
    stateless = bool(groups) and not any(group.stateful for group in groups)
    placed = PlacedPort(port, placement.ofports[port.key], placement.tags[port.network_id], stateless)
    return [*port_flows(placed), *membership_flows(placed, groups, conjunctions)]
