"""Tables of Block Storage: volumes and what hangs on them, types, quotas, backups, the hosts that serve them."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from virga.db.metadata import Json, Timestamp, metadata

volume = Table(
    "volume",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("project_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("name", String(255)),
    Column("description", String(255)),
    Column("size", Integer, nullable=False),
    Column("status", String(32), nullable=False),
    Column("previous_status", String(32)),
    Column("availability_zone", String(255), nullable=False),
    Column("host", String(255)),
    Column("volume_type_id", String(36)),
    Column("snapshot_id", String(36)),
    Column("source_volid", String(36)),
    Column("image_id", String(36)),
    Column("backup_id", String(36)),
    Column("group_id", String(36)),
    Column("bootable", Boolean, nullable=False, default=False),
    Column("read_only", Boolean),
    Column("multiattach", Boolean, nullable=False, default=False),
    Column("metadata", Json, nullable=False),
    Column("image_metadata", Json),
    Column("path", Text),
    Column("auth_user", String(64), nullable=False),
    Column("auth_password", String(64), nullable=False),
    Column("export", Boolean, nullable=False, default=False),
    Column("exported", Boolean, nullable=False, default=False),
    Column("portal", String(255)),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp),
    Column("launched_at", Timestamp),
    Index("ix_volume_project_id_created_at", "project_id", "created_at"),
    Index("ix_volume_created_at_id", "created_at", "id"),
    sqlite_autoincrement=True,
)

volume_attachment = Table(
    "volume_attachment",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("volume_id", String(36), nullable=False),
    Column("server_id", String(36)),
    Column("host", String(255)),
    Column("device", String(255)),
    Column("mode", String(8), nullable=False, default="rw"),
    Column("status", String(32), nullable=False),
    Column("connector", Json),
    Column("connection_info", Json),
    Column("attached_at", Timestamp),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp),
    Index("ix_volume_attachment_volume_id", "volume_id"),
    Index("ix_volume_attachment_server_id", "server_id"),
)

volume_snapshot = Table(
    "volume_snapshot",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("volume_id", String(36), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("name", String(255)),
    Column("description", String(255)),
    Column("size", Integer, nullable=False),
    Column("status", String(32), nullable=False),
    Column("progress", String(8), nullable=False, default="0%"),
    Column("group_snapshot_id", String(36)),
    Column("volume_type_id", String(36)),
    Column("metadata", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp),
    Index("ix_volume_snapshot_project_id", "project_id"),
    Index("ix_volume_snapshot_volume_id", "volume_id"),
    sqlite_autoincrement=True,
)

volume_type = Table(
    "volume_type",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", String(255)),
    Column("is_public", Boolean, nullable=False, default=True),
    Column("extra_specs", Json, nullable=False),
    Column("qos_specs_id", String(36)),
    Column("encryption", Json),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp),
)

volume_type_access = Table(
    "volume_type_access",
    metadata,
    Column("volume_type_id", String(36), ForeignKey("volume_type.id", ondelete="CASCADE"), primary_key=True),
    Column("project_id", String(64), primary_key=True),
)

volume_group_type = Table(
    "volume_group_type",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", String(255)),
    Column("is_public", Boolean, nullable=False, default=True),
    Column("group_specs", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
)

volume_group = Table(
    "volume_group",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("project_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("name", String(255)),
    Column("description", String(255)),
    Column("status", String(32), nullable=False),
    Column("availability_zone", String(255), nullable=False),
    Column("group_type_id", String(36), nullable=False),
    Column("volume_types", Json, nullable=False),
    Column("group_snapshot_id", String(36)),
    Column("source_group_id", String(36)),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_volume_group_project_id", "project_id"),
)

volume_group_snapshot = Table(
    "volume_group_snapshot",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("group_id", String(36), nullable=False),
    Column("group_type_id", String(36), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("name", String(255)),
    Column("description", String(255)),
    Column("status", String(32)),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_volume_group_snapshot_group_id", "group_id"),
)

volume_default_type = Table(
    "volume_default_type",
    metadata,
    Column("project_id", String(64), primary_key=True),
    Column("volume_type_id", String(36), nullable=False),
)

volume_qos_specs = Table(
    "volume_qos_specs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("consumer", String(16), nullable=False),
    Column("specs", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
)

volume_transfer = Table(
    "volume_transfer",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("volume_id", String(36), nullable=False, unique=True),
    Column("name", String(255)),
    Column("key_hash", String(128), nullable=False),
    Column("no_snapshots", Boolean, nullable=False, default=False),
    Column("source_project_id", String(64), nullable=False),
    Column("destination_project_id", String(64)),
    Column("accepted", Boolean, nullable=False, default=False),
    Column("created_at", Timestamp, nullable=False),
)

volume_backup = Table(
    "volume_backup",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("volume_id", String(36), nullable=False),
    Column("snapshot_id", String(36)),
    Column("parent_id", String(36)),
    Column("project_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("name", String(255)),
    Column("description", String(255)),
    Column("container", String(255), nullable=False),
    Column("host", String(255)),
    Column("availability_zone", String(255), nullable=False),
    Column("size", Integer, nullable=False),
    Column("object_count", Integer, nullable=False, default=0),
    Column("status", String(32), nullable=False),
    Column("fail_reason", Text),
    Column("metadata", Json, nullable=False),
    Column("volume_facts", Json),
    Column("data_at", Timestamp, nullable=False),
    Column("restore_volume_id", String(36)),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp),
    Index("ix_volume_backup_project_id", "project_id"),
    sqlite_autoincrement=True,
)

volume_quota = Table(
    "volume_quota",
    metadata,
    Column("scope", String(8), primary_key=True),
    Column("owner", String(255), primary_key=True),
    Column("resource", String(300), primary_key=True),
    Column("hard_limit", Integer, nullable=False),
)

volume_message = Table(
    "volume_message",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("project_id", String(64), nullable=False),
    Column("resource_type", String(32), nullable=False),
    Column("resource_id", String(36), nullable=False),
    Column("event_id", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("level", String(16), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Index("ix_volume_message_project_id", "project_id"),
)

volume_service = Table(
    "volume_service",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("host", String(255), nullable=False),
    Column("binary", String(64), nullable=False),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("disabled_reason", String(255)),
    Column("total_gb", Float, nullable=False, default=0.0),
    Column("free_gb", Float, nullable=False, default=0.0),
    Column("created_at", Timestamp, nullable=False),
    Column("seen_at", Timestamp, nullable=False),
    Index("ix_volume_service_host_binary", "host", "binary", unique=True),
    sqlite_autoincrement=True,
)
