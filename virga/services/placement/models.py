"""Tables of Placement: providers, what they have, and who has claimed how much of it."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from virga.db.metadata import Timestamp, metadata

resource_provider = Table(
    "resource_provider",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("generation", Integer, nullable=False, default=0),
    Column("parent_id", String(36), ForeignKey("resource_provider.id")),
    Column("root_id", String(36), nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Index("ix_resource_provider_root_id", "root_id"),
)

inventory = Table(
    "inventory",
    metadata,
    Column(
        "provider_id", String(36), ForeignKey("resource_provider.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("resource_class", String(255), primary_key=True),
    Column("total", Integer, nullable=False),
    Column("reserved", Integer, nullable=False, default=0),
    Column("min_unit", Integer, nullable=False, default=1),
    Column("max_unit", Integer, nullable=False, default=2147483647),
    Column("step_size", Integer, nullable=False, default=1),
    Column("allocation_ratio", Float, nullable=False, default=1.0),
)

consumer = Table(
    "consumer",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("project_id", String(255), nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("consumer_type", String(255)),
    Column("generation", Integer, nullable=False, default=0),
    Column("updated_at", Timestamp, nullable=False),
    Index("ix_consumer_project_id", "project_id"),
)

allocation = Table(
    "allocation",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("consumer_id", String(36), ForeignKey("consumer.id", ondelete="CASCADE"), nullable=False),
    Column("provider_id", String(36), ForeignKey("resource_provider.id"), nullable=False),
    Column("resource_class", String(255), nullable=False),
    Column("used", Integer, nullable=False),
    UniqueConstraint("consumer_id", "provider_id", "resource_class"),
    Index("ix_allocation_provider_id", "provider_id"),
)

resource_class = Table(
    "resource_class",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("updated_at", Timestamp, nullable=False),
)

trait = Table(
    "trait",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("updated_at", Timestamp, nullable=False),
)

provider_trait = Table(
    "provider_trait",
    metadata,
    Column(
        "provider_id", String(36), ForeignKey("resource_provider.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("trait", String(255), primary_key=True),
)

provider_aggregate = Table(
    "provider_aggregate",
    metadata,
    Column(
        "provider_id", String(36), ForeignKey("resource_provider.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("aggregate_id", String(36), primary_key=True),
)
