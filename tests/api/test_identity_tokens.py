"""Tokens over HTTP: issued, shown, revoked, refused."""

from __future__ import annotations

import httpx
import pytest

from tests.lib.cloud import Account, RunningCloud

TOKENS = "/identity/v3/auth/tokens"

pytestmark = pytest.mark.validated


def test_version_documents_name_version_3(cloud: RunningCloud) -> None:
    index = httpx.get(f"{cloud.url}/identity")
    assert index.status_code == 300
    assert [v["id"] for v in index.json()["versions"]["values"]] == ["v3.14"]
    assert index.headers["location"] == f"{cloud.url}/identity/v3/"
    assert httpx.get(f"{cloud.url}/identity/v3").json()["version"]["status"] == "stable"


def test_a_token_says_who_and_where(cloud: RunningCloud) -> None:
    answer = cloud.authenticate(cloud.account("admin"))
    token = answer.json()["token"]
    assert answer.status_code == 201
    assert token["methods"] == ["password"]
    assert token["project"]["name"] == "admin"
    assert token["is_domain"] is False
    assert {role["name"] for role in token["roles"]} == {"admin", "manager", "member", "reader"}
    assert {item["type"] for item in token["catalog"]} >= {"identity", "image", "network", "compute"}
    assert token["expires_at"].endswith(".000000Z")


def test_a_revoked_token_is_worth_nothing(cloud: RunningCloud) -> None:
    mine = cloud.authenticate(cloud.account("demo")).headers["x-subject-token"]
    with cloud.admin() as admin:
        subject = {"x-subject-token": mine}
        assert admin.get(TOKENS, headers=subject).status_code == 200
        head = admin.head(TOKENS, headers=subject)
        assert (head.status_code, head.content) == (200, b"")
        assert admin.delete(TOKENS, headers=subject).status_code == 204
        gone = admin.get(TOKENS, headers=subject)
    assert gone.status_code == 404
    assert gone.json() == {
        "error": {"code": 404, "message": "Failed to validate token", "title": "Not Found"}
    }
    refused = httpx.get(f"{cloud.url}{TOKENS}", headers={"x-auth-token": mine, "x-subject-token": mine})
    assert refused.status_code == 401


@pytest.mark.parametrize(
    ("name", "password", "project"),
    [
        ("demo", "wrong", "demo"),
        ("nobody", "wrong", "demo"),
        ("demo", "demo-password", "admin"),
        ("demo", "demo-password", "nowhere"),
    ],
)
def test_a_refusal_does_not_say_what_was_wrong(
    cloud: RunningCloud, name: str, password: str, project: str
) -> None:
    answer = cloud.authenticate(Account(name, password, project))
    assert answer.status_code == 401
    assert answer.json()["error"]["message"] == "The request you have made requires authentication."
    assert answer.headers["www-authenticate"].startswith("Keystone uri=")


@pytest.mark.parametrize(
    ("auth", "sentence"),
    [
        ({}, "'identity' is a required property"),
        ({"identity": {}}, "Invalid input for field 'identity': 'methods' is a required property"),
        ({"identity": {"methods": ["password"]}}, "Expecting to find password in identity."),
        (
            {"identity": {"methods": ["password"], "password": {"user": {"password": "x"}}}},
            "Invalid input for field identity/password/user: id or name must be present.",
        ),
        ({"identity": {"methods": "password"}}, "'password' is not of type 'array'"),
    ],
)
def test_a_malformed_request_is_explained(cloud: RunningCloud, auth: object, sentence: str) -> None:
    answer = httpx.post(f"{cloud.url}{TOKENS}", json={"auth": auth})
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"null", b'{"auth": null}', b'{"auth": []}'])
def test_nonsense_is_a_bad_request(cloud: RunningCloud, body: bytes) -> None:
    answer = httpx.post(f"{cloud.url}{TOKENS}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
