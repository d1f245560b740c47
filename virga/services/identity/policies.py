"""Who may do what in the Identity service by default: OpenStack's rules of today.

``target`` holds what the URL names (user, project, group, role, ...), so that managers and readers of a
domain reach what is in their domain.
"""

from __future__ import annotations

ADMIN = "role:admin"
SYSTEM_READER = "(role:reader and system_scope:all)"
ADMIN_OR_READER = f"{ADMIN} or {SYSTEM_READER}"


# A grant joins somebody (a user or a group) and something (a project or a domain): all in one domain.
def _in_domain(role: str) -> str:
    pairs = [
        f"(role:{role} and domain_id:%(target.{actor}.domain_id)s and domain_id:%(target.{target})s)"
        for actor in ("user", "group")
        for target in ("project.domain_id", "domain.id")
    ]
    return "(" + " or ".join(pairs) + ")"


_ROLE_IN_REACH = "(domain_id:%(target.role.domain_id)s or None:%(target.role.domain_id)s)"

_GRANT = (
    f"{ADMIN} or {_in_domain('admin')} and {_ROLE_IN_REACH} "
    f"or {_in_domain('manager')} and rule:domain_managed_target_role"
)

POLICIES: dict[str, str] = {
    "domain_managed_target_role": (
        "'manager':%(target.role.name)s or 'member':%(target.role.name)s or 'reader':%(target.role.name)s"
    ),
    # access_rule
    "identity:get_access_rule": "(role:reader and system_scope:all) or user_id:%(target.user.id)s",
    "identity:list_access_rules": "(role:reader and system_scope:all) or user_id:%(target.user.id)s",
    "identity:delete_access_rule": "(role:admin and system_scope:all) or user_id:%(target.user.id)s",
    # application_credential
    "identity:get_application_credential": f"{ADMIN_OR_READER} or user_id:%(user_id)s",
    "identity:list_application_credentials": f"{ADMIN_OR_READER} or user_id:%(user_id)s",
    "identity:create_application_credential": "user_id:%(user_id)s",
    "identity:delete_application_credential": "role:admin or user_id:%(user_id)s",
    # auth
    "identity:get_auth_catalog": "",
    "identity:get_auth_projects": "",
    "identity:get_auth_domains": "",
    "identity:get_auth_system": "",
    # consumer
    "identity:get_consumer": ADMIN_OR_READER,
    "identity:list_consumers": ADMIN_OR_READER,
    "identity:create_consumer": ADMIN,
    "identity:update_consumer": ADMIN,
    "identity:delete_consumer": ADMIN,
    # credential
    "identity:get_credential": f"{ADMIN_OR_READER} or user_id:%(target.credential.user_id)s",
    "identity:list_credentials": f"{ADMIN_OR_READER} or user_id:%(target.credential.user_id)s",
    "identity:create_credential": "role:admin or user_id:%(target.credential.user_id)s",
    "identity:update_credential": "role:admin or user_id:%(target.credential.user_id)s",
    "identity:delete_credential": "role:admin or user_id:%(target.credential.user_id)s",
    # domain
    "identity:get_domain": (
        f"{ADMIN_OR_READER} or domain_id:%(target.domain.id)s or project_domain_id:%(target.domain.id)s"
    ),
    "identity:list_domains": f"{ADMIN_OR_READER} or (role:reader and domain_id:%(target.domain.id)s)",
    "identity:create_domain": ADMIN,
    "identity:update_domain": ADMIN,
    "identity:delete_domain": ADMIN,
    # domain_config
    "identity:create_domain_config": ADMIN,
    "identity:get_domain_config": ADMIN_OR_READER,
    "identity:get_security_compliance_domain_config": "",
    "identity:update_domain_config": ADMIN,
    "identity:delete_domain_config": ADMIN,
    "identity:get_domain_config_default": ADMIN_OR_READER,
    # ec2_credential
    "identity:ec2_get_credential": f"{ADMIN_OR_READER} or user_id:%(target.credential.user_id)s",
    "identity:ec2_list_credentials": f"{ADMIN_OR_READER} or user_id:%(user_id)s",
    "identity:ec2_create_credential": "role:admin or (role:member and user_id:%(target.credential.user_id)s)",
    "identity:ec2_delete_credential": "role:admin or (role:member and user_id:%(target.credential.user_id)s)",
    # endpoint
    "identity:get_endpoint": ADMIN_OR_READER,
    "identity:list_endpoints": ADMIN_OR_READER,
    "identity:create_endpoint": ADMIN,
    "identity:update_endpoint": ADMIN,
    "identity:delete_endpoint": ADMIN,
    # endpoint_group
    "identity:create_endpoint_group": ADMIN,
    "identity:list_endpoint_groups": ADMIN_OR_READER,
    "identity:get_endpoint_group": ADMIN_OR_READER,
    "identity:update_endpoint_group": ADMIN,
    "identity:delete_endpoint_group": ADMIN,
    "identity:list_projects_associated_with_endpoint_group": ADMIN_OR_READER,
    "identity:list_endpoints_associated_with_endpoint_group": ADMIN_OR_READER,
    "identity:get_endpoint_group_in_project": ADMIN_OR_READER,
    "identity:list_endpoint_groups_for_project": ADMIN_OR_READER,
    "identity:add_endpoint_group_to_project": ADMIN,
    "identity:remove_endpoint_group_from_project": ADMIN,
    # grant
    "identity:list_system_grants_for_user": ADMIN_OR_READER,
    "identity:check_system_grant_for_user": ADMIN_OR_READER,
    "identity:create_system_grant_for_user": ADMIN,
    "identity:revoke_system_grant_for_user": ADMIN,
    "identity:list_system_grants_for_group": ADMIN_OR_READER,
    "identity:check_system_grant_for_group": ADMIN_OR_READER,
    "identity:create_system_grant_for_group": ADMIN,
    "identity:revoke_system_grant_for_group": ADMIN,
    "identity:check_grant": f"{ADMIN} or ({SYSTEM_READER} or {_in_domain('reader')}) and {_ROLE_IN_REACH}",
    "identity:list_grants": f"{ADMIN} or {SYSTEM_READER} or {_in_domain('reader')}",
    "identity:create_grant": _GRANT,
    "identity:revoke_grant": _GRANT,
    # group
    "identity:get_group": f"{ADMIN_OR_READER} or (role:reader and domain_id:%(target.group.domain_id)s)",
    "identity:list_groups": f"{ADMIN_OR_READER} or (role:reader and domain_id:%(target.group.domain_id)s)",
    "identity:list_groups_for_user": (
        f"{ADMIN_OR_READER} or (role:reader and domain_id:%(target.user.domain_id)s) or user_id:%(user_id)s"
    ),
    "identity:create_group": "role:admin or (role:manager and domain_id:%(target.group.domain_id)s)",
    "identity:update_group": "role:admin or (role:manager and domain_id:%(target.group.domain_id)s)",
    "identity:delete_group": "role:admin or (role:manager and domain_id:%(target.group.domain_id)s)",
    "identity:list_users_in_group": (
        f"{ADMIN_OR_READER} or (role:reader and domain_id:%(target.group.domain_id)s)"
    ),
    "identity:remove_user_from_group": (
        "role:admin or "
        "(role:manager and domain_id:%(target.group.domain_id)s "
        "and domain_id:%(target.user.domain_id)s)"
    ),
    "identity:check_user_in_group": (
        f"{ADMIN_OR_READER} or "
        "(role:reader and domain_id:%(target.group.domain_id)s "
        "and domain_id:%(target.user.domain_id)s)"
    ),
    "identity:add_user_to_group": (
        "role:admin or "
        "(role:manager and domain_id:%(target.group.domain_id)s "
        "and domain_id:%(target.user.domain_id)s)"
    ),
    # implied_role
    "identity:get_implied_role": ADMIN_OR_READER,
    "identity:list_implied_roles": ADMIN_OR_READER,
    "identity:create_implied_role": ADMIN,
    "identity:delete_implied_role": ADMIN,
    "identity:list_role_inference_rules": ADMIN_OR_READER,
    "identity:check_implied_role": ADMIN_OR_READER,
    # limit
    "identity:get_limit_model": "",
    "identity:get_limit": (
        f"{ADMIN_OR_READER} or (domain_id:%(target.limit.domain.id)s or "
        "domain_id:%(target.limit.project.domain_id)s) or "
        "(project_id:%(target.limit.project_id)s and not None:%(target.limit.project_id)s)"
    ),
    "identity:list_limits": "",
    "identity:create_limits": ADMIN,
    "identity:update_limit": ADMIN,
    "identity:delete_limit": ADMIN,
    # policy
    "identity:get_policy": ADMIN_OR_READER,
    "identity:list_policies": ADMIN_OR_READER,
    "identity:create_policy": ADMIN,
    "identity:update_policy": ADMIN,
    "identity:delete_policy": ADMIN,
    # project
    "identity:get_project": (
        f"{ADMIN_OR_READER} or "
        "(role:reader and domain_id:%(target.project.domain_id)s "
        "and not None:%(target.project.domain_id)s) or "
        "project_id:%(target.project.id)s"
    ),
    "identity:list_projects": f"{ADMIN_OR_READER} or (role:reader and domain_id:%(target.domain_id)s)",
    "identity:list_user_projects": (
        f"{ADMIN_OR_READER} or (role:reader and domain_id:%(target.user.domain_id)s) or "
        "user_id:%(target.user.id)s"
    ),
    "identity:create_project": (
        "role:admin or "
        "(role:manager and domain_id:%(target.project.domain_id)s "
        "and not None:%(target.project.domain_id)s)"
    ),
    "identity:update_project": (
        "role:admin or "
        "(role:manager and domain_id:%(target.project.domain_id)s "
        "and not None:%(target.project.domain_id)s)"
    ),
    "identity:delete_project": (
        "role:admin or "
        "(role:manager and domain_id:%(target.project.domain_id)s "
        "and not None:%(target.project.domain_id)s)"
    ),
    "identity:list_project_tags": (
        f"{ADMIN_OR_READER} or "
        "(role:reader and domain_id:%(target.project.domain_id)s "
        "and not None:%(target.project.domain_id)s) or "
        "project_id:%(target.project.id)s"
    ),
    "identity:get_project_tag": (
        f"{ADMIN_OR_READER} or "
        "(role:reader and domain_id:%(target.project.domain_id)s "
        "and not None:%(target.project.domain_id)s) or "
        "project_id:%(target.project.id)s"
    ),
    "identity:update_project_tags": (
        "role:admin or "
        "(role:manager and domain_id:%(target.project.domain_id)s "
        "and not None:%(target.project.domain_id)s)"
    ),
    "identity:create_project_tag": (
        "role:admin or "
        "(role:manager and domain_id:%(target.project.domain_id)s "
        "and not None:%(target.project.domain_id)s)"
    ),
    "identity:delete_project_tags": (
        "role:admin or "
        "(role:manager and domain_id:%(target.project.domain_id)s "
        "and not None:%(target.project.domain_id)s)"
    ),
    "identity:delete_project_tag": (
        "role:admin or "
        "(role:manager and domain_id:%(target.project.domain_id)s "
        "and not None:%(target.project.domain_id)s)"
    ),
    # project_endpoint
    "identity:list_projects_for_endpoint": ADMIN_OR_READER,
    "identity:add_endpoint_to_project": ADMIN,
    "identity:check_endpoint_in_project": ADMIN_OR_READER,
    "identity:list_endpoints_for_project": ADMIN_OR_READER,
    "identity:remove_endpoint_from_project": ADMIN,
    # region
    "identity:get_region": "",
    "identity:list_regions": "",
    "identity:create_region": ADMIN,
    "identity:update_region": ADMIN,
    "identity:delete_region": ADMIN,
    # registered_limit
    "identity:get_registered_limit": "",
    "identity:list_registered_limits": "",
    "identity:create_registered_limits": ADMIN,
    "identity:update_registered_limit": ADMIN,
    "identity:delete_registered_limit": ADMIN,
    # revoke_event
    "identity:list_revoke_events": "role:admin or role:service",
    # role
    "identity:get_role": (
        "(role:admin or (role:reader and system_scope:all)) or "
        "(role:manager and rule:domain_managed_target_role)"
    ),
    "identity:list_roles": (
        "(role:admin or (role:reader and system_scope:all)) or (role:manager and not domain_id:None)"
    ),
    "identity:create_role": ADMIN,
    "identity:update_role": ADMIN,
    "identity:delete_role": ADMIN,
    "identity:get_domain_role": ADMIN_OR_READER,
    "identity:list_domain_roles": ADMIN_OR_READER,
    "identity:create_domain_role": ADMIN,
    "identity:update_domain_role": ADMIN,
    "identity:delete_domain_role": ADMIN,
    # role_assignment
    "identity:list_role_assignments": (
        f"{ADMIN_OR_READER} or "
        "(role:reader and domain_id:%(target.domain_id)s and not None:%(target.domain_id)s)"
    ),
    "identity:list_role_assignments_for_tree": (
        f"{ADMIN_OR_READER} or "
        "(role:reader and domain_id:%(target.domain_id)s and not None:%(target.domain_id)s)"
    ),
    # service
    "identity:get_service": ADMIN_OR_READER,
    "identity:list_services": ADMIN_OR_READER,
    "identity:create_service": ADMIN,
    "identity:update_service": ADMIN,
    "identity:delete_service": ADMIN,
    # token
    "identity:check_token": f"{ADMIN_OR_READER} or user_id:%(target.token.user_id)s",
    "identity:validate_token": f"{ADMIN_OR_READER} or role:service or user_id:%(target.token.user_id)s",
    "identity:revoke_token": "role:admin or user_id:%(target.token.user_id)s",
    # trust
    "identity:create_trust": "user_id:%(target.trust.trustor_user_id)s",
    "identity:list_trusts": ADMIN_OR_READER,
    "identity:list_trusts_for_trustor": (
        "role:admin or (role:reader and system_scope:all or user_id:%(target.trust.trustor_user_id)s)"
    ),
    "identity:list_trusts_for_trustee": (
        "role:admin or (role:reader and system_scope:all or user_id:%(target.trust.trustee_user_id)s)"
    ),
    "identity:list_roles_for_trust": (
        "role:admin or (role:reader and system_scope:all or "
        "user_id:%(target.trust.trustor_user_id)s or user_id:%(target.trust.trustee_user_id)s)"
    ),
    "identity:get_role_for_trust": (
        "role:admin or (role:reader and system_scope:all or "
        "user_id:%(target.trust.trustor_user_id)s or user_id:%(target.trust.trustee_user_id)s)"
    ),
    "identity:delete_trust": "role:admin or user_id:%(target.trust.trustor_user_id)s",
    "identity:get_trust": (
        "role:admin or (role:reader and system_scope:all or "
        "user_id:%(target.trust.trustor_user_id)s or user_id:%(target.trust.trustee_user_id)s)"
    ),
    # user
    "identity:get_user": (
        f"{ADMIN_OR_READER} or (role:reader and domain_id:%(target.user.domain_id)s) or "
        "user_id:%(target.user.id)s"
    ),
    "identity:list_users": f"{ADMIN_OR_READER} or (role:reader and domain_id:%(target.domain_id)s)",
    "identity:list_projects_for_user": "",
    "identity:list_domains_for_user": "",
    "identity:create_user": "role:admin or (role:manager and domain_id:%(target.user.domain_id)s)",
    "identity:update_user": "role:admin or (role:manager and domain_id:%(target.user.domain_id)s)",
    "identity:delete_user": "role:admin or (role:manager and domain_id:%(target.user.domain_id)s)",
    "identity:revoke_tokens_for_user": "role:admin or user_id:%(user_id)s",
}

