"""Actions on servers, on hosts in memory: each goes through its states and ends in the right one."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.lib.cloud import RunningCloud
from tests.lib.compute import act, active_server, flavor, image, show, wait_gone, wait_status

pytestmark = pytest.mark.validated


@pytest.fixture
def member(cloud: RunningCloud) -> Iterator[httpx.Client]:
    with cloud.member() as client:
        yield client


@pytest.fixture
def server_id(cloud: RunningCloud, member: httpx.Client) -> Iterator[str]:
    made = active_server(cloud, member)["id"]
    yield made
    member.delete(f"/compute/v2.1/servers/{made}")
    wait_gone(member, made)


@pytest.mark.parametrize(
    ("there", "status", "back"),
    [
        (("os-stop", None), "SHUTOFF", ("os-start", None)),
        (("pause", None), "PAUSED", ("unpause", None)),
        (("suspend", None), "SUSPENDED", ("resume", None)),
        (("shelve", None), "SHELVED_OFFLOADED", ("unshelve", None)),
        (("os-stop", None), "SHUTOFF", ("reboot", {"type": "HARD"})),
    ],
)
def test_there_and_back(
    member: httpx.Client, server_id: str, there: tuple[str, object], status: str, back: tuple[str, object]
) -> None:
    assert act(member, server_id, *there).status_code == 202
    wait_status(member, server_id, status)
    again = act(member, server_id, *there)
    assert again.status_code == 409
    assert f"instance {server_id} while it is in vm_state" in again.json()["conflictingRequest"]["message"]
    assert act(member, server_id, *back).status_code == 202
    wait_status(member, server_id, "ACTIVE")


@pytest.mark.parametrize("kind", ["SOFT", "HARD"])
def test_reboot_of_a_running_server(member: httpx.Client, server_id: str, kind: str) -> None:
    assert act(member, server_id, "reboot", {"type": kind}).status_code == 202
    wait_status(member, server_id, "ACTIVE")


def test_rescue_and_back(cloud: RunningCloud, member: httpx.Client, server_id: str) -> None:
    answer = act(member, server_id, "rescue", {"adminPass": "secret", "rescue_image_ref": image(cloud)})
    assert (answer.status_code, answer.json()) == (200, {"adminPass": "secret"})
    wait_status(member, server_id, "RESCUE")
    assert act(member, server_id, "unrescue").status_code == 202
    wait_status(member, server_id, "ACTIVE")


def test_rebuild(cloud: RunningCloud, member: httpx.Client, server_id: str) -> None:
    other = image(cloud)
    answer = act(member, server_id, "rebuild", {"imageRef": other, "name": "again", "metadata": {"a": "b"}})
    assert answer.status_code == 202, answer.text
    assert answer.json()["server"]["status"] == "REBUILD"
    assert answer.json()["server"]["adminPass"]
    server = wait_status(member, server_id, "ACTIVE")
    assert (server["name"], server["image"]["id"], server["metadata"]) == ("again", other, {"a": "b"})


def test_resize_confirm_and_revert(cloud: RunningCloud, member: httpx.Client, server_id: str) -> None:
    old = show(member, server_id)["flavor"]["id"]
    new = flavor(cloud, ram=128)
    assert act(member, server_id, "resize", {"flavorRef": new}).status_code == 202
    assert wait_status(member, server_id, "VERIFY_RESIZE")["flavor"]["id"] == new
    assert act(member, server_id, "revertResize").status_code == 202
    assert wait_status(member, server_id, "ACTIVE")["flavor"]["id"] == old
    assert act(member, server_id, "resize", {"flavorRef": new}).status_code == 202
    wait_status(member, server_id, "VERIFY_RESIZE")
    assert act(member, server_id, "confirmResize").status_code == 204
    assert wait_status(member, server_id, "ACTIVE")["flavor"]["id"] == new


def test_an_image_of_a_server(member: httpx.Client, server_id: str) -> None:
    version = {"openstack-api-version": "compute 2.45"}
    answer = act(member, server_id, "createImage", {"name": "snap"}, **version)
    assert answer.status_code == 202, answer.text
    image_id = answer.json()["image_id"]
    wait_status(member, server_id, "ACTIVE")
    made = member.get(f"/image/v2/images/{image_id}").json()
    assert (made["status"], made["name"], made["instance_uuid"]) == ("active", "snap", server_id)


def test_a_locked_server_is_left_alone(cloud: RunningCloud, member: httpx.Client, server_id: str) -> None:
    assert act(member, server_id, "lock").status_code == 202
    refused = act(member, server_id, "os-stop")
    assert refused.status_code == 409
    assert refused.json()["conflictingRequest"]["message"] == f"Instance {server_id} is locked"
    assert act(member, server_id, "unlock").status_code == 202


def test_unknown_actions_are_refused(member: httpx.Client, server_id: str) -> None:
    answer = act(member, server_id, "dance")
    assert (answer.status_code, answer.json()["badRequest"]["message"]) == (
        400,
        "There is no such action: dance",
    )
