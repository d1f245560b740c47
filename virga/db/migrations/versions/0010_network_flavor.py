"""Flavors of network services, their service profiles, and which flavor a router is of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010_network_flavor"
down_revision = "0009_router_gateways"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "network_flavor",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("service_type", sa.String(36), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_network_flavor")),
    )
    op.create_table(
        "network_service_profile",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("driver", sa.Text(), nullable=False),
        sa.Column("metainfo", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_network_service_profile")),
    )
    op.create_table(
        "network_flavor_profile",
        sa.Column("flavor_id", sa.String(36), nullable=False),
        sa.Column("service_profile_id", sa.String(36), nullable=False),
        sa.ForeignKeyConstraint(
            ["flavor_id"],
            ["network_flavor.id"],
            name=op.f("fk_network_flavor_profile_flavor_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["service_profile_id"],
            ["network_service_profile.id"],
            name=op.f("fk_network_flavor_profile_service_profile_id"),
        ),
        sa.PrimaryKeyConstraint("flavor_id", "service_profile_id", name=op.f("pk_network_flavor_profile")),
    )
    # Both databases take the reference with the column; SQLite takes it no other way.
    op.execute("ALTER TABLE router ADD COLUMN flavor_id VARCHAR(36) REFERENCES network_flavor (id)")
