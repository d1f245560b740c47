"""Tables of service flavors: what an administrator offers, and by which drivers it is made."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, String, Table, Text

from virga.db.metadata import metadata
from virga.services.network.models import uuid_key

flavor = Table(
    "network_flavor",
    metadata,
    uuid_key(),
    Column("name", String(255), nullable=False),
    Column("description", Text),
    Column("service_type", String(36), nullable=False),
    Column("enabled", Boolean, nullable=False),
)

service_profile = Table(
    "network_service_profile",
    metadata,
    uuid_key(),
    Column("description", Text),
    Column("driver", Text, nullable=False),
    Column("metainfo", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
)

flavor_profile = Table(
    "network_flavor_profile",
    metadata,
    Column("flavor_id", String(36), ForeignKey("network_flavor.id", ondelete="CASCADE"), primary_key=True),
    Column("service_profile_id", String(36), ForeignKey("network_service_profile.id"), primary_key=True),
)
