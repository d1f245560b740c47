"""Who may do what in the Identity service by default: OpenStack's rules of today."""

from __future__ import annotations

POLICIES = {
    "admin_required": "role:admin",
    "service_role": "role:service",
    "service_or_admin": "rule:admin_required or rule:service_role",
    "owner": "user_id:%(user_id)s",
    "admin_or_owner": "rule:admin_required or rule:owner",
    "token_subject": "user_id:%(target.token.user_id)s",
    "admin_or_token_subject": "rule:admin_required or rule:token_subject",
    "service_admin_or_token_subject": "rule:service_or_admin or rule:token_subject",
    "identity:check_token": "(role:reader and system_scope:all) or rule:service_admin_or_token_subject",
    "identity:validate_token": "(role:reader and system_scope:all) or rule:service_admin_or_token_subject",
    "identity:revoke_token": "rule:admin_required or rule:token_subject",
}
