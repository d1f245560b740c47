"""Quality of service: policies, their rules, and which of them networks and ports are under."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_network_qos"
down_revision = "0006_block_storage"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _qos_policy()
    _qos_rule()
    for table in ("network", "port"):
        # Both databases take the reference with the column; SQLite takes it no other way.
        op.execute(f"ALTER TABLE {table} ADD COLUMN qos_policy_id VARCHAR(36) REFERENCES qos_policy (id)")


def _qos_policy() -> None:
    op.create_table(
        "qos_policy",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.String(255)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("revision_number", sa.Integer(), nullable=False),
        sa.Column("is_default", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_qos_policy")),
    )
    op.create_index(op.f("ix_qos_policy_project_id"), "qos_policy", ["project_id"], unique=False)


def _qos_rule() -> None:
    op.create_table(
        "qos_rule",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("qos_policy_id", sa.String(36), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("max_kbps", sa.Integer()),
        sa.Column("max_burst_kbps", sa.Integer()),
        sa.Column("max_kpps", sa.Integer()),
        sa.Column("max_burst_kpps", sa.Integer()),
        sa.Column("min_kbps", sa.Integer()),
        sa.Column("min_kpps", sa.Integer()),
        sa.Column("dscp_mark", sa.Integer()),
        sa.ForeignKeyConstraint(
            ["qos_policy_id"],
            ["qos_policy.id"],
            name=op.f("fk_qos_rule_qos_policy_id_qos_policy"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_qos_rule")),
        sa.UniqueConstraint(
            "qos_policy_id",
            "type",
            "direction",
            name=op.f("uq_qos_rule_qos_policy_id_type_direction"),
        ),
    )
