"""Tables of metering: labels, and the rules that say what each of them counts."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, String, Table, Text

from virga.db.metadata import metadata
from virga.services.network.models import project, references, uuid_key

metering_label = Table(
    "metering_label",
    metadata,
    uuid_key(),
    project(),
    Column("name", String(255), nullable=False),
    Column("description", Text, nullable=False),
    Column("shared", Boolean, nullable=False),
)

metering_label_rule = Table(
    "metering_label_rule",
    metadata,
    uuid_key(),
    references("metering_label_id", "metering_label", index=True),
    Column("direction", String(8), nullable=False),
    Column("excluded", Boolean, nullable=False),
    Column("remote_ip_prefix", String(64)),
    Column("source_ip_prefix", String(64)),
    Column("destination_ip_prefix", String(64)),
)
