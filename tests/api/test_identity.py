"""Identity over HTTP: who there is, who may what, and what ends a session."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.lib.cloud import Account, RunningCloud
from virga.lib.keys import TOKEN_KEYS, rotate

V3 = "/identity/v3"

pytestmark = pytest.mark.validated


def name(what: str = "thing") -> str:
    return f"{what}-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def admin(cloud: RunningCloud) -> Iterator[httpx.Client]:
    with cloud.admin() as client:
        yield client


def make(client: httpx.Client, kind: str, collection: str | None = None, **values: Any) -> dict[str, Any]:
    answer = client.post(f"{V3}/{collection or kind + 's'}", json={kind: values})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()[kind]
    return made


def role_id(admin: httpx.Client, role: str) -> str:
    return str(admin.get(f"{V3}/roles", params={"name": role}).json()["roles"][0]["id"])


def token_for(cloud: RunningCloud, user: dict[str, Any], password: str, scope: Any = None) -> httpx.Response:
    identity = {"methods": ["password"], "password": {"user": {"id": user["id"], "password": password}}}
    auth = {"identity": identity} | ({"scope": scope} if scope else {})
    return httpx.post(f"{cloud.url}{V3}/auth/tokens", json={"auth": auth})


def test_a_project_as_openstack_shows_it(admin: httpx.Client) -> None:
    project = make(admin, "project", name=name(), domain_id="default", colour="green")
    assert set(project) == {
        *("id", "name", "domain_id", "description", "enabled", "parent_id", "is_domain", "tags", "options"),
        *("links", "colour"),
    }
    assert (project["parent_id"], project["enabled"], project["is_domain"]) == ("default", True, False)
    again = admin.post(f"{V3}/projects", json={"project": {"name": project["name"]}})
    assert again.status_code == 409
    assert again.json()["error"]["message"].startswith(
        "Conflict occurred attempting to store project - it is not"
    )
    assert admin.delete(f"{V3}/projects/{project['id']}").status_code == 204
    gone = admin.get(f"{V3}/projects/{project['id']}")
    assert gone.json()["error"]["message"] == f"Could not find project: {project['id']}."


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("users", {"user": {}}, "'name' is a required property"),
        ("users", {}, "'user' is a required property"),
        ("users", {"user": {"name": ""}}, "Invalid input for field/attribute name. Value: ."),
        (
            "users",
            {"user": {"name": 5}},
            "Invalid input for field/attribute name. Value: 5. 5 is not of type 'string'",
        ),
        ("projects", {"project": {"name": "x" * 65}}, "is too long"),
        ("projects", {"project": {"name": "x", "enabled": "perhaps"}}, "'perhaps' is not one of"),
        ("projects", {"project": {"name": "x", "domain_id": "nowhere"}}, "Could not find domain: nowhere."),
        ("groups", {"group": {"name": "x", "domain_id": "a/b"}}, "does not match"),
        ("roles", {"role": {"name": None}}, "None is not of type 'string'"),
        ("services", {"service": {"name": "x"}}, "'type' is a required property"),
        (
            "endpoints",
            {"endpoint": {"interface": "x", "service_id": "y", "url": "http://z"}},
            "'x' is not one of",
        ),
        ("domains", {"domain": {"name": "x", "tags": "y"}}, "'y' is not of type 'array'"),
        ("regions", {"region": {"parent_region_id": 5}}, "5 is not of type"),
        ("limits", {"limits": []}, "[] should be non-empty"),
        (
            "credentials",
            {"credential": {"blob": "x", "type": "ec2", "user_id": "y"}},
            "'project_id' is a required",
        ),
    ],
)
def test_a_wrong_body_is_explained(admin: httpx.Client, path: str, body: Any, sentence: str) -> None:
    answer = admin.post(f"{V3}/{path}", json=body)
    assert answer.status_code == 400, answer.text
    assert sentence in answer.json()["error"]["message"]


def test_members_do_not_administer(cloud: RunningCloud) -> None:
    with cloud.member() as member:
        for method, path in (
            ("GET", "users"),
            ("POST", "users"),
            ("GET", "projects"),
            ("GET", "services"),
            ("DELETE", "domains/default"),
            ("GET", "role_assignments"),
        ):
            body = {"user": {"name": "x"}} if method == "POST" else None
            answer = member.request(method, f"{V3}/{path}", json=body)
            assert answer.status_code == 403, path
            assert "You are not authorized to perform the requested action: identity:" in answer.text
        assert member.get(f"{V3}/auth/projects").json()["projects"][0]["name"] == "demo"
        assert member.get(f"{V3}/domains/default").status_code == 200


def test_a_line_end_in_a_name_makes_no_header(admin: httpx.Client) -> None:
    project = make(admin, "project", name=name())
    answer = admin.put(f"{V3}/projects/{project['id']}/tags/a%0Dx-forged:1%00")
    assert answer.status_code == 201
    assert "x-forged" not in answer.headers
    assert "\r" not in answer.headers["location"]


def test_hierarchy(admin: httpx.Client) -> None:
    top = make(admin, "project", name=name())
    child = make(admin, "project", name=name(), parent_id=top["id"])
    leaf = make(admin, "project", name=name(), parent_id=child["id"])
    shown = admin.get(f"{V3}/projects/{leaf['id']}", params={"parents_as_ids": ""}).json()["project"]
    assert shown["parents"] == {child["id"]: {top["id"]: {"default": None}}}
    shown = admin.get(f"{V3}/projects/{top['id']}", params={"subtree_as_ids": ""}).json()["project"]
    assert shown["subtree"] == {child["id"]: {leaf["id"]: None}}
    assert admin.delete(f"{V3}/projects/{top['id']}").status_code == 403
    disabled = admin.patch(f"{V3}/projects/{top['id']}", json={"project": {"enabled": False}})
    assert disabled.status_code == 403
    assert "its subtree contains enabled projects" in disabled.text


def test_inherited_roles_reach_what_is_below(cloud: RunningCloud, admin: httpx.Client) -> None:
    top = make(admin, "project", name=name())
    below = make(admin, "project", name=name(), parent_id=top["id"])
    user = make(admin, "user", name=name("user"), password="secret")
    reader = role_id(admin, "reader")
    path = f"{V3}/OS-INHERIT/projects/{top['id']}/users/{user['id']}/roles/{reader}/inherited_to_projects"
    assert admin.get(path).status_code == 404
    assert admin.put(path).status_code == 204
    assert admin.head(path).status_code == 204
    assert token_for(cloud, user, "secret", {"project": {"id": top["id"]}}).status_code == 401
    scoped = token_for(cloud, user, "secret", {"project": {"id": below["id"]}})
    assert [role["name"] for role in scoped.json()["token"]["roles"]] == ["reader"]
    effective = admin.get(f"{V3}/role_assignments", params={"user.id": user["id"], "effective": ""}).json()
    assert [item["scope"]["project"]["id"] for item in effective["role_assignments"]] == [below["id"]]
    assert effective["role_assignments"][0]["links"]["assignment"].endswith(path.removeprefix("/identity"))


def test_roles_through_a_group_end_with_the_membership(cloud: RunningCloud, admin: httpx.Client) -> None:
    project, group = make(admin, "project", name=name()), make(admin, "group", name=name("group"))
    user = make(admin, "user", name=name("user"), password="secret")
    member = role_id(admin, "member")
    assert admin.put(f"{V3}/projects/{project['id']}/groups/{group['id']}/roles/{member}").status_code == 204
    membership = f"{V3}/groups/{group['id']}/users/{user['id']}"
    assert admin.put(membership).status_code == 204
    scoped = token_for(cloud, user, "secret", {"project": {"id": project["id"]}})
    assert {role["name"] for role in scoped.json()["token"]["roles"]} == {"member", "reader"}
    token = {"x-auth-token": scoped.headers["x-subject-token"]}
    assert httpx.get(f"{cloud.url}{V3}/auth/projects", headers=token).status_code == 200
    assert admin.delete(membership).status_code == 204
    assert httpx.get(f"{cloud.url}{V3}/auth/projects", headers=token).status_code == 401


def test_a_disabled_user_or_project_ends_sessions(cloud: RunningCloud, admin: httpx.Client) -> None:
    account = cloud.new_project()
    with cloud.client(account) as mine:
        assert mine.get(f"{V3}/auth/projects").status_code == 200
        url = f"{V3}/projects/{account.project_id}"
        assert admin.patch(url, json={"project": {"enabled": False}}).status_code == 200
        assert mine.get(f"{V3}/auth/projects").status_code == 401
        assert admin.patch(url, json={"project": {"enabled": True}}).status_code == 200
        assert mine.get(f"{V3}/auth/projects").status_code == 401, "a revoked token came back"
    assert cloud.authenticate(account).status_code == 201


def test_a_changed_password_ends_sessions(cloud: RunningCloud, admin: httpx.Client) -> None:
    account = cloud.new_project()
    with cloud.client(account) as mine:
        url = f"{cloud.url}{V3}/users/{account.user_id}/password"
        change = {"user": {"original_password": "wrong", "password": "new"}}
        assert httpx.post(url, json=change).status_code == 401
        change["user"]["original_password"] = account.password
        assert httpx.post(url, json=change).status_code == 204
        assert mine.get(f"{V3}/auth/projects").status_code == 401
    assert cloud.authenticate(account).status_code == 401
    assert cloud.authenticate(Account(account.name, "new", account.project)).status_code == 201


def test_scopes(cloud: RunningCloud) -> None:
    admin = cloud.account("admin")
    system = cloud.authenticate(admin, {"system": {"all": True}}).json()["token"]
    assert system["system"] == {"all": True} and "project" not in system
    unscoped = cloud.authenticate(admin, {"unscoped": {}}).json()["token"]
    assert "roles" not in unscoped and "catalog" not in unscoped
    assert cloud.authenticate(admin, {"domain": {"id": "default"}}).status_code == 401
    assert cloud.authenticate(cloud.account("demo"), {"system": {"all": True}}).status_code == 401


def test_an_application_credential_with_access_rules(cloud: RunningCloud) -> None:
    account = cloud.new_project()
    with cloud.client(account) as mine:
        rules = [{"service": "image", "method": "GET", "path": "/v2/images"}]
        url = f"{V3}/users/{account.user_id}/application_credentials"
        body = {"name": "robot", "roles": [{"name": "reader"}], "access_rules": rules}
        answer = mine.post(url, json={"application_credential": body})
        assert answer.status_code == 201, answer.text
        made = answer.json()["application_credential"]
        assert [role["name"] for role in made["roles"]] == ["reader"]
        assert "secret" not in mine.get(f"{url}/{made['id']}").json()["application_credential"]
    proof = {"id": made["id"], "secret": made["secret"]}
    identity = {"methods": ["application_credential"], "application_credential": proof}
    issued = httpx.post(f"{cloud.url}{V3}/auth/tokens", json={"auth": {"identity": identity}})
    assert issued.json()["token"]["application_credential"]["restricted"] is True
    assert issued.json()["token"]["project"]["id"] == account.project_id
    headers = {"x-auth-token": issued.headers["x-subject-token"]}
    assert httpx.get(f"{cloud.url}/image/v2/images", headers=headers).status_code == 200
    assert httpx.post(f"{cloud.url}/image/v2/images", json={}, headers=headers).status_code == 401
    assert httpx.get(f"{cloud.url}{V3}/auth/projects", headers=headers).status_code == 401
    with cloud.client(account) as mine:
        assert mine.delete(f"{url}/{made['id']}").status_code == 204
    assert httpx.get(f"{cloud.url}/image/v2/images", headers=headers).status_code == 401


def test_a_trust_lends_roles_for_some_uses(cloud: RunningCloud, admin: httpx.Client) -> None:
    lender, borrower = cloud.new_project(), cloud.new_project()
    with cloud.client(lender) as mine:
        trust = make(
            mine,
            "trust",
            "OS-TRUST/trusts",
            trustor_user_id=lender.user_id,
            trustee_user_id=borrower.user_id,
            project_id=lender.project_id,
            impersonation=True,
            remaining_uses=1,
            roles=[{"name": "reader"}],
        )
    scope = {"OS-TRUST:trust": {"id": trust["id"]}}
    assert cloud.authenticate(lender, scope).status_code == 403
    issued = cloud.authenticate(borrower, scope)
    token = issued.json()["token"]
    assert token["user"]["id"] == lender.user_id
    assert token["OS-TRUST:trust"]["trustee_user"]["id"] == borrower.user_id
    assert [role["name"] for role in token["roles"]] == ["reader"]
    assert cloud.authenticate(borrower, scope).status_code == 403
    headers = {"x-auth-token": issued.headers["x-subject-token"]}
    assert httpx.get(f"{cloud.url}{V3}/auth/catalog", headers=headers).status_code == 200
    assert admin.delete(f"{V3}/OS-TRUST/trusts/{trust['id']}").status_code == 204
    assert httpx.get(f"{cloud.url}{V3}/auth/catalog", headers=headers).status_code == 401


def test_a_lent_token_is_not_exchanged(cloud: RunningCloud) -> None:
    system = cloud.authenticate(cloud.account("admin"), {"system": {"all": True}}).headers["x-subject-token"]

    def exchange(scope: Any) -> httpx.Response:
        identity = {"methods": ["token"], "token": {"id": system}}
        return httpx.post(
            f"{cloud.url}{V3}/auth/tokens", json={"auth": {"identity": identity, "scope": scope}}
        )

    refused = exchange({"project": {"name": "admin", "domain": {"id": "default"}}})
    assert refused.status_code == 403
    assert "Using a system-scoped token" in refused.json()["error"]["message"]
    assert exchange({"system": {"all": True}}).status_code == 201


def test_rules_about_several_factors_are_kept(cloud: RunningCloud, admin: httpx.Client) -> None:
    user = make(
        admin,
        "user",
        name=name("user"),
        password="secret",
        options={"multi_factor_auth_rules": [["password", "application_credential"]]},
    )
    assert token_for(cloud, user, "secret").status_code == 401
    options = {"user": {"options": {"multi_factor_auth_rules": [["password"]]}}}
    assert admin.patch(f"{V3}/users/{user['id']}", json=options).status_code == 200
    assert token_for(cloud, user, "secret").status_code == 201


def test_tokens_outlive_a_rotation_of_keys(cloud: RunningCloud) -> None:
    token = cloud.authenticate(cloud.account("demo")).headers["x-subject-token"]
    for _ in range(4):
        rotate(cloud.settings.state_dir / TOKEN_KEYS, 3, 3600, time.time())
    headers = {"x-auth-token": token}
    assert httpx.get(f"{cloud.url}{V3}/auth/projects", headers=headers).status_code == 200


def test_lists_are_filtered_and_paged(admin: httpx.Client) -> None:
    prefix = uuid.uuid4().hex[:8]
    made = [make(admin, "user", name=f"{prefix}-{letter}", enabled=letter != "b") for letter in "abc"]

    def names(**query: Any) -> list[str]:
        found = admin.get(f"{V3}/users", params={"name__startswith": prefix, **query}).json()["users"]
        return sorted(user["name"][-1] for user in found)

    assert names() == ["a", "b", "c"]
    assert names(enabled="false") == ["b"]
    assert names(name=made[0]["name"]) == ["a"]
    assert names(domain_id="nowhere") == []
    page = admin.get(f"{V3}/users", params={"limit": 2}).json()
    assert len(page["users"]) == 2
    following = admin.get(page["links"]["next"]).json()["users"]
    assert following and {u["id"] for u in following}.isdisjoint({u["id"] for u in page["users"]})


def test_a_managers_reach_ends_at_the_domain(cloud: RunningCloud, admin: httpx.Client) -> None:
    domain = make(admin, "domain", name=name("domain"))
    boss = make(admin, "user", name=name("boss"), password="secret", domain_id=domain["id"])
    url = f"{V3}/domains/{domain['id']}/users/{boss['id']}/roles/{role_id(admin, 'manager')}"
    assert admin.put(url).status_code == 204
    issued = token_for(cloud, boss, "secret", {"domain": {"id": domain["id"]}})
    assert issued.status_code == 201, issued.text
    with cloud.client(None, **{"x-auth-token": issued.headers["x-subject-token"]}) as manager:
        worker = make(manager, "user", name=name("worker"), domain_id=domain["id"])
        project = make(manager, "project", name=name(), domain_id=domain["id"])
        assert {user["id"] for user in manager.get(f"{V3}/users").json()["users"]} == {
            boss["id"],
            worker["id"],
        }
        grant = f"{V3}/projects/{project['id']}/users/{worker['id']}/roles/"
        assert manager.put(grant + role_id(admin, "member")).status_code == 204
        assert manager.put(grant + role_id(admin, "admin")).status_code == 403
        outside = {"user": {"name": name("outsider"), "domain_id": "default"}}
        assert manager.post(f"{V3}/users", json=outside).status_code == 403
    assert admin.delete(f"{V3}/domains/{domain['id']}").status_code == 403
    assert admin.patch(f"{V3}/domains/{domain['id']}", json={"domain": {"enabled": False}}).status_code == 200
    assert admin.delete(f"{V3}/domains/{domain['id']}").status_code == 204


def test_default_roles_are_immutable_and_implied(admin: httpx.Client) -> None:
    member = role_id(admin, "member")
    refused = admin.delete(f"{V3}/roles/{member}")
    assert refused.status_code == 403
    assert "Unable to delete immutable role resource" in refused.text
    implied = admin.get(f"{V3}/roles/{member}/implies").json()["role_inference"]["implies"]
    assert [role["name"] for role in implied] == ["reader"]


def test_secrets_are_sealed_in_the_database(cloud: RunningCloud, admin: httpx.Client) -> None:
    account = cloud.new_project()
    with cloud.client(account) as mine:
        made = make(mine, "credential", blob="hidden treasure", type="note", user_id=account.user_id)
        assert mine.get(f"{V3}/credentials/{made['id']}").json()["credential"]["blob"] == "hidden treasure"
    with cloud.member() as stranger:
        assert stranger.get(f"{V3}/credentials/{made['id']}").status_code == 403
        assert stranger.get(f"{V3}/credentials").json()["credentials"] == []
    for path in cloud.settings.state_dir.glob("virga.db*"):
        assert b"hidden treasure" not in path.read_bytes()


def test_openstacksdk_sees_the_cloud(cloud: RunningCloud) -> None:
    connection = cloud.connection("admin")
    assert {"admin", "demo"} <= {user.name for user in connection.identity.users()}
    assert connection.identity.find_project("demo").name == "demo"
    assert "image" in {service.type for service in connection.identity.services()}


def test_endpoints_of_a_group_with_an_odd_filter_are_none(cloud: RunningCloud) -> None:
    admin = cloud.admin()
    body = {"endpoint_group": {"name": "odd", "filters": {"interface": ["public"]}}}
    made = admin.post("/identity/v3/OS-EP-FILTER/endpoint_groups", json=body)
    assert made.status_code == 201, made.text
    path = f"/identity/v3/OS-EP-FILTER/endpoint_groups/{made.json()['endpoint_group']['id']}"
    assert admin.get(path + "/endpoints").json()["endpoints"] == []
    assert admin.delete(path).status_code == 204
