"""Tables of routers, floating IPs, security groups, address groups and trunks."""

from __future__ import annotations

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
)

from virga.db.metadata import Json, metadata
from virga.services.network.models import named, project, references, standard, uuid_key

security_group = Table(
    "security_group",
    metadata,
    uuid_key(),
    project(),
    *named(),
    Column("stateful", Boolean, nullable=False),
)

default_security_group = Table(
    "default_security_group",
    metadata,
    Column("project_id", String(64), primary_key=True),
    references("security_group_id", "security_group", unique=True),
)

address_group = Table("address_group", metadata, uuid_key(), project(), *named())

address_group_address = Table(
    "address_group_address",
    metadata,
    Column(
        "address_group_id", String(36), ForeignKey("address_group.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("address", String(64), primary_key=True),
)

security_group_rule = Table(
    "security_group_rule",
    metadata,
    uuid_key(),
    project(),
    references("security_group_id", "security_group"),
    Column("direction", String(8), nullable=False),
    Column("ethertype", String(8), nullable=False),
    Column("protocol", String(40)),
    Column("port_range_min", Integer),
    Column("port_range_max", Integer),
    Column("remote_ip_prefix", String(64)),
    references("remote_group_id", "security_group", nullable=True, index=True),
    references("remote_address_group_id", "address_group", cascade=False, nullable=True, index=True),
    # All that makes two rules the same rule, so that the database refuses the second.
    Column("fingerprint", String(255), nullable=False),
    *standard(),
    UniqueConstraint("security_group_id", "fingerprint"),
)

default_security_group_rule = Table(
    "default_security_group_rule",
    metadata,
    uuid_key(),
    Column("direction", String(8), nullable=False),
    Column("ethertype", String(8), nullable=False),
    Column("protocol", String(40)),
    Column("port_range_min", Integer),
    Column("port_range_max", Integer),
    Column("remote_ip_prefix", String(64)),
    Column("remote_group_id", String(36)),
    Column("remote_address_group_id", String(36)),
    Column("used_in_default_sg", Boolean, nullable=False),
    Column("used_in_non_default_sg", Boolean, nullable=False),
    *standard(),
)

port_security_group = Table(
    "port_security_group",
    metadata,
    Column("port_id", String(36), ForeignKey("port.id", ondelete="CASCADE"), primary_key=True),
    Column("security_group_id", String(36), ForeignKey("security_group.id"), primary_key=True),
    Index("ix_port_security_group_security_group_id", "security_group_id"),
)

router = Table(
    "router",
    metadata,
    uuid_key(),
    project(),
    *named(),
    Column("admin_state_up", Boolean, nullable=False),
    Column("status", String(16), nullable=False),
    Column("status_reason", Text, nullable=False, server_default=""),
    Column("enable_snat", Boolean, nullable=False),
    references("gw_port_id", "port", cascade=False, nullable=True, unique=True),
    references("flavor_id", "network_flavor", cascade=False, nullable=True),
    Column("enable_default_route_ecmp", Boolean, nullable=False, server_default=false()),
    Column("routes", Json, nullable=False),
    Column("availability_zone_hints", Json, nullable=False),
    Column("host", String(255), nullable=False, index=True),
)

router_interface = Table(
    "router_interface",
    metadata,
    Column("router_id", String(36), ForeignKey("router.id", ondelete="CASCADE"), primary_key=True),
    Column("subnet_id", String(36), ForeignKey("subnet.id"), primary_key=True),
    references("port_id", "port", index=True),
    Index("ix_router_interface_subnet_id", "subnet_id"),
)

floating_ip = Table(
    "floating_ip",
    metadata,
    uuid_key(),
    project(),
    *standard(),
    Column("floating_ip_address", String(64), nullable=False, index=True),
    references("floating_network_id", "network", cascade=False, index=True),
    references("floating_port_id", "port", cascade=False, unique=True),
    references("router_id", "router", cascade=False, nullable=True, index=True),
    references("port_id", "port", cascade=False, nullable=True, index=True),
    Column("fixed_ip_address", String(64)),
    Column("status", String(16), nullable=False),
    Column("status_reason", Text, nullable=False, server_default=""),
    Column("dns_name", String(255), nullable=False),
    Column("dns_domain", String(255), nullable=False),
    UniqueConstraint("floating_network_id", "port_id", "fixed_ip_address"),
)

port_forwarding = Table(
    "port_forwarding",
    metadata,
    uuid_key(),
    references("floatingip_id", "floating_ip"),
    references("internal_port_id", "port", cascade=False, index=True),
    Column("internal_ip_address", String(64), nullable=False),
    Column("protocol", String(16), nullable=False),
    Column("internal_port_start", Integer, nullable=False),
    Column("internal_port_end", Integer, nullable=False),
    Column("external_port_start", Integer, nullable=False),
    Column("external_port_end", Integer, nullable=False),
    *standard(),
    UniqueConstraint("floatingip_id", "protocol", "external_port_start"),
)

trunk = Table(
    "trunk",
    metadata,
    uuid_key(),
    project(),
    *named(),
    references("port_id", "port", cascade=False, unique=True),
    Column("admin_state_up", Boolean, nullable=False),
    Column("status", String(16), nullable=False),
)

sub_port = Table(
    "sub_port",
    metadata,
    Column("port_id", String(36), ForeignKey("port.id"), primary_key=True),
    references("trunk_id", "trunk"),
    Column("segmentation_type", String(32), nullable=False),
    Column("segmentation_id", Integer, nullable=False),
    UniqueConstraint("trunk_id", "segmentation_type", "segmentation_id"),
)
