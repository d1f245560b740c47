"""Block Storage: volumes, snapshots, attachments, types, transfers, backups, quotas, messages, services."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_block_storage"
down_revision = "0005_compute"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _volume()
    _volume_attachment()
    _volume_snapshot()
    _volume_type()
    _volume_type_access()
    _volume_group_type()
    _volume_group()
    _volume_group_snapshot()
    _volume_default_type()
    _volume_qos_specs()
    _volume_transfer()
    _volume_backup()
    _volume_quota()
    _volume_message()
    _volume_service()


def _volume() -> None:
    op.create_table(
        "volume",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("description", sa.String(255)),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("previous_status", sa.String(32)),
        sa.Column("availability_zone", sa.String(255), nullable=False),
        sa.Column("host", sa.String(255)),
        sa.Column("volume_type_id", sa.String(36)),
        sa.Column("snapshot_id", sa.String(36)),
        sa.Column("source_volid", sa.String(36)),
        sa.Column("image_id", sa.String(36)),
        sa.Column("backup_id", sa.String(36)),
        sa.Column("group_id", sa.String(36)),
        sa.Column("bootable", sa.Boolean(), nullable=False),
        sa.Column("read_only", sa.Boolean()),
        sa.Column("multiattach", sa.Boolean(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("image_metadata", sa.Text()),
        sa.Column("path", sa.Text()),
        sa.Column("auth_user", sa.String(64), nullable=False),
        sa.Column("auth_password", sa.String(64), nullable=False),
        sa.Column("export", sa.Boolean(), nullable=False),
        sa.Column("exported", sa.Boolean(), nullable=False),
        sa.Column("portal", sa.String(255)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger()),
        sa.Column("launched_at", sa.BigInteger()),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_volume_created_at_id", "volume", ["created_at", "id"])
    op.create_index("ix_volume_project_id_created_at", "volume", ["project_id", "created_at"])


def _volume_attachment() -> None:
    op.create_table(
        "volume_attachment",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("volume_id", sa.String(36), nullable=False),
        sa.Column("server_id", sa.String(36)),
        sa.Column("host", sa.String(255)),
        sa.Column("device", sa.String(255)),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("connector", sa.Text()),
        sa.Column("connection_info", sa.Text()),
        sa.Column("attached_at", sa.BigInteger()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger()),
    )
    op.create_index("ix_volume_attachment_server_id", "volume_attachment", ["server_id"])
    op.create_index("ix_volume_attachment_volume_id", "volume_attachment", ["volume_id"])


def _volume_snapshot() -> None:
    op.create_table(
        "volume_snapshot",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("volume_id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("description", sa.String(255)),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("progress", sa.String(8), nullable=False),
        sa.Column("group_snapshot_id", sa.String(36)),
        sa.Column("volume_type_id", sa.String(36)),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger()),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_volume_snapshot_project_id", "volume_snapshot", ["project_id"])
    op.create_index("ix_volume_snapshot_volume_id", "volume_snapshot", ["volume_id"])


def _volume_type() -> None:
    op.create_table(
        "volume_type",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("description", sa.String(255)),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("extra_specs", sa.Text(), nullable=False),
        sa.Column("qos_specs_id", sa.String(36)),
        sa.Column("encryption", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger()),
    )


def _volume_type_access() -> None:
    op.create_table(
        "volume_type_access",
        sa.Column(
            "volume_type_id",
            sa.String(36),
            sa.ForeignKey("volume_type.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("project_id", sa.String(64), primary_key=True),
    )


def _volume_group_type() -> None:
    op.create_table(
        "volume_group_type",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("description", sa.String(255)),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("group_specs", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )


def _volume_group() -> None:
    op.create_table(
        "volume_group",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("description", sa.String(255)),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("availability_zone", sa.String(255), nullable=False),
        sa.Column("group_type_id", sa.String(36), nullable=False),
        sa.Column("volume_types", sa.Text(), nullable=False),
        sa.Column("group_snapshot_id", sa.String(36)),
        sa.Column("source_group_id", sa.String(36)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_volume_group_project_id", "volume_group", ["project_id"])


def _volume_group_snapshot() -> None:
    op.create_table(
        "volume_group_snapshot",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("group_id", sa.String(36), nullable=False),
        sa.Column("group_type_id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("description", sa.String(255)),
        sa.Column("status", sa.String(32)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_volume_group_snapshot_group_id", "volume_group_snapshot", ["group_id"])


def _volume_default_type() -> None:
    op.create_table(
        "volume_default_type",
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("volume_type_id", sa.String(36), nullable=False),
    )


def _volume_qos_specs() -> None:
    op.create_table(
        "volume_qos_specs",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("consumer", sa.String(16), nullable=False),
        sa.Column("specs", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )


def _volume_transfer() -> None:
    op.create_table(
        "volume_transfer",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("volume_id", sa.String(36), nullable=False, unique=True),
        sa.Column("name", sa.String(255)),
        sa.Column("key_hash", sa.String(128), nullable=False),
        sa.Column("no_snapshots", sa.Boolean(), nullable=False),
        sa.Column("source_project_id", sa.String(64), nullable=False),
        sa.Column("destination_project_id", sa.String(64)),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )


def _volume_backup() -> None:
    op.create_table(
        "volume_backup",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("volume_id", sa.String(36), nullable=False),
        sa.Column("snapshot_id", sa.String(36)),
        sa.Column("parent_id", sa.String(36)),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("description", sa.String(255)),
        sa.Column("container", sa.String(255), nullable=False),
        sa.Column("host", sa.String(255)),
        sa.Column("availability_zone", sa.String(255), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("object_count", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("fail_reason", sa.Text()),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("volume_facts", sa.Text()),
        sa.Column("data_at", sa.BigInteger(), nullable=False),
        sa.Column("restore_volume_id", sa.String(36)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger()),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_volume_backup_project_id", "volume_backup", ["project_id"])


def _volume_quota() -> None:
    op.create_table(
        "volume_quota",
        sa.Column("scope", sa.String(8), primary_key=True),
        sa.Column("owner", sa.String(255), primary_key=True),
        sa.Column("resource", sa.String(300), primary_key=True),
        sa.Column("hard_limit", sa.Integer(), nullable=False),
    )


def _volume_message() -> None:
    op.create_table(
        "volume_message",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("resource_type", sa.String(32), nullable=False),
        sa.Column("resource_id", sa.String(36), nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_volume_message_project_id", "volume_message", ["project_id"])


def _volume_service() -> None:
    op.create_table(
        "volume_service",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("binary", sa.String(64), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.String(255)),
        sa.Column("total_gb", sa.Float(), nullable=False),
        sa.Column("free_gb", sa.Float(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_volume_service_host_binary", "volume_service", ["host", "binary"], unique=True)
