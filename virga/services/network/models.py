"""Tables of layer 2 and address management: networks, subnets, ports, tags, sharing, agents, quotas."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)

from virga.db.metadata import Json, Timestamp, metadata


def uuid_key() -> Column[str]:
    return Column("id", String(36), primary_key=True)


def project() -> Column[str]:
    return Column("project_id", String(64), nullable=False, index=True)


def named() -> list[Column[Any]]:
    """What most resources carry besides their own: name, description, times, revision."""
    return [Column("name", String(255), nullable=False), *standard()]


def standard() -> list[Column[Any]]:
    return [
        Column("description", String(255)),
        Column("created_at", Timestamp, nullable=False),
        Column("updated_at", Timestamp, nullable=False),
        Column("revision_number", Integer, nullable=False, default=0),
    ]


def references(
    name: str, target: str, *, cascade: bool = True, nullable: bool = False, **kw: Any
) -> Column[Any]:
    """A column that points at another table's id; the row goes with what it points at when ``cascade``."""
    key = ForeignKey(f"{target}.id", ondelete="CASCADE") if cascade else ForeignKey(f"{target}.id")
    return Column(name, String(36), key, nullable=nullable, **kw)


network = Table(
    "network",
    metadata,
    uuid_key(),
    project(),
    *named(),
    Column("admin_state_up", Boolean, nullable=False),
    Column("status", String(16), nullable=False),
    Column("mtu", Integer, nullable=False),
    Column("external", Boolean, nullable=False),
    Column("is_default", Boolean, nullable=False, server_default=false()),
    Column("port_security_enabled", Boolean, nullable=False),
    Column("dns_domain", String(255), nullable=False),
    Column("availability_zone_hints", Json, nullable=False),
    references("qos_policy_id", "qos_policy", cascade=False, nullable=True),
    Index("ix_network_name", "name"),
)

network_segment = Table(
    "network_segment",
    metadata,
    uuid_key(),
    references("network_id", "network", index=True),
    Column("network_type", String(32), nullable=False),
    # Empty and 0 stand for "none", because a unique constraint does not see two nulls as equal.
    Column("physical_network", String(64), nullable=False),
    Column("segmentation_id", Integer, nullable=False),
    Column("name", String(255)),
    *standard(),
    UniqueConstraint("network_type", "physical_network", "segmentation_id"),
)

