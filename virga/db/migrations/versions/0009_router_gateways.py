"""Routers: whether default routes go by all external gateways."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009_router_gateways"
down_revision = "0008_live_migration"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "router",
        sa.Column("enable_default_route_ecmp", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
