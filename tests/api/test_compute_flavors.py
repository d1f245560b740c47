"""Flavors and key pairs over HTTP."""

from __future__ import annotations

import pytest

from tests.lib.cloud import RunningCloud
from tests.lib.compute import flavor

pytestmark = pytest.mark.validated

FLAVORS = "/compute/v2.1/flavors"


def test_a_flavor_is_shown_as_each_microversion_shows_it(cloud: RunningCloud) -> None:
    flavor_id = flavor(cloud, ram=128)
    with cloud.member() as member:
        old = member.get(f"{FLAVORS}/{flavor_id}")
        new = member.get(f"{FLAVORS}/{flavor_id}", headers={"openstack-api-version": "compute 2.61"})
        newest = member.get(f"{FLAVORS}/{flavor_id}", headers={"openstack-api-version": "compute 2.104"})
    assert old.headers["x-openstack-nova-api-version"] == "2.1"
    assert set(old.json()["flavor"]) == {
        *("id", "name", "ram", "disk", "swap", "OS-FLV-EXT-DATA:ephemeral", "OS-FLV-DISABLED:disabled"),
        *("vcpus", "os-flavor-access:is_public", "rxtx_factor", "links"),
    }
    assert new.json()["flavor"]["extra_specs"] == {}
    assert new.json()["flavor"]["swap"] == ""
    assert newest.json()["flavor"]["swap"] == 0
    assert "rxtx_factor" not in newest.json()["flavor"]


def test_only_admins_make_flavors(cloud: RunningCloud) -> None:
    body = {"flavor": {"name": "mine", "ram": 64, "vcpus": 1, "disk": 1}}
    with cloud.member() as member:
        answer = member.post(FLAVORS, json=body)
    assert answer.status_code == 403
    assert answer.json()["forbidden"]["message"] == (
        "Policy doesn't allow os_compute_api:os-flavor-manage:create to be performed."
    )


@pytest.mark.parametrize(
    ("version", "kind", "status"), [("2.1", None, 200), ("2.2", "ssh", 201), ("2.2", "x509", 201)]
)
def test_key_pairs_are_generated(cloud: RunningCloud, version: str, kind: str | None, status: int) -> None:
    headers = {"openstack-api-version": f"compute {version}"}
    body = {"keypair": {"name": "key", **({"type": kind} if kind else {})}}
    with cloud.client(cloud.new_project(), **headers) as client:
        made = client.post("/compute/v2.1/os-keypairs", json=body)
        assert made.status_code == status, made.text
        assert made.json()["keypair"]["private_key"]
        assert len(made.json()["keypair"]["fingerprint"].split(":")) in (16, 20)
        again = client.post("/compute/v2.1/os-keypairs", json=body)
        assert again.status_code == 409
        assert again.json()["conflictingRequest"]["message"] == "Key pair 'key' already exists."
        assert client.delete("/compute/v2.1/os-keypairs/key").status_code == (204 if status == 201 else 202)
