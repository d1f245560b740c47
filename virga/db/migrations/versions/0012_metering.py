"""Metering labels and their rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012_metering"
down_revision = "0011_record"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "metering_label",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metering_label")),
    )
    op.create_index(op.f("ix_metering_label_project_id"), "metering_label", ["project_id"])
    op.create_table(
        "metering_label_rule",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("metering_label_id", sa.String(36), nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("excluded", sa.Boolean(), nullable=False),
        sa.Column("remote_ip_prefix", sa.String(64)),
        sa.Column("source_ip_prefix", sa.String(64)),
        sa.Column("destination_ip_prefix", sa.String(64)),
        sa.ForeignKeyConstraint(
            ["metering_label_id"],
            ["metering_label.id"],
            name=op.f("fk_metering_label_rule_metering_label_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metering_label_rule")),
    )
    op.create_index(
        op.f("ix_metering_label_rule_metering_label_id"), "metering_label_rule", ["metering_label_id"]
    )
