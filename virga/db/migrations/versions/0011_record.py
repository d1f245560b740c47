"""Changes say who asked for what; explanations and differences seen are kept for a while."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011_record"
down_revision = "0010_network_flavor"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, size in (("user_id", 64), ("project_id", 64), ("action", 255)):
        op.add_column("change", sa.Column(name, sa.String(size), server_default="", nullable=False))
    op.create_table(
        "observation",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("observed_at", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_observation_observed_at", "observation", ["observed_at"])
