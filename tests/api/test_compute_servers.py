"""Servers over HTTP, on hosts in memory: created, seen, built, deleted."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.lib.cloud import RunningCloud
from tests.lib.compute import active_server, flavor, wait_gone
from virga.services.compute.jobs_arguments import ServerJob
from virga.services.compute.models import server as server_table

pytestmark = pytest.mark.validated


@pytest.fixture
def member(cloud: RunningCloud) -> Any:
    with cloud.member() as client:
        yield client


def test_a_server_becomes_active_and_goes_away(cloud: RunningCloud, member: httpx.Client) -> None:
    server = active_server(cloud, member)
    assert server["status"] == "ACTIVE"
    assert server["OS-EXT-STS:power_state"] == 1
    assert server["hostId"]
    assert member.delete(f"/compute/v2.1/servers/{server['id']}").status_code == 204
    wait_gone(member, server["id"])


def test_a_flavor_too_big_for_any_host_is_no_valid_host(cloud: RunningCloud, member: httpx.Client) -> None:
    huge = flavor(cloud, vcpus=1, ram=50000, disk=1)
    server = active_server(cloud, member, flavor_id=huge, status="ERROR")
    assert server["fault"]["message"] == "No valid host was found. "
    assert server["fault"]["code"] == 500


def test_names_must_be_text(member: httpx.Client) -> None:
    answer = member.post("/compute/v2.1/servers", json={"server": {"name": 12345, "flavorRef": "42"}})
    assert answer.status_code == 400
    assert answer.json() == {
        "badRequest": {
            "code": 400,
            "message": "Invalid input for field/attribute name. Value: 12345. 12345 is not of type 'string'",
        }
    }


def test_a_server_that_its_host_never_heard_of_is_gone_when_deleted(
    cloud: RunningCloud, member: httpx.Client
) -> None:
    """The agent was away when the server came and went: nobody will report its end."""
    server_id, admin = active_server(cloud, member)["id"], cloud.admin()
    path = f"/compute/v2.1/servers/{server_id}"
    host = admin.get(path).json()["server"]["OS-EXT-SRV-ATTR:host"]
    member.delete(path)
    wait_gone(member, server_id)
    waiting = {"deleted": False, "on_host": True, "host": host, "task_state": "deleting"}

    def wait_again(tx: Any) -> None:
        tx.execute(server_table.update().where(server_table.c.id == server_id).values(**waiting))
        tx.job("compute.delete", f"delete-{server_id}", ServerJob(server_id))

    cloud.cloud.database.write(wait_again)
    wait_gone(member, server_id)
