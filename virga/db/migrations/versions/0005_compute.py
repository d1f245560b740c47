"""Compute and Placement."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_compute"
down_revision = "0004_network"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _placement()
    _compute()


def _placement() -> None:
    op.create_table(
        "resource_provider",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.String(36), sa.ForeignKey("resource_provider.id"), nullable=True),
        sa.Column("root_id", sa.String(36), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_resource_provider_root_id", "resource_provider", ["root_id"])
    op.create_table(
        "inventory",
        sa.Column(
            "provider_id",
            sa.String(36),
            sa.ForeignKey("resource_provider.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("resource_class", sa.String(255), primary_key=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("reserved", sa.Integer(), nullable=False),
        sa.Column("min_unit", sa.Integer(), nullable=False),
        sa.Column("max_unit", sa.Integer(), nullable=False),
        sa.Column("step_size", sa.Integer(), nullable=False),
        sa.Column("allocation_ratio", sa.Float(), nullable=False),
    )
    op.create_table(
        "consumer",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("consumer_type", sa.String(255), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_consumer_project_id", "consumer", ["project_id"])
    op.create_table(
        "allocation",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column(
            "consumer_id", sa.String(36), sa.ForeignKey("consumer.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("provider_id", sa.String(36), sa.ForeignKey("resource_provider.id"), nullable=False),
        sa.Column("resource_class", sa.String(255), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.UniqueConstraint("consumer_id", "provider_id", "resource_class"),
    )
    op.create_index("ix_allocation_provider_id", "allocation", ["provider_id"])
    op.create_table(
        "resource_class",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "trait",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "provider_trait",
        sa.Column(
            "provider_id",
            sa.String(36),
            sa.ForeignKey("resource_provider.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("trait", sa.String(255), primary_key=True),
    )
    op.create_table(
        "provider_aggregate",
        sa.Column(
            "provider_id",
            sa.String(36),
            sa.ForeignKey("resource_provider.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("aggregate_id", sa.String(36), primary_key=True),
    )


def _compute() -> None:
    op.create_table(
        "server",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.String(255), nullable=True),
        sa.Column("hostname", sa.String(255), nullable=False),
        sa.Column("vm_state", sa.String(32), nullable=False),
        sa.Column("task_state", sa.String(64), nullable=True),
        sa.Column("power_state", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(255), nullable=True),
        sa.Column("availability_zone", sa.String(255), nullable=True),
        sa.Column("pinned_availability_zone", sa.String(255), nullable=True),
        sa.Column("flavor_id", sa.String(255), nullable=False),
        sa.Column("flavor", sa.Text(), nullable=False),
        sa.Column("other_flavor", sa.Text(), nullable=True),
        sa.Column("image_id", sa.String(36), nullable=True),
        sa.Column("image_properties", sa.Text(), nullable=False),
        sa.Column("kernel_id", sa.String(255), nullable=False),
        sa.Column("ramdisk_id", sa.String(255), nullable=False),
        sa.Column("rescue_image_id", sa.String(36), nullable=True),
        sa.Column("shelved_image_id", sa.String(36), nullable=True),
        sa.Column("key_name", sa.String(255), nullable=True),
        sa.Column("key_data", sa.Text(), nullable=True),
        sa.Column("user_data", sa.Text(), nullable=True),
        sa.Column("config_drive", sa.String(8), nullable=False),
        sa.Column("access_ip_v4", sa.String(39), nullable=True),
        sa.Column("access_ip_v6", sa.String(39), nullable=True),
        sa.Column("auto_disk_config", sa.Boolean(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("personality", sa.Text(), nullable=False),
        sa.Column("scheduler_hints", sa.Text(), nullable=False),
        sa.Column("security_groups", sa.Text(), nullable=False),
        sa.Column("requested_networks", sa.Text(), nullable=True),
        sa.Column("requested_host", sa.String(255), nullable=True),
        sa.Column("tried_hosts", sa.Text(), nullable=False),
        sa.Column("reservation_id", sa.String(32), nullable=False),
        sa.Column("launch_index", sa.Integer(), nullable=False),
        sa.Column("root_device_name", sa.String(255), nullable=True),
        sa.Column("locked_by", sa.String(16), nullable=True),
        sa.Column("locked_reason", sa.String(255), nullable=True),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("trusted_certs", sa.Text(), nullable=True),
        sa.Column("admin_password", sa.Text(), nullable=True),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("wanted_power", sa.String(16), nullable=False),
        sa.Column("realised", sa.String(16), nullable=False),
        sa.Column("on_host", sa.Boolean(), nullable=False),
        sa.Column("build", sa.Integer(), nullable=False),
        sa.Column("source_disk", sa.Text(), nullable=True),
        sa.Column("action_request_id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=True),
        sa.Column("launched_at", sa.BigInteger(), nullable=True),
        sa.Column("terminated_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_server_deleted_created_at", "server", ["deleted", "created_at"])
    op.create_index("ix_server_host_deleted", "server", ["host", "deleted"])
    op.create_index("ix_server_project_id_deleted", "server", ["project_id", "deleted"])
    op.create_table(
        "server_port",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("server_id", sa.String(36), nullable=False),
        sa.Column("port_id", sa.String(36), nullable=False, unique=True),
        sa.Column("keep", sa.Boolean(), nullable=False),
        sa.Column("tag", sa.String(60), nullable=True),
    )
    op.create_index("ix_server_port_server_id", "server_port", ["server_id"])
    op.create_table(
        "server_tag",
        sa.Column("server_id", sa.String(36), primary_key=True),
        sa.Column("tag", sa.String(80), primary_key=True),
    )
    op.create_table(
        "block_device",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("server_id", sa.String(36), nullable=False),
        sa.Column("source_type", sa.String(16), nullable=False),
        sa.Column("destination_type", sa.String(16), nullable=False),
        sa.Column("image_id", sa.String(36), nullable=True),
        sa.Column("volume_id", sa.String(36), nullable=True),
        sa.Column("snapshot_id", sa.String(36), nullable=True),
        sa.Column("volume_size", sa.Integer(), nullable=True),
        sa.Column("volume_type", sa.String(255), nullable=True),
        sa.Column("device_name", sa.String(255), nullable=True),
        sa.Column("boot_index", sa.Integer(), nullable=True),
        sa.Column("delete_on_termination", sa.Boolean(), nullable=False),
        sa.Column("guest_format", sa.String(255), nullable=True),
        sa.Column("device_type", sa.String(255), nullable=True),
        sa.Column("disk_bus", sa.String(255), nullable=True),
        sa.Column("tag", sa.String(60), nullable=True),
        sa.Column("attachment_id", sa.String(36), nullable=True),
        sa.Column("connection", sa.Text(), nullable=True),
        sa.Column("attached", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_block_device_server_id", "block_device", ["server_id"])
    op.create_index("ix_block_device_volume_id", "block_device", ["volume_id"])
    op.create_table(
        "instance_action",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("server_id", sa.String(36), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("message", sa.String(255), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=True),
    )
    op.create_index("ix_instance_action_server_id", "instance_action", ["server_id"])
    op.create_table(
        "instance_action_event",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column(
            "action_number",
            sa.Integer(),
            sa.ForeignKey("instance_action.number", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("event", sa.String(255), nullable=False),
        sa.Column("host", sa.String(255), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("result", sa.String(32), nullable=True),
        sa.Column("details", sa.Text(), nullable=True),
    )
    op.create_index("ix_instance_action_event_action_number", "instance_action_event", ["action_number"])
    op.create_table(
        "migration",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("server_id", sa.String(36), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=True),
        sa.Column("project_id", sa.String(64), nullable=True),
        sa.Column("source_host", sa.String(255), nullable=True),
        sa.Column("destination_host", sa.String(255), nullable=True),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("migration_type", sa.String(32), nullable=False),
        sa.Column("old_flavor_number", sa.Integer(), nullable=True),
        sa.Column("new_flavor_number", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=True),
    )
    op.create_index("ix_migration_server_id", "migration", ["server_id"])
    op.create_table(
        "flavor",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(255), nullable=False, unique=True),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.Integer(), nullable=False),
        sa.Column("root_gb", sa.Integer(), nullable=False),
        sa.Column("ephemeral_gb", sa.Integer(), nullable=False),
        sa.Column("swap_mb", sa.Integer(), nullable=False),
        sa.Column("rxtx_factor", sa.Float(), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("extra_specs", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "flavor_access",
        sa.Column(
            "flavor_id", sa.String(255), sa.ForeignKey("flavor.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("project_id", sa.String(64), primary_key=True),
    )
    op.create_table(
        "keypair",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("type", sa.String(8), nullable=False),
        sa.Column("fingerprint", sa.String(255), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("user_id", "name"),
    )
    op.create_table(
        "server_group",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("policy", sa.String(32), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_server_group_project_id", "server_group", ["project_id"])
    op.create_table(
        "server_group_member",
        sa.Column("server_id", sa.String(36), primary_key=True),
        sa.Column("group_id", sa.String(36), nullable=False),
    )
    op.create_index("ix_server_group_member_group_id", "server_group_member", ["group_id"])
    op.create_table(
        "compute_service",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("binary", sa.String(64), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.String(255), nullable=True),
        sa.Column("forced_down", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=True),
        sa.Column("resources", sa.Text(), nullable=True),
        sa.Column("node_id", sa.String(36), nullable=False),
        sa.UniqueConstraint("host", "binary"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "aggregate",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "aggregate_host",
        sa.Column(
            "aggregate_number",
            sa.Integer(),
            sa.ForeignKey("aggregate.number", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("host", sa.String(255), primary_key=True),
    )
    op.create_table(
        "compute_quota",
        sa.Column("scope", sa.String(8), primary_key=True),
        sa.Column("project_id", sa.String(255), primary_key=True),
        sa.Column("user_id", sa.String(64), primary_key=True),
        sa.Column("resource", sa.String(64), primary_key=True),
        sa.Column("hard_limit", sa.Integer(), nullable=False),
    )
    op.create_table(
        "console_token",
        sa.Column("token_hash", sa.String(64), primary_key=True),
        sa.Column("server_id", sa.String(36), nullable=False),
        sa.Column("console_type", sa.String(16), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_console_token_server_id", "console_token", ["server_id"])
