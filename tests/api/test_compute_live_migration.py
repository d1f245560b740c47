"""A running server goes to another host, or says why it does not; with hosts in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.lib.cloud import RunningCloud, running_cloud
from tests.lib.compute import act, active_server, flavor, image, wait_status
from tests.lib.waiting import eventually

pytestmark = pytest.mark.validated
NEW = {"openstack-api-version": "compute 2.100"}


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    with running_cloud(tmp_path_factory.mktemp("two"), hosts=2) as running:
        admin = running.admin()
        eventually(
            lambda: len(admin.get("/compute/v2.1/os-hypervisors").json()["hypervisors"]) == 2, "two hosts"
        )
        yield running


@pytest.fixture
def server(two_hosts: RunningCloud) -> dict[str, Any]:
    return active_server(two_hosts, two_hosts.admin())


def _migrate(admin: httpx.Client, server_id: str, version: str = "2.100", **body: Any) -> httpx.Response:
    asked = {"block_migration": "auto", "host": None, **body}
    headers = {"openstack-api-version": f"compute {version}"}
    return act(admin, server_id, "os-migrateLive", asked, **headers)


def _migrations(admin: httpx.Client, server_id: str) -> list[dict[str, Any]]:
    answer = admin.get(f"/compute/v2.1/os-migrations?instance_uuid={server_id}", headers=NEW)
    return list(answer.json()["migrations"])


@pytest.mark.parametrize("state", ["ACTIVE", "PAUSED"])
def test_it_runs_on_the_other_host(two_hosts: RunningCloud, server: dict[str, Any], state: str) -> None:
    admin = two_hosts.admin()
    here = server["OS-EXT-SRV-ATTR:host"]
    there = "host2" if here == "host1" else "host1"
    if state == "PAUSED":
        act(admin, server["id"], "pause")
        wait_status(admin, server["id"], state)
    assert _migrate(admin, server["id"], host=there).status_code == 202
    moved = wait_status(admin, server["id"], state)
    assert moved["OS-EXT-SRV-ATTR:host"] == there
    (move,) = _migrations(admin, server["id"])
    assert (move["status"], move["migration_type"]) == ("completed", "live-migration")
    assert (move["source_compute"], move["dest_compute"]) == (here, there)
    used = admin.get(f"/placement/allocations/{server['id']}").json()["allocations"]
    assert len(used) == 1
    actions = admin.get(f"/compute/v2.1/servers/{server['id']}/os-instance-actions").json()
    assert actions["instanceActions"][0]["action"] == "live-migration"
    over = f"/compute/v2.1/servers/{server['id']}/migrations"
    assert admin.get(over, headers=NEW).json() == {"migrations": []}
    message = f"Live migration {move['id']} for server {server['id']} is not in progress."
    assert _refused(admin.get(f"{over}/{move['id']}", headers=NEW), 404) == message


def test_its_ports_follow(two_hosts: RunningCloud) -> None:
    admin = two_hosts.admin()
    network = admin.post("/network/v2.0/networks", json={"network": {"name": "n"}}).json()["network"]
    subnet = {"network_id": network["id"], "ip_version": 4, "cidr": "10.7.0.0/24"}
    admin.post("/network/v2.0/subnets", json={"subnet": subnet})
    made = active_server(two_hosts, admin, networks=[{"uuid": network["id"]}])
    assert _migrate(admin, made["id"]).status_code == 202
    moved = wait_status(admin, made["id"], "ACTIVE")

    def bound() -> bool:
        (port,) = admin.get(f"/network/v2.0/ports?device_id={made['id']}").json()["ports"]
        there = port["binding:host_id"] == moved["OS-EXT-SRV-ATTR:host"]
        return there and port["status"] == "ACTIVE" and port["binding:profile"] == {}

    eventually(bound, "the port is ACTIVE on the new host")
    assert moved["OS-EXT-SRV-ATTR:host"] != made["OS-EXT-SRV-ATTR:host"]


def _refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(next(iter(answer.json().values()))["message"])


def test_what_cannot_be_is_refused(two_hosts: RunningCloud, server: dict[str, Any]) -> None:
    admin, ident = two_hosts.admin(), server["id"]
    here = server["OS-EXT-SRV-ATTR:host"]
    assert _refused(_migrate(admin, ident, host="nowhere"), 400) == "Compute host nowhere could not be found."
    message = f"Unable to migrate instance ({ident}) to current host ({here})."
    assert _refused(_migrate(admin, ident, host=here), 400) == message
    old = {"block_migration": False, "disk_over_commit": False}
    assert "is not on shared storage" in _refused(_migrate(admin, ident, "2.1", **old), 400)
    forced = _migrate(admin, ident, "2.30", force=True)
    assert _refused(forced, 400) == "Can't force to a non-provided destination"
    act(admin, ident, "os-stop")
    wait_status(admin, ident, "SHUTOFF")
    message = f"Cannot 'os-migrateLive' instance {ident} while it is in vm_state stopped"
    assert _refused(_migrate(admin, ident), 409) == message
    assert _migrations(admin, ident) == []
    gone = admin.delete(f"/compute/v2.1/servers/{ident}/migrations/1", headers=NEW)
    assert gone.status_code == 409


def test_later_versions_say_it_in_the_log(two_hosts: RunningCloud, server: dict[str, Any]) -> None:
    admin, ident = two_hosts.admin(), server["id"]
    assert _migrate(admin, ident, block_migration=False).status_code == 202
    wait_status(admin, ident, "ACTIVE")
    (move,) = _migrations(admin, ident)
    assert move["status"] == "error"
    actions = admin.get(f"/compute/v2.1/servers/{ident}/os-instance-actions").json()["instanceActions"]
    assert actions[0]["message"] == "Error"


def test_members_may_not(two_hosts: RunningCloud) -> None:
    with two_hosts.member() as member:
        made = active_server(two_hosts, member)
        assert _migrate(member, made["id"]).status_code == 403


def test_hints_choose_the_host(two_hosts: RunningCloud, server: dict[str, Any]) -> None:
    """With what the cloud has when nobody set anything."""
    admin, size, disk = two_hosts.admin(), flavor(two_hosts), image(two_hosts)
    for hint, same in (("same_host", True), ("different_host", False)):
        body = {
            "server": {"name": "vm", "flavorRef": size, "imageRef": disk},
            "os:scheduler_hints": {hint: [server["id"]]},
        }
        made = admin.post("/compute/v2.1/servers", json=body).json()["server"]["id"]
        other = wait_status(admin, made, "ACTIVE")
        assert (other["OS-EXT-SRV-ATTR:host"] == server["OS-EXT-SRV-ATTR:host"]) is same


def test_the_end_of_the_console(two_hosts: RunningCloud, server: dict[str, Any]) -> None:
    admin = two_hosts.admin()
    whole = act(admin, server["id"], "os-getConsoleOutput", {}).json()["output"]
    end = act(admin, server["id"], "os-getConsoleOutput", {"length": 3}).json()["output"]
    assert end == "\n".join(whole.split("\n")[-3:])
    assert whole.endswith("runs\n") and len(end.split("\n")) == 3
