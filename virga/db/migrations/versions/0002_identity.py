"""Identity: who there is, who may what, and where the services are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_identity"
down_revision = "0001_core"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity_project",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("domain_id", sa.String(64), nullable=False),
        sa.Column("parent_id", sa.String(64)),
        sa.Column("description", sa.Text()),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("is_domain", sa.Boolean(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.UniqueConstraint("domain_id", "name", name="uq_identity_project_domain_id_name"),
    )
    op.create_index("ix_identity_project_parent_id", "identity_project", ["parent_id"])
    op.create_table(
        "identity_project_tag",
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
    )
    op.create_table(
        "identity_user",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("domain_id", sa.String(64), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("default_project_id", sa.String(64)),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("failed_auth_count", sa.Integer(), nullable=False),
        sa.Column("failed_auth_at", sa.BigInteger()),
        sa.UniqueConstraint("domain_id", "name", name="uq_identity_user_domain_id_name"),
    )
    op.create_table(
        "identity_password",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(255), nullable=False),
        sa.Column("self_service", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
    )
    op.create_index("ix_identity_password_user_id", "identity_password", ["user_id"])
    op.create_table(
        "identity_group",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("domain_id", sa.String(64), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.UniqueConstraint("domain_id", "name", name="uq_identity_group_domain_id_name"),
    )
    op.create_table(
        "identity_membership",
        sa.Column("user_id", sa.String(64), primary_key=True),
        sa.Column("group_id", sa.String(64), primary_key=True),
    )
    op.create_index("ix_identity_membership_group_id", "identity_membership", ["group_id"])
    op.create_table(
        "identity_role",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("domain_id", sa.String(64), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
        sa.UniqueConstraint("domain_id", "name", name="uq_identity_role_domain_id_name"),
    )
    op.create_table(
        "identity_implied_role",
        sa.Column("prior_role_id", sa.String(64), primary_key=True),
        sa.Column("implied_role_id", sa.String(64), primary_key=True),
    )
    op.create_table(
        "identity_assignment",
        sa.Column("actor_kind", sa.String(8), primary_key=True),
        sa.Column("actor_id", sa.String(64), primary_key=True),
        sa.Column("target_kind", sa.String(8), primary_key=True),
        sa.Column("target_id", sa.String(64), primary_key=True),
        sa.Column("role_id", sa.String(64), primary_key=True),
        sa.Column("inherited", sa.Boolean(), primary_key=True),
    )
    op.create_index("ix_identity_assignment_actor_id", "identity_assignment", ["actor_id"])
    op.create_index("ix_identity_assignment_role_id", "identity_assignment", ["role_id"])
    op.create_index("ix_identity_assignment_target_id", "identity_assignment", ["target_id"])
    op.create_table(
        "identity_region",
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("parent_region_id", sa.String(255)),
        sa.Column("extra", sa.Text(), nullable=False),
    )
    op.create_table(
        "identity_service",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("type", sa.String(255)),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
    )
    op.create_table(
        "identity_endpoint",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("interface", sa.String(8), nullable=False),
        sa.Column("region_id", sa.String(255)),
        sa.Column("service_id", sa.String(64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
    )
    op.create_index("ix_identity_endpoint_service_id", "identity_endpoint", ["service_id"])
    op.create_table(
        "identity_project_endpoint",
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("endpoint_id", sa.String(64), primary_key=True),
    )
    op.create_table(
        "identity_credential",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64)),
        sa.Column("type", sa.String(255), nullable=False),
        sa.Column("encrypted_blob", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
    )
    op.create_index("ix_identity_credential_user_id", "identity_credential", ["user_id"])
    op.create_table(
        "identity_policy",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("type", sa.String(255), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
    )
    op.create_table(
        "identity_trust",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("trustor_user_id", sa.String(64), nullable=False),
        sa.Column("trustee_user_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64)),
        sa.Column("impersonation", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("deleted_at", sa.BigInteger()),
        sa.Column("remaining_uses", sa.Integer()),
        sa.Column("redelegated_trust_id", sa.String(64)),
        sa.Column("redelegation_count", sa.Integer(), nullable=False),
        sa.Column("role_ids", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
    )
    op.create_index("ix_identity_trust_trustee_user_id", "identity_trust", ["trustee_user_id"])
    op.create_index("ix_identity_trust_trustor_user_id", "identity_trust", ["trustor_user_id"])
    op.create_table(
        "identity_application_credential",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("secret_hash", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("unrestricted", sa.Boolean()),
        sa.Column("role_ids", sa.Text(), nullable=False),
        sa.Column("access_rule_ids", sa.Text(), nullable=False),
        sa.UniqueConstraint("user_id", "name", name="uq_identity_application_credential_user_id_name"),
    )
    op.create_index(
        "ix_identity_application_credential_project_id", "identity_application_credential", ["project_id"]
    )
    op.create_table(
        "identity_access_rule",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("service", sa.String(64), nullable=False),
        sa.Column("path", sa.String(255), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.UniqueConstraint(
            "user_id", "service", "path", "method", name="uq_identity_access_rule_user_id_service_path_method"
        ),
    )
    op.create_table(
        "identity_registered_limit",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("service_id", sa.String(255), nullable=False),
        sa.Column("region_id", sa.String(255), nullable=False),
        sa.Column("resource_name", sa.String(255), nullable=False),
        sa.Column("default_limit", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.UniqueConstraint(
            "service_id",
            "region_id",
            "resource_name",
            name="uq_identity_registered_limit_service_id_region_id_resource_name",
        ),
    )
    op.create_table(
        "identity_limit",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("registered_limit_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("domain_id", sa.String(64), nullable=False),
        sa.Column("resource_limit", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.UniqueConstraint(
            "registered_limit_id",
            "project_id",
            "domain_id",
            name="uq_identity_limit_registered_limit_id_project_id_domain_id",
        ),
    )
    op.create_table(
        "identity_domain_config",
        sa.Column("domain_id", sa.String(64), primary_key=True),
        sa.Column("group_name", sa.String(255), primary_key=True),
        sa.Column("option_name", sa.String(255), primary_key=True),
        sa.Column("value", sa.Text()),
    )
    op.create_table(
        "identity_endpoint_group",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("filters", sa.Text(), nullable=False),
    )
    op.create_table(
        "identity_project_endpoint_group",
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("endpoint_group_id", sa.String(64), primary_key=True),
    )
    op.create_table(
        "identity_consumer",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("description", sa.Text()),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False),
    )
    op.create_table(
        "identity_revocation",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("subject", sa.String(96), nullable=False),
        sa.Column("issued_before", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_identity_revocation_subject", "identity_revocation", ["subject"])
    op.create_table(
        "identity_epoch",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("value", sa.Integer(), nullable=False),
    )