network_segment_range = Table(
    "network_segment_range",
    metadata,
    uuid_key(),
    Column("name", String(255)),
    Column("default", Boolean, nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("project_id", String(64)),
    Column("network_type", String(32), nullable=False),
    Column("physical_network", String(64), nullable=False),
    Column("minimum", Integer, nullable=False),
    Column("maximum", Integer, nullable=False),
    *standard(),
)

address_scope = Table(
    "address_scope",
    metadata,
    uuid_key(),
    project(),
    Column("name", String(255), nullable=False),
    Column("ip_version", Integer, nullable=False),
)

subnetpool = Table(
    "subnetpool",
    metadata,
    uuid_key(),
    project(),
    *named(),
    Column("ip_version", Integer, nullable=False),
    Column("prefixes", Json, nullable=False),
    Column("default_prefixlen", Integer, nullable=False),
    Column("min_prefixlen", Integer, nullable=False),
    Column("max_prefixlen", Integer, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("default_quota", Integer),
    references("address_scope_id", "address_scope", cascade=False, nullable=True),
)

subnet = Table(
    "subnet",
    metadata,
    uuid_key(),
    project(),
    *named(),
    references("network_id", "network", cascade=False, index=True),
    Column("ip_version", Integer, nullable=False),
    Column("cidr", String(64), nullable=False),
    Column("gateway_ip", String(64)),
    Column("enable_dhcp", Boolean, nullable=False),
    Column("ipv6_ra_mode", String(32)),
    Column("ipv6_address_mode", String(32)),
    Column("allocation_pools", Json, nullable=False),
    Column("dns_nameservers", Json, nullable=False),
    Column("host_routes", Json, nullable=False),
    Column("service_types", Json, nullable=False),
    references("subnetpool_id", "subnetpool", cascade=False, nullable=True, index=True),
    references("segment_id", "network_segment", cascade=False, nullable=True),
)

port = Table(
    "port",
    metadata,
    uuid_key(),
    project(),
    *named(),
    references("network_id", "network", cascade=False),
    Column("mac_address", String(32), nullable=False),
    Column("admin_state_up", Boolean, nullable=False),
    Column("status", String(16), nullable=False),
    Column("status_reason", Text, nullable=False, server_default=""),
    Column("device_id", String(255), nullable=False),
    Column("device_owner", String(255), nullable=False),
    Column("port_security_enabled", Boolean, nullable=False),
    Column("dns_name", String(255), nullable=False),
    Column("dns_domain", String(255), nullable=False),
    Column("propagate_uplink_status", Boolean, nullable=False, server_default=true()),
    Column("allowed_address_pairs", Json, nullable=False),
    Column("extra_dhcp_opts", Json, nullable=False),
    Column("host_id", String(255), nullable=False),
    Column("vnic_type", String(64), nullable=False),
    Column("vif_type", String(64), nullable=False),
    Column("vif_details", Json, nullable=False),
    Column("profile", Json, nullable=False),
    references("qos_policy_id", "qos_policy", cascade=False, nullable=True),
    UniqueConstraint("network_id", "mac_address"),
    Index("ix_port_device_id", "device_id"),
    Index("ix_port_host_id", "host_id"),
    Index("ix_port_mac_address", "mac_address"),
)

ip_allocation = Table(
    "ip_allocation",
    metadata,
    Column("subnet_id", String(36), ForeignKey("subnet.id"), primary_key=True),
    # The address in hexadecimal digits of one width, so that it sorts as a number in both databases.
    Column("address_key", String(32), primary_key=True),
    Column("ip_address", String(64), nullable=False, index=True),
    references("port_id", "port", index=True),
    Column("position", Integer, nullable=False),
)

port_dhcp_binding = Table(
    "network_dhcp_binding",
    metadata,
    Column("network_id", String(36), ForeignKey("network.id", ondelete="CASCADE"), primary_key=True),
    Column("host", String(255), primary_key=True),
)

tag = Table(
    "tag",
    metadata,
    Column("resource_id", String(36), primary_key=True),
    Column("tag", String(255), primary_key=True),
    Index("ix_tag_tag", "tag"),
)

rbac_policy = Table(
    "rbac_policy",
    metadata,
    uuid_key(),
    project(),
    Column("object_type", String(32), nullable=False),
    Column("object_id", String(36), nullable=False),
    Column("action", String(32), nullable=False),
    Column("target_project", String(255), nullable=False),
    UniqueConstraint("object_id", "action", "target_project"),
    Index("ix_rbac_policy_target", "object_type", "target_project"),
)

agent = Table(
    "agent",
    metadata,
    uuid_key(),
    Column("agent_type", String(64), nullable=False),
    Column("binary", String(64), nullable=False),
    Column("host", String(255), nullable=False),
    Column("topic", String(64), nullable=False),
    Column("availability_zone", String(255)),
    Column("admin_state_up", Boolean, nullable=False),
    Column("description", String(255)),
    Column("configurations", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("started_at", Timestamp, nullable=False),
    Column("heartbeat_timestamp", Timestamp, nullable=False),
    UniqueConstraint("agent_type", "host"),
)

quota = Table(
    "network_quota",
    metadata,
    Column("project_id", String(64), primary_key=True),
    Column("resource", String(64), primary_key=True),
    Column("limit", Integer, nullable=False),
)

auto_allocated_topology = Table(
    "auto_allocated_topology",
    metadata,
    Column("project_id", String(64), primary_key=True),
    references("network_id", "network"),
    Column("router_id", String(36), nullable=False),
)