# What no token of a domain is for: it reaches what is in its domain, not what all domains share.
_NOT_OF_A_DOMAIN = """
add_endpoint_group_to_project add_endpoint_to_project check_endpoint_in_project check_implied_role
check_system_grant_for_group check_system_grant_for_user create_application_credential create_consumer
create_domain create_domain_config create_domain_role create_endpoint create_endpoint_group
create_implied_role create_limits create_policy create_region create_registered_limits create_role
create_service create_system_grant_for_group create_system_grant_for_user create_trust delete_access_rule
delete_application_credential delete_consumer delete_domain delete_domain_config delete_domain_role
delete_endpoint delete_endpoint_group delete_implied_role delete_limit delete_policy delete_region
delete_registered_limit delete_role delete_service delete_trust ec2_create_credential
ec2_delete_credential ec2_get_credential ec2_list_credentials get_access_rule get_application_credential
get_consumer get_domain_config get_domain_config_default get_domain_role get_endpoint get_endpoint_group
get_endpoint_group_in_project get_implied_role get_policy get_role_for_trust get_service get_trust
list_access_rules list_application_credentials list_consumers list_domain_roles list_endpoint_groups
list_endpoint_groups_for_project list_endpoints list_endpoints_associated_with_endpoint_group
list_endpoints_for_project list_implied_roles list_policies list_projects_associated_with_endpoint_group
list_projects_for_endpoint list_revoke_events list_role_inference_rules list_roles_for_trust list_services
list_system_grants_for_group list_system_grants_for_user list_trusts list_trusts_for_trustee
list_trusts_for_trustor remove_endpoint_from_project remove_endpoint_group_from_project
revoke_system_grant_for_group revoke_system_grant_for_user update_consumer update_domain
update_domain_config update_domain_role update_endpoint update_endpoint_group update_limit update_policy
update_region update_registered_limit update_role update_service
"""
for _name in _NOT_OF_A_DOMAIN.split():
    POLICIES[f"identity:{_name}"] = f"domain_id:None and ({POLICIES[f'identity:{_name}'] or '@'})"
