"""Compute: how often a start was asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013_server_starts"
down_revision = "0012_metering"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("server", sa.Column("starts", sa.Integer(), server_default="0", nullable=False))
