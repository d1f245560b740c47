"""Tables of quality of service: policies and their rules. Networks and ports point at policies."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Integer, String, Table, UniqueConstraint, false

from virga.db.metadata import metadata
from virga.services.network.models import named, project, references, uuid_key

qos_policy = Table(
    "qos_policy",
    metadata,
    uuid_key(),
    project(),
    *named(),
    Column("is_default", Boolean, nullable=False, server_default=false()),
)

qos_rule = Table(
    "qos_rule",
    metadata,
    uuid_key(),
    references("qos_policy_id", "qos_policy"),
    Column("type", String(32), nullable=False),
    # Empty for rules without one, because a unique constraint does not see two nulls as equal.
    Column("direction", String(8), nullable=False),
    Column("max_kbps", Integer),
    Column("max_burst_kbps", Integer),
    Column("max_kpps", Integer),
    Column("max_burst_kpps", Integer),
    Column("min_kbps", Integer),
    Column("min_kpps", Integer),
    Column("dscp_mark", Integer),
    UniqueConstraint("qos_policy_id", "type", "direction"),
)
