"""Tables of Compute: servers and what hangs on them, flavors, key pairs, hosts, quotas."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from virga.db.metadata import Json, Timestamp, metadata

server = Table(
    "server",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("project_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("name", String(255), nullable=False),
    Column("description", String(255)),
    Column("hostname", String(255), nullable=False),
    Column("vm_state", String(32), nullable=False),
    Column("task_state", String(64)),
    Column("power_state", Integer, nullable=False, default=0),
    Column("progress", Integer, nullable=False, default=0),
    Column("host", String(255)),
    Column("availability_zone", String(255)),
    Column("pinned_availability_zone", String(255)),
    Column("flavor_id", String(255), nullable=False),
    Column("flavor", Json, nullable=False),
    Column("other_flavor", Json),
    Column("image_id", String(36)),
    Column("image_properties", Json, nullable=False),
    Column("kernel_id", String(255), nullable=False, default=""),
    Column("ramdisk_id", String(255), nullable=False, default=""),
    Column("rescue_image_id", String(36)),
    Column("shelved_image_id", String(36)),
    Column("key_name", String(255)),
    Column("key_data", Text),
    Column("user_data", Text),
    Column("config_drive", String(8), nullable=False, default=""),
    Column("access_ip_v4", String(39)),
    Column("access_ip_v6", String(39)),
    Column("auto_disk_config", Boolean, nullable=False, default=False),
    Column("metadata", Json, nullable=False),
    Column("personality", Json, nullable=False),
    Column("scheduler_hints", Json, nullable=False),
    Column("security_groups", Json, nullable=False),
    Column("requested_networks", Json),
    Column("requested_host", String(255)),
    Column("tried_hosts", Json, nullable=False),
    Column("reservation_id", String(32), nullable=False),
    Column("launch_index", Integer, nullable=False, default=0),
    Column("root_device_name", String(255)),
    Column("locked_by", String(16)),
    Column("locked_reason", String(255)),
    Column("fault", Json),
    Column("trusted_certs", Json),
    Column("admin_password", Text),
    Column("password", Text),
    Column("wanted_power", String(16), nullable=False, default="running"),
    Column("realised", String(16), nullable=False, default=""),
    Column("on_host", Boolean, nullable=False, default=False),
    Column("build", Integer, nullable=False, default=1),
    Column("starts", Integer, nullable=False, default=0),
    Column("source_disk", Text),
    Column("action_request_id", String(64), nullable=False, default=""),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp),
    Column("launched_at", Timestamp),
    Column("terminated_at", Timestamp),
    Column("deleted", Boolean, nullable=False, default=False),
    Column("deleted_at", Timestamp),
    Index("ix_server_project_id_deleted", "project_id", "deleted"),
    Index("ix_server_host_deleted", "host", "deleted"),
    Index("ix_server_deleted_created_at", "deleted", "created_at"),
    sqlite_autoincrement=True,
)

server_port = Table(
    "server_port",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("server_id", String(36), nullable=False),
    Column("port_id", String(36), nullable=False, unique=True),
    Column("keep", Boolean, nullable=False, default=False),
    Column("tag", String(60)),
    Index("ix_server_port_server_id", "server_id"),
)

server_tag = Table(
    "server_tag",
    metadata,
    Column("server_id", String(36), primary_key=True),
    Column("tag", String(80), primary_key=True),
)

block_device = Table(
    "block_device",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("server_id", String(36), nullable=False),
    Column("source_type", String(16), nullable=False),
    Column("destination_type", String(16), nullable=False),
    Column("image_id", String(36)),
    Column("volume_id", String(36)),
    Column("snapshot_id", String(36)),
    Column("volume_size", Integer),
    Column("volume_type", String(255)),
    Column("device_name", String(255)),
    Column("boot_index", Integer),
    Column("delete_on_termination", Boolean, nullable=False, default=False),
    Column("guest_format", String(255)),
    Column("device_type", String(255)),
    Column("disk_bus", String(255)),
    Column("tag", String(60)),
    Column("attachment_id", String(36)),
    Column("connection", Json),
    Column("attached", Boolean, nullable=False, default=False),
    Index("ix_block_device_server_id", "server_id"),
    Index("ix_block_device_volume_id", "volume_id"),
)

instance_action = Table(
    "instance_action",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("server_id", String(36), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("message", String(255)),
    Column("started_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp),
    Index("ix_instance_action_server_id", "server_id"),
)

instance_action_event = Table(
    "instance_action_event",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column(
        "action_number", Integer, ForeignKey("instance_action.number", ondelete="CASCADE"), nullable=False
    ),
    Column("event", String(255), nullable=False),
    Column("host", String(255)),
    Column("started_at", Timestamp, nullable=False),
    Column("finished_at", Timestamp),
    Column("result", String(32)),
    Column("details", Text),
    Index("ix_instance_action_event_action_number", "action_number"),
)

migration = Table(
    "migration",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("server_id", String(36), nullable=False),
    Column("user_id", String(64)),
    Column("project_id", String(64)),
    Column("source_host", String(255)),
    Column("destination_host", String(255)),
    Column("status", String(32), nullable=False),
    Column("migration_type", String(32), nullable=False),
    Column("old_flavor_number", Integer),
    Column("new_flavor_number", Integer),
    Column("layout", Json),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp),
    Index("ix_migration_server_id", "server_id"),
)

flavor = Table(
    "flavor",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(255), nullable=False, unique=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("description", Text),
    Column("vcpus", Integer, nullable=False),
    Column("memory_mb", Integer, nullable=False),
    Column("root_gb", Integer, nullable=False),
    Column("ephemeral_gb", Integer, nullable=False, default=0),
    Column("swap_mb", Integer, nullable=False, default=0),
    Column("rxtx_factor", Float, nullable=False, default=1.0),
    Column("is_public", Boolean, nullable=False, default=True),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("extra_specs", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp),
    sqlite_autoincrement=True,
)

flavor_access = Table(
    "flavor_access",
    metadata,
    Column("flavor_id", String(255), ForeignKey("flavor.id", ondelete="CASCADE"), primary_key=True),
    Column("project_id", String(64), primary_key=True),
)

keypair = Table(
    "keypair",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("user_id", String(64), nullable=False),
    Column("name", String(255), nullable=False),
    Column("type", String(8), nullable=False, default="ssh"),
    Column("fingerprint", String(255), nullable=False),
    Column("public_key", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    UniqueConstraint("user_id", "name"),
)

server_group = Table(
    "server_group",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("project_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("name", String(255), nullable=False),
    Column("policy", String(32), nullable=False),
    Column("rules", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_server_group_project_id", "project_id"),
)

server_group_member = Table(
    "server_group_member",
    metadata,
    Column("server_id", String(36), primary_key=True),
    Column("group_id", String(36), nullable=False),
    Index("ix_server_group_member_group_id", "group_id"),
)

compute_service = Table(
    "compute_service",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("host", String(255), nullable=False),
    Column("binary", String(64), nullable=False),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("disabled_reason", String(255)),
    Column("forced_down", Boolean, nullable=False, default=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp),
    Column("seen_at", Timestamp),
    Column("resources", Json),
    Column("node_id", String(36), nullable=False),
    UniqueConstraint("host", "binary"),
    sqlite_autoincrement=True,
)

aggregate = Table(
    "aggregate",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("metadata", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp),
    sqlite_autoincrement=True,
)

aggregate_host = Table(
    "aggregate_host",
    metadata,
    Column("aggregate_number", Integer, ForeignKey("aggregate.number", ondelete="CASCADE"), primary_key=True),
    Column("host", String(255), primary_key=True),
)

compute_quota = Table(
    "compute_quota",
    metadata,
    Column("scope", String(8), primary_key=True),
    Column("project_id", String(255), primary_key=True),
    Column("user_id", String(64), primary_key=True),
    Column("resource", String(64), primary_key=True),
    Column("hard_limit", Integer, nullable=False),
)

console_token = Table(
    "console_token",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("server_id", String(36), nullable=False),
    Column("console_type", String(16), nullable=False),
    Column("host", String(255), nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Index("ix_console_token_server_id", "server_id"),
)
