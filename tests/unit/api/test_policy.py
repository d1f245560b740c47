"""The policy language: what each check means, how they combine, and what cannot be read."""

from __future__ import annotations

import pytest

from virga.api.faults import Forbidden
from virga.api.policy import Policy, PolicyError
from virga.api.request import Caller

ALICE = Caller(user_id="alice", project_id="p1", roles=frozenset({"member", "reader"}))
ROOT = Caller(user_id="root", project_id="p0", roles=frozenset({"admin"}), system_scope="all")

RULES = {
    "admin": "role:admin",
    "owner": "project_id:%(project_id)s",
    "admin_or_owner": "rule:admin or rule:owner",
    "member_of_own": "role:member and rule:owner",
    "not_admin": "not role:admin",
    "grouped": "role:admin and (system_scope:all or project_id:p9)",
    "shared": "field:networks:shared=True",
    "literal": "'m1':%(member)s",
    "nested": "user_id:%(target.user.id)s",
    "nobody": "!",
    "all": "@",
    "empty": "",
    "flag": "is_admin:True",
}


@pytest.mark.parametrize(
    ("caller", "rule", "target", "expected"),
    [
        (ALICE, "admin", {}, False),
        (ROOT, "admin", {}, True),
        (ALICE, "owner", {"project_id": "p1"}, True),
        (ALICE, "owner", {"project_id": "p2"}, False),
        (ALICE, "owner", {}, False),
        (ROOT, "admin_or_owner", {"project_id": "p2"}, True),
        (ALICE, "member_of_own", {"project_id": "p1"}, True),
        (ROOT, "not_admin", {}, False),
        (ROOT, "grouped", {}, True),
        (ALICE, "shared", {"shared": True}, True),
        (ALICE, "shared", {"shared": False}, False),
        (ALICE, "literal", {"member": "m1"}, True),
        (ALICE, "nested", {"target": {"user": {"id": "alice"}}}, True),
        (ALICE, "nested", {"target.user.id": "bob"}, False),
        (ROOT, "nobody", {}, False),
        (ALICE, "all", {}, True),
        (ALICE, "empty", {}, True),
        (ROOT, "flag", {}, True),
        (ALICE, "flag", {}, False),
        (ROOT, "never heard of", {}, False),
    ],
)
def test_rule(caller: Caller, rule: str, target: dict[str, object], expected: bool) -> None:
    assert Policy(RULES).allows(caller, rule, target) is expected


def test_an_override_replaces_the_default() -> None:
    policy = Policy(RULES, {"admin": "role:member"})
    assert policy.allows(ALICE, "admin_or_owner", {"project_id": "p2"})


def test_refusal_names_the_rule() -> None:
    with pytest.raises(Forbidden, match="nobody"):
        Policy(RULES).enforce(ROOT, "nobody", {})


@pytest.mark.parametrize(
    "text", ["role:a and", "(role:a", "role:a role:b", "justaword", "rule:self", "not", "role:a or or role:b"]
)
def test_unreadable_rules_are_refused_at_start(text: str) -> None:
    with pytest.raises(PolicyError):
        Policy({"self": text})
