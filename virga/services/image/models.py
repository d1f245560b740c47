"""Tables of the Image service. The bytes are files: ``images/<id>`` in the state directory."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from virga.db.metadata import Json, Timestamp, metadata

image = Table(
    "image",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255)),
    Column("status", String(30), nullable=False),
    Column("visibility", String(16), nullable=False),
    Column("owner", String(255)),
    Column("size", BigInteger),
    Column("virtual_size", BigInteger),
    Column("disk_format", String(20)),
    Column("container_format", String(20)),
    Column("checksum", String(32)),
    Column("os_hash_algo", String(64)),
    Column("os_hash_value", String(128)),
    Column("min_disk", Integer, nullable=False),
    Column("min_ram", Integer, nullable=False),
    Column("protected", Boolean, nullable=False),
    Column("os_hidden", Boolean, nullable=False),
    # What the bytes were found to be; differs from disk_format only where the cloud does not insist.
    Column("detected_format", String(20)),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Index("ix_image_created_at_id", "created_at", "id"),
    Index("ix_image_owner", "owner"),
    Index("ix_image_name", "name"),
)

image_property = Table(
    "image_property",
    metadata,
    Column("image_id", String(36), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("value", Text, nullable=False),
)

image_tag = Table(
    "image_tag",
    metadata,
    Column("image_id", String(36), primary_key=True),
    Column("value", String(255), primary_key=True),
)

image_member = Table(
    "image_member",
    metadata,
    Column("image_id", String(36), primary_key=True),
    Column("member_id", String(255), primary_key=True),
    Column("status", String(20), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Index("ix_image_member_member_id", "member_id"),
)

image_task = Table(
    "image_task",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("type", String(30), nullable=False),
    Column("status", String(30), nullable=False),
    Column("owner", String(255)),
    Column("user_id", String(64)),
    Column("image_id", String(36)),
    Column("request_id", String(64)),
    Column("input", Json),
    Column("result", Json),
    Column("message", Text, nullable=False),
    Column("expires_at", Timestamp),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Index("ix_image_task_image_id", "image_id"),
)

metadef_namespace = Table(
    "image_metadef_namespace",
    metadata,
    Column("namespace", String(80), primary_key=True),
    Column("display_name", String(80)),
    Column("description", Text),
    Column("visibility", String(16), nullable=False),
    Column("protected", Boolean, nullable=False),
    Column("owner", String(255)),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)

metadef_item = Table(
    "image_metadef_item",
    metadata,
    Column("namespace", String(80), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("body", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)
