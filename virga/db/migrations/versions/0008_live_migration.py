"""Compute: what of a running machine its next host must repeat."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_live_migration"
down_revision = "0007_network_qos"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("migration", sa.Column("layout", sa.JSON()))
