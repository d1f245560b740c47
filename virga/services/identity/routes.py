"""All URLs of the Identity service and who may use them.

``line`` names the rule; what the rule looks at beside the caller is the last word: ``named`` (everything the
URL names), ``body_of`` (what is to be made) or ``own_domain`` (lists). The rules are in ``policies.py``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from virga.api.faults import NotFound, identity_envelope
from virga.api.request import Request
from virga.api.routing import AUTHENTICATED, PUBLIC, Route, ServiceApi
from virga.db.tx import Tx
from virga.lib.keys import CREDENTIAL_KEYS, KeyRing
from virga.services.identity import (
    application_credential,
    auth,
    consumer,
    domain,
    domain_config,
    endpoint,
    endpoint_filter,
    endpoint_group,
    grant,
    group,
    limit,
    policy,
    project,
    project_tag,
    region,
    revocation,
    role,
    role_assignment,
    trust,
    user,
    user_password,
    version,
)
from virga.services.identity import service as services
from virga.services.identity.access import body_of, line, named, own_domain, reworded
from virga.services.identity.credential import Credentials
from virga.services.identity.policies import POLICIES
from virga.services.identity.token import Tokens
from virga.settings import Settings


def _auth(tokens: Tokens) -> list[Route]:
    return [
        Route("GET", "/", version.index, PUBLIC),
        Route("GET", "/v3", version.show, PUBLIC),
        Route("GET", "/v3/", version.show, PUBLIC),
        Route("POST", "/v3/auth/tokens", partial(auth.create, tokens), PUBLIC),
        # These three enforce validate_token, check_token and revoke_token on the token in X-Subject-Token.
        Route("GET", "/v3/auth/tokens", partial(auth.show, tokens), AUTHENTICATED),
        Route("HEAD", "/v3/auth/tokens", partial(auth.check, tokens), AUTHENTICATED),
        Route("DELETE", "/v3/auth/tokens", partial(auth.delete, tokens), AUTHENTICATED),
        line("GET", "/v3/auth/tokens/OS-PKI/revoked", auth.revoked, "list_revoke_events"),
        line("GET", "/v3/auth/catalog", auth.show_catalog, "get_auth_catalog"),
        line("GET", "/v3/auth/projects", auth.projects, "get_auth_projects"),
        line("GET", "/v3/auth/domains", auth.domains, "get_auth_domains"),
        line("GET", "/v3/auth/system", auth.system, "get_auth_system"),
        line("GET", "/v3/OS-FEDERATION/projects", auth.projects, "get_auth_projects"),
        line("GET", "/v3/OS-FEDERATION/domains", auth.domains, "get_auth_domains"),
        line("GET", "/v3/OS-REVOKE/events", revocation.index, "list_revoke_events"),
    ]


DOMAIN = "/v3/domains/{domain_id}"
PROJECT = "/v3/projects/{project_id}"
TAG = PROJECT + "/tags/{tag}"

RESOURCES = [
    line("GET", "/v3/domains", domain.index, "list_domains", own_domain),
    line("POST", "/v3/domains", domain.create, "create_domain", status=201),
    line("GET", DOMAIN, domain.show, "get_domain", named),
    line("PATCH", DOMAIN, domain.change, "update_domain"),
    line("DELETE", DOMAIN, domain.remove, "delete_domain"),
    *(
        line(method, DOMAIN + "/config" + rest, handler, f"{verb}_domain_config")
        for rest in ("", "/{group}", "/{group}/{option}")
        for method, handler, verb in (
            ("GET", domain_config.show, "get"),
            ("PATCH", domain_config.change, "update"),
            ("DELETE", domain_config.remove, "delete"),
        )
    ),
    line("PUT", DOMAIN + "/config", domain_config.put, "create_domain_config"),
    line("GET", "/v3/domains/config/default", domain_config.defaults, "get_domain_config_default"),
    line("GET", "/v3/domains/config/{group}/default", domain_config.defaults, "get_domain_config_default"),
    line(
        "GET",
        "/v3/domains/config/{group}/{option}/default",
        domain_config.defaults,
        "get_domain_config_default",
    ),
    line("GET", "/v3/projects", project.index, "list_projects", own_domain),
    line("POST", "/v3/projects", project.create, "create_project", body_of("project"), 201),
    line("GET", PROJECT, project.show, "get_project", named),
    line("PATCH", PROJECT, project.change, "update_project", named),
    line("DELETE", PROJECT, project.remove, "delete_project", named),
    line("GET", PROJECT + "/tags", project_tag.index, "list_project_tags", named),
    line("PUT", PROJECT + "/tags", project_tag.put_all, "update_project_tags", named),
    line("DELETE", PROJECT + "/tags", project_tag.remove_all, "delete_project_tags", named),
    line("GET", TAG, project_tag.show, "get_project_tag", named),
    line("PUT", TAG, project_tag.put, "create_project_tag", named),
    line("DELETE", TAG, project_tag.remove, "delete_project_tag", named),
]

USER = "/v3/users/{user_id}"
GROUP = "/v3/groups/{group_id}"
MEMBER = GROUP + "/users/{user_id}"
CREDENTIAL = USER + "/application_credentials/{application_credential_id}"
RULE = USER + "/access_rules/{access_rule_id}"

PEOPLE = [
    line("GET", "/v3/users", user.index, "list_users", own_domain),
    line("POST", "/v3/users", user.create, "create_user", body_of("user"), 201),
    line("GET", USER, user.show, "get_user", named),
    line("PATCH", USER, user.change, "update_user", named),
    line("DELETE", USER, user.remove, "delete_user", named),
    Route("POST", USER + "/password", user_password.change, PUBLIC),
    line("GET", USER + "/projects", user.projects, "list_user_projects", named),
    line("GET", USER + "/groups", group.of_user, "list_groups_for_user", named),
    line("DELETE", USER + "/tokens", user.revoke_tokens, "revoke_tokens_for_user"),
    line(
        "GET", USER + "/application_credentials", application_credential.index, "list_application_credentials"
    ),
    line(
        "POST",
        USER + "/application_credentials",
        application_credential.create,
        "create_application_credential",
    ),
    line("GET", CREDENTIAL, application_credential.show, "get_application_credential"),
    line("DELETE", CREDENTIAL, application_credential.remove, "delete_application_credential"),
    line("GET", USER + "/access_rules", application_credential.rules, "list_access_rules", named),
    line("GET", RULE, application_credential.show_rule, "get_access_rule", named),
    line("DELETE", RULE, application_credential.remove_rule, "delete_access_rule", named),
    line("GET", "/v3/groups", group.index, "list_groups", own_domain),
    line("POST", "/v3/groups", group.create, "create_group", body_of("group"), 201),
    line("GET", GROUP, group.show, "get_group", named),
    line("PATCH", GROUP, group.change, "update_group", named),
    line("DELETE", GROUP, group.remove, "delete_group", named),
    line("GET", GROUP + "/users", group.users, "list_users_in_group", named),
    line("PUT", MEMBER, group.add_user, "add_user_to_group", named),
    line("GET", MEMBER, group.check_user, "check_user_in_group", named),
    line("DELETE", MEMBER, group.remove_user, "remove_user_from_group", named),
]


def _grants() -> list[Route]:
    """The same four verbs for each kind of actor and target, plain and inherited."""
    found = []
    for actor in ("users/{user_id}", "groups/{group_id}"):
        for target in ("domains/{domain_id}", "projects/{project_id}"):
            for before, after in (("/v3/", ""), ("/v3/OS-INHERIT/", "/inherited_to_projects")):
                every = f"{before}{target}/{actor}/roles"
                one = every + "/{role_id}" + after
                found += [
                    line("GET", every + after, grant.index, "list_grants", named),
                    line("GET", one, grant.check, "check_grant", named),
                    line("PUT", one, grant.create, "create_grant", named),
                    line("DELETE", one, grant.remove, "revoke_grant", named),
                ]
        kind = actor.partition("s/")[0]
        every = f"/v3/system/{actor}/roles"
        one = every + "/{role_id}"
        found += [
            line("GET", every, grant.index, f"list_system_grants_for_{kind}"),
            line("GET", one, grant.check, f"check_system_grant_for_{kind}"),
            line("PUT", one, grant.create, f"create_system_grant_for_{kind}"),
            line("DELETE", one, grant.remove, f"revoke_system_grant_for_{kind}"),
        ]
    return found


ROLE = "/v3/roles/{role_id}"
IMPLIES = "/v3/roles/{prior_role_id}/implies"
IMPLIED = IMPLIES + "/{implied_role_id}"

ROLES = [
    # A role of a domain has rules of its own, so the handlers choose between get_role and get_domain_role.
    Route("GET", "/v3/roles", role.index, AUTHENTICATED),
    Route("POST", "/v3/roles", role.create, AUTHENTICATED, 201),
    Route("GET", ROLE, role.show, AUTHENTICATED),
    Route("PATCH", ROLE, role.change, AUTHENTICATED),
    Route("DELETE", ROLE, role.remove, AUTHENTICATED),
    line("GET", IMPLIES, role.implied, "list_implied_roles"),
    line("GET", IMPLIED, role.show_implied, "get_implied_role"),
    line("HEAD", IMPLIED, role.check_implied, "check_implied_role"),
    line("PUT", IMPLIED, role.imply, "create_implied_role", status=201),
    line("DELETE", IMPLIED, role.no_longer_imply, "delete_implied_role"),
    line("GET", "/v3/role_inferences", role.inferences, "list_role_inference_rules"),
    line("GET", "/v3/role_assignments", role_assignment.index, "list_role_assignments", own_domain),
    *_grants(),
]

TRUST = "/v3/OS-TRUST/trusts/{trust_id}"

TRUSTS = [
    # Whose trusts are asked for decides the rule: list_trusts, list_trusts_for_trustor or _for_trustee.
    Route("GET", "/v3/OS-TRUST/trusts", trust.index, AUTHENTICATED),
    Route("GET", "/v3/OS-TRUST/trusts/", trust.index, AUTHENTICATED),
    Route("POST", "/v3/OS-TRUST/trusts", trust.create, AUTHENTICATED, 201),
    line("GET", TRUST, trust.show, "get_trust", named),
    line("DELETE", TRUST, trust.remove, "delete_trust", named),
    line("GET", TRUST + "/roles", trust.roles, "list_roles_for_trust", named),
    line("GET", TRUST + "/roles/{role_id}", trust.show_role, "get_role_for_trust", named),
    line("HEAD", TRUST + "/roles/{role_id}", trust.check_role, "get_role_for_trust", named),
]

GROUPS = "/v3/OS-EP-FILTER/endpoint_groups"
ENDPOINT_GROUP = GROUPS + "/{endpoint_group_id}"
SHOWN = ENDPOINT_GROUP + "/projects/{project_id}"
FILTERED = "/v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}"

CATALOG = [
    line("GET", "/v3/regions", region.index, "list_regions"),
    line("POST", "/v3/regions", region.create, "create_region", status=201),
    line("GET", "/v3/regions/{region_id}", region.show, "get_region"),
    line("PUT", "/v3/regions/{region_id}", region.create_named, "create_region", status=201),
    line("PATCH", "/v3/regions/{region_id}", region.change, "update_region"),
    line("DELETE", "/v3/regions/{region_id}", region.remove, "delete_region"),
    line("GET", "/v3/services", services.index, "list_services"),
    line("POST", "/v3/services", services.create, "create_service", status=201),
    line("GET", "/v3/services/{service_id}", services.show, "get_service"),
    line("PATCH", "/v3/services/{service_id}", services.change, "update_service"),
    line("DELETE", "/v3/services/{service_id}", services.remove, "delete_service"),
    line("GET", "/v3/endpoints", endpoint.index, "list_endpoints"),
    line("POST", "/v3/endpoints", endpoint.create, "create_endpoint", status=201),
    line("GET", "/v3/endpoints/{endpoint_id}", endpoint.show, "get_endpoint"),
    line("PATCH", "/v3/endpoints/{endpoint_id}", endpoint.change, "update_endpoint"),
    line("DELETE", "/v3/endpoints/{endpoint_id}", endpoint.remove, "delete_endpoint"),
    line("PUT", FILTERED, endpoint_filter.add, "add_endpoint_to_project"),
    line("GET", FILTERED, endpoint_filter.check, "check_endpoint_in_project"),
    line("DELETE", FILTERED, endpoint_filter.remove, "remove_endpoint_from_project"),
    line(
        "GET",
        "/v3/OS-EP-FILTER/projects/{project_id}/endpoints",
        endpoint_filter.endpoints,
        "list_endpoints_for_project",
    ),
    line(
        "GET",
        "/v3/OS-EP-FILTER/endpoints/{endpoint_id}/projects",
        endpoint_filter.projects,
        "list_projects_for_endpoint",
    ),
]

CATALOG += [
    line("GET", GROUPS, endpoint_group.index, "list_endpoint_groups"),
    line("POST", GROUPS, endpoint_group.create, "create_endpoint_group", status=201),
    line("GET", ENDPOINT_GROUP, endpoint_group.show, "get_endpoint_group"),
    line("PATCH", ENDPOINT_GROUP, endpoint_group.change, "update_endpoint_group"),
    line("DELETE", ENDPOINT_GROUP, endpoint_group.remove, "delete_endpoint_group"),
    line(
        "GET",
        ENDPOINT_GROUP + "/endpoints",
        endpoint_group.endpoints,
        "list_endpoints_associated_with_endpoint_group",
    ),
    line(
        "GET",
        ENDPOINT_GROUP + "/projects",
        endpoint_group.projects,
        "list_projects_associated_with_endpoint_group",
    ),
    line("GET", SHOWN, endpoint_group.show_project, "get_endpoint_group_in_project"),
    line("PUT", SHOWN, endpoint_group.add_project, "add_endpoint_group_to_project"),
    line("DELETE", SHOWN, endpoint_group.remove_project, "remove_endpoint_group_from_project"),
    line(
        "GET",
        "/v3/OS-EP-FILTER/projects/{project_id}/endpoint_groups",
        endpoint_group.of_project,
        "list_endpoint_groups_for_project",
    ),
]

CONSUMER = "/v3/OS-OAUTH1/consumers/{consumer_id}"
POLICY = "/v3/policies/{policy_id}"
REGISTERED = "/v3/registered_limits/{registered_limit_id}"
LIMIT = "/v3/limits/{limit_id}"

KEPT = [
    line("GET", "/v3/policies", policy.index, "list_policies"),
    line("POST", "/v3/policies", policy.create, "create_policy", status=201),
    line("GET", POLICY, policy.show, "get_policy"),
    line("PATCH", POLICY, policy.change, "update_policy"),
    line("DELETE", POLICY, policy.remove, "delete_policy"),
    line("GET", "/v3/OS-OAUTH1/consumers", consumer.index, "list_consumers"),
    line("POST", "/v3/OS-OAUTH1/consumers", consumer.create, "create_consumer", status=201),
    line("GET", CONSUMER, consumer.show, "get_consumer"),
    line("PATCH", CONSUMER, consumer.change, "update_consumer"),
    line("DELETE", CONSUMER, consumer.remove, "delete_consumer"),
    line("GET", "/v3/registered_limits", limit.registered_index, "list_registered_limits"),
    line("POST", "/v3/registered_limits", limit.registered_create, "create_registered_limits", status=201),
    line("GET", REGISTERED, limit.registered_show, "get_registered_limit"),
    line("PATCH", REGISTERED, limit.registered_change, "update_registered_limit"),
    line("DELETE", REGISTERED, limit.registered_remove, "delete_registered_limit"),
    line("GET", "/v3/limits", limit.index, "list_limits"),
    line("POST", "/v3/limits", limit.create, "create_limits", status=201),
    line("GET", "/v3/limits/model", limit.model, "get_limit_model"),
    line("GET", LIMIT, limit.show, "get_limit", named),
    line("PATCH", LIMIT, limit.change, "update_limit"),
    line("DELETE", LIMIT, limit.remove, "delete_limit"),
]


def _owner(tx: Tx, req: Request) -> dict[str, Any]:
    """The user of the URL owns the credential that the rule is about."""
    return {"credential": {"user_id": req["user_id"]}}


def _credentials(credentials: Credentials) -> list[Route]:
    one = "/v3/credentials/{credential_id}"
    ec2 = USER + "/credentials/OS-EC2"
    return [
        # A list shows what the caller may see, one by one.
        Route("GET", "/v3/credentials", credentials.index, AUTHENTICATED),
        line("POST", "/v3/credentials", credentials.create, "create_credential", body_of("credential"), 201),
        line("GET", one, credentials.show, "get_credential", named),
        line("PATCH", one, credentials.change, "update_credential", named),
        line("DELETE", one, credentials.remove, "delete_credential", named),
        line("GET", ec2, credentials.ec2_index, "ec2_list_credentials"),
        line("POST", ec2, credentials.ec2_create, "ec2_create_credential", _owner, 201),
        line("GET", ec2 + "/{access}", credentials.ec2_show, "ec2_get_credential", _owner),
        line("DELETE", ec2 + "/{access}", credentials.ec2_remove, "ec2_delete_credential", _owner),
    ]


def _not_found(method: str, path: str) -> NotFound:
    return NotFound(
        "The requested URL was not found on the server. If you entered the URL manually please check your spelling "
        "and try again."
    )


def service(settings: Settings) -> ServiceApi:
    """The Identity service of one cloud."""
    credentials = Credentials(KeyRing(settings.state_dir / CREDENTIAL_KEYS))
    return ServiceApi(
        name="identity",
        prefix="/identity",
        routes=[
            *_auth(Tokens(settings)),
            *RESOURCES,
            *PEOPLE,
            *ROLES,
            *TRUSTS,
            *CATALOG,
            *KEPT,
            *_credentials(credentials),
        ],
        envelope=identity_envelope,
        headers={"vary": "X-Auth-Token"},
        policies=POLICIES,
        not_found=_not_found,
        forbidden=reworded,
    )
