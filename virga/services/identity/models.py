"""Tables of the Identity service.

A domain is a project with ``is_domain`` and an empty ``domain_id``, as in OpenStack, so that grants and
hierarchy have one kind of target. Empty text instead of NULL where a unique constraint must see the value.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, Text, UniqueConstraint

from virga.db.metadata import Json, Timestamp, metadata

project = Table(
    "identity_project",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("domain_id", String(64), nullable=False),
    Column("parent_id", String(64)),
    Column("description", Text),
    Column("enabled", Boolean, nullable=False),
    Column("is_domain", Boolean, nullable=False),
    Column("options", Json, nullable=False),
    Column("extra", Json, nullable=False),
    UniqueConstraint("domain_id", "name"),
    Index("ix_identity_project_parent_id", "parent_id"),
)

project_tag = Table(
    "identity_project_tag",
    metadata,
    Column("project_id", String(64), primary_key=True),
    Column("name", String(255), primary_key=True),
)

user = Table(
    "identity_user",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("domain_id", String(64), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("default_project_id", String(64)),
    Column("options", Json, nullable=False),
    Column("extra", Json, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("failed_auth_count", Integer, nullable=False),
    Column("failed_auth_at", Timestamp),
    UniqueConstraint("domain_id", "name"),
)

password = Table(
    "identity_password",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("user_id", String(64), nullable=False),
    Column("hash", String(255), nullable=False),
    Column("self_service", Boolean, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp),
    Index("ix_identity_password_user_id", "user_id"),
)

group = Table(
    "identity_group",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("domain_id", String(64), nullable=False),
    Column("description", Text),
    Column("extra", Json, nullable=False),
    UniqueConstraint("domain_id", "name"),
)

membership = Table(
    "identity_membership",
    metadata,
    Column("user_id", String(64), primary_key=True),
    Column("group_id", String(64), primary_key=True),
    Index("ix_identity_membership_group_id", "group_id"),
)

role = Table(
    "identity_role",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("domain_id", String(64), nullable=False),
    Column("description", Text),
    Column("options", Json, nullable=False),
    Column("extra", Json, nullable=False),
    UniqueConstraint("domain_id", "name"),
)

implied_role = Table(
    "identity_implied_role",
    metadata,
    Column("prior_role_id", String(64), primary_key=True),
    Column("implied_role_id", String(64), primary_key=True),
)

assignment = Table(
    "identity_assignment",
    metadata,
    Column("actor_kind", String(8), primary_key=True),
    Column("actor_id", String(64), primary_key=True),
    Column("target_kind", String(8), primary_key=True),
    Column("target_id", String(64), primary_key=True),
    Column("role_id", String(64), primary_key=True),
    Column("inherited", Boolean, primary_key=True),
    Index("ix_identity_assignment_target_id", "target_id"),
    Index("ix_identity_assignment_actor_id", "actor_id"),
    Index("ix_identity_assignment_role_id", "role_id"),
)

region = Table(
    "identity_region",
    metadata,
    Column("id", String(255), primary_key=True),
    Column("description", Text, nullable=False),
    Column("parent_region_id", String(255)),
    Column("extra", Json, nullable=False),
)

service = Table(
    "identity_service",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("type", String(255)),
    Column("enabled", Boolean, nullable=False),
    Column("extra", Json, nullable=False),
)

endpoint = Table(
    "identity_endpoint",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("interface", String(8), nullable=False),
    Column("region_id", String(255)),
    Column("service_id", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("extra", Json, nullable=False),
    Index("ix_identity_endpoint_service_id", "service_id"),
)

project_endpoint = Table(
    "identity_project_endpoint",
    metadata,
    Column("project_id", String(64), primary_key=True),
    Column("endpoint_id", String(64), primary_key=True),
)

credential = Table(
    "identity_credential",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("project_id", String(64)),
    Column("type", String(255), nullable=False),
    Column("encrypted_blob", Text, nullable=False),
    Column("extra", Json, nullable=False),
    Index("ix_identity_credential_user_id", "user_id"),
)

policy = Table(
    "identity_policy",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("type", String(255), nullable=False),
    Column("blob", Text, nullable=False),
    Column("extra", Json, nullable=False),
)

trust = Table(
    "identity_trust",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("trustor_user_id", String(64), nullable=False),
    Column("trustee_user_id", String(64), nullable=False),
    Column("project_id", String(64)),
    Column("impersonation", Boolean, nullable=False),
    Column("expires_at", Timestamp),
    Column("deleted_at", Timestamp),
    Column("remaining_uses", Integer),
    Column("redelegated_trust_id", String(64)),
    Column("redelegation_count", Integer, nullable=False),
    Column("role_ids", Json, nullable=False),
    Column("extra", Json, nullable=False),
    Index("ix_identity_trust_trustor_user_id", "trustor_user_id"),
    Index("ix_identity_trust_trustee_user_id", "trustee_user_id"),
)

application_credential = Table(
    "identity_application_credential",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("secret_hash", String(255), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("description", Text),
    Column("expires_at", Timestamp),
    Column("unrestricted", Boolean),
    Column("role_ids", Json, nullable=False),
    Column("access_rule_ids", Json, nullable=False),
    UniqueConstraint("user_id", "name"),
    Index("ix_identity_application_credential_project_id", "project_id"),
)

access_rule = Table(
    "identity_access_rule",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("service", String(64), nullable=False),
    Column("path", String(255), nullable=False),
    Column("method", String(16), nullable=False),
    UniqueConstraint("user_id", "service", "path", "method"),
)

registered_limit = Table(
    "identity_registered_limit",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("service_id", String(255), nullable=False),
    Column("region_id", String(255), nullable=False),
    Column("resource_name", String(255), nullable=False),
    Column("default_limit", Integer, nullable=False),
    Column("description", Text),
    UniqueConstraint("service_id", "region_id", "resource_name"),
)

limit = Table(
    "identity_limit",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("registered_limit_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("domain_id", String(64), nullable=False),
    Column("resource_limit", Integer, nullable=False),
    Column("description", Text),
    UniqueConstraint("registered_limit_id", "project_id", "domain_id"),
)

domain_config = Table(
    "identity_domain_config",
    metadata,
    Column("domain_id", String(64), primary_key=True),
    Column("group_name", String(255), primary_key=True),
    Column("option_name", String(255), primary_key=True),
    Column("value", Json),
)

endpoint_group = Table(
    "identity_endpoint_group",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("description", Text),
    Column("filters", Json, nullable=False),
)

project_endpoint_group = Table(
    "identity_project_endpoint_group",
    metadata,
    Column("project_id", String(64), primary_key=True),
    Column("endpoint_group_id", String(64), primary_key=True),
)

consumer = Table(
    "identity_consumer",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("description", Text),
    Column("secret", String(64), nullable=False),
    Column("extra", Json, nullable=False),
)

revocation = Table(
    "identity_revocation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("subject", String(96), nullable=False),
    Column("issued_before", Timestamp, nullable=False),
    Column("revoked_at", Timestamp, nullable=False),
    Index("ix_identity_revocation_subject", "subject"),
)

epoch = Table(
    "identity_epoch",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("value", Integer, nullable=False),
)
