"""Endpoints of older clouds hold the project in the path, or ``/v2``: software with them in its settings still works."""

from __future__ import annotations

import httpx
import pytest

from tests.lib.cloud import RunningCloud
from tests.lib.compute import active_server, wait_gone

pytestmark = pytest.mark.validated


def test_the_project_may_stand_in_the_path(cloud: RunningCloud) -> None:
    with cloud.member() as member:
        project = _project_of(member)
        made = active_server(cloud, member)["id"]
        for root, microversions in (("/v2.1", True), ("/v2", False)):
            answer = member.get(f"/compute{root}/{project}/servers/{made}")
            assert answer.status_code == 200
            assert ("openstack-api-version" in answer.headers) is microversions
            links = {link["rel"]: link["href"] for link in answer.json()["server"]["links"]}
            assert links["self"].endswith(f"/compute{root}/{project}/servers/{made}")
            assert links["bookmark"].endswith(f"/compute/{project}/servers/{made}")
        page = member.get(f"/compute/v2.1/{project}/servers?limit=1").json()
        assert f"/compute/v2.1/{project}/servers?limit=1&marker=" in page["servers_links"][0]["href"]
        member.delete(f"/compute/v2/{project}/servers/{made}")
        wait_gone(member, made)


def test_version_two_ignores_microversions(cloud: RunningCloud) -> None:
    with cloud.member() as member:
        answer = member.get("/compute/v2/flavors", headers={"x-openstack-nova-api-version": "2.999"})
        assert answer.status_code == 200
        assert "x-openstack-nova-api-version" not in answer.headers
        assert member.get("/compute/v2/").json()["version"]["id"] == "v2.0"


def test_another_project_in_the_path_is_refused(cloud: RunningCloud) -> None:
    with cloud.member() as member:
        foreign = "0" * 32
        answer = member.get(f"/compute/v2.1/{foreign}/servers")
        message = f"Malformed request URL: URL's project_id '{foreign}' doesn't match Context's project_id"
        assert answer.status_code == 400
        assert answer.json()["badRequest"]["message"] == f"{message} '{_project_of(member)}'"
        assert member.get(f"/compute/v2.1/{foreign}/nonsense").status_code == 404


def _project_of(client: httpx.Client) -> str:
    headers = {"x-subject-token": client.headers["x-auth-token"]}
    answer = client.get("/identity/v3/auth/tokens", headers=headers)
    return str(answer.json()["token"]["project"]["id"])
