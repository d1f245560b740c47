"""Volumes over HTTP, with the data plane in memory."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from tests.lib import compute
from tests.lib.cloud import RunningCloud
from tests.lib.waiting import eventually


@pytest.fixture
def member(cloud: RunningCloud) -> httpx.Client:
    return cloud.client(cloud.new_project())


def made(client: httpx.Client, status: str = "available", **wanted: Any) -> dict[str, Any]:
    answer = client.post("/volume/v3/volumes", json={"volume": {"size": 1, **wanted}})
    assert answer.status_code == 202, answer.text
    return settled(client, answer.json()["volume"]["id"], status)


def settled(client: httpx.Client, volume_id: str, status: str) -> dict[str, Any]:
    def look() -> Any:
        found = client.get(f"/volume/v3/volumes/{volume_id}").json()["volume"]
        return found if found["status"] == status else None

    found = eventually(look, f"volume {volume_id} is {status}")
    assert isinstance(found, dict)
    return found


def act(
    client: httpx.Client, volume_id: str, name: str, argument: object = None, **headers: str
) -> httpx.Response:
    return client.post(f"/volume/v3/volumes/{volume_id}/action", json={name: argument}, headers=headers)


def test_a_volume_is_made_grown_snapshotted_copied_and_deleted(member: httpx.Client) -> None:
    volume = made(member, name="data", metadata={"a": "b"})
    assert volume["volume_type"] == "__DEFAULT__"
    assert act(member, volume["id"], "os-extend", {"new_size": 3}).status_code == 202
    assert settled(member, volume["id"], "available")["size"] == 3
    too_small = act(member, volume["id"], "os-extend", {"new_size": 3})
    assert too_small.status_code == 400
    asked = {"snapshot": {"volume_id": volume["id"], "name": "s"}}
    snapshot = member.post("/volume/v3/snapshots", json=asked).json()["snapshot"]
    path = f"/volume/v3/snapshots/{snapshot['id']}"
    eventually(lambda: member.get(path).json()["snapshot"]["status"] == "available", "snapshot is available")
    copy = made(member, size=None, snapshot_id=snapshot["id"])
    assert copy["size"] == 3
    refused = member.delete(f"/volume/v3/volumes/{volume['id']}")
    assert refused.status_code == 400
    assert member.delete(path).status_code == 202
    eventually(lambda: member.get(path).status_code == 404, "snapshot is gone")
    for volume_id in (volume["id"], copy["id"]):
        assert member.delete(f"/volume/v3/volumes/{volume_id}").status_code == 202
        eventually(
            lambda v=volume_id: member.get(f"/volume/v3/volumes/{v}").status_code == 404,  # type: ignore[misc]
            "volume is gone",
        )


def test_a_foreign_volume_does_not_exist(cloud: RunningCloud, member: httpx.Client) -> None:
    volume = made(member)
    other = cloud.client(cloud.new_project())
    answer = other.get(f"/volume/v3/volumes/{volume['id']}")
    assert answer.status_code == 404
    assert answer.json()["itemNotFound"]["message"] == f"Volume {volume['id']} could not be found."
    assert other.get("/volume/v3/volumes").json() == {"volumes": []}


def test_quota_is_never_overshot(member: httpx.Client) -> None:
    statuses = [
        member.post("/volume/v3/volumes", json={"volume": {"size": 1}}).status_code for _ in range(12)
    ]
    assert statuses == [202] * 10 + [413, 413]


def test_a_volume_is_attached_and_detached(cloud: RunningCloud, member: httpx.Client) -> None:
    volume = made(member)
    server = compute.active_server(cloud, member)
    at = f"/compute/v2.1/servers/{server['id']}/os-volume_attachments"
    answer = member.post(at, json={"volumeAttachment": {"volumeId": volume["id"]}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["volumeAttachment"]["device"] == "/dev/vdb"
    attached = settled(member, volume["id"], "in-use")
    assert attached["attachments"][0]["server_id"] == server["id"]
    again = member.post(at, json={"volumeAttachment": {"volumeId": volume["id"]}})
    assert again.status_code == 400
    assert member.delete(f"/volume/v3/volumes/{volume['id']}").status_code == 400
    assert member.delete(f"{at}/{volume['id']}").status_code == 202
    assert settled(member, volume["id"], "available")["attachments"] == []
    assert member.get(at).json() == {"volumeAttachments": []}


def test_a_server_boots_from_a_new_volume_that_goes_with_it(
    cloud: RunningCloud, member: httpx.Client
) -> None:
    device = {
        "boot_index": 0,
        "uuid": compute.image(cloud),
        "source_type": "image",
        "destination_type": "volume",
        "volume_size": 1,
        "delete_on_termination": True,
    }
    server = compute.active_server(cloud, member, imageRef="", block_device_mapping_v2=[device])
    volumes = member.get("/volume/v3/volumes/detail").json()["volumes"]
    assert [v["status"] for v in volumes] == ["in-use"]
    assert volumes[0]["bootable"] == "true"
    assert member.delete(f"/compute/v2.1/servers/{server['id']}").status_code == 204
    compute.wait_gone(member, server["id"])
    eventually(lambda: member.get("/volume/v3/volumes").json()["volumes"] == [], "the volume went too")


def test_a_volume_is_handed_over_with_its_key_only(cloud: RunningCloud, member: httpx.Client) -> None:
    volume = made(member)
    other = cloud.client(cloud.new_project())
    asked = {"transfer": {"volume_id": volume["id"]}}
    transfer = member.post("/volume/v3/os-volume-transfer", json=asked).json()["transfer"]
    at = f"/volume/v3/os-volume-transfer/{transfer['id']}/accept"
    wrong = other.post(at, json={"accept": {"auth_key": "wrong"}})
    assert wrong.status_code == 400
    assert other.post(at, json={"accept": {"auth_key": transfer["auth_key"]}}).status_code == 202
    assert member.get(f"/volume/v3/volumes/{volume['id']}").status_code == 404
    assert settled(other, volume["id"], "available")["id"] == volume["id"]


def test_a_backup_outlives_its_volume(member: httpx.Client) -> None:
    volume = made(member, metadata={"k": "v"})
    asked = {"backup": {"volume_id": volume["id"], "name": "b"}}
    backup = member.post("/volume/v3/backups", json=asked).json()["backup"]
    path = f"/volume/v3/backups/{backup['id']}"
    eventually(lambda: member.get(path).json()["backup"]["status"] == "available", "backup is available")
    assert member.delete(f"/volume/v3/volumes/{volume['id']}").status_code == 202
    eventually(lambda: member.get(f"/volume/v3/volumes/{volume['id']}").status_code == 404, "volume is gone")
    restored = member.post(f"{path}/restore", json={"restore": {}}).json()["restore"]
    assert settled(member, restored["volume_id"], "available")["metadata"] == {"k": "v"}
    eventually(lambda: member.get(path).json()["backup"]["status"] == "available", "backup is free")
    assert member.delete(path).status_code == 202
    eventually(lambda: member.get(path).status_code == 404, "backup is gone")


def test_an_attachment_reserves_connects_completes_and_lets_go(member: httpx.Client) -> None:
    volume = made(member)
    headers = {"openstack-api-version": "volume 3.44"}
    asked = {"attachment": {"volume_uuid": volume["id"], "instance_uuid": str(uuid.uuid4())}}
    found = member.post("/volume/v3/attachments", json=asked, headers=headers).json()["attachment"]
    assert settled(member, volume["id"], "reserved")
    path = f"/volume/v3/attachments/{found['id']}"
    connector = {"attachment": {"connector": {"host": "elsewhere", "initiator": "iqn.x"}}}
    info = member.put(path, json=connector, headers=headers).json()["attachment"]["connection_info"]
    assert info["target_iqn"] == f"iqn.2010-10.org.openstack:volume-{volume['id']}"
    assert info["target_lun"] == 1
    assert member.post(f"{path}/action", json={"os-complete": {}}, headers=headers).status_code == 204
    assert settled(member, volume["id"], "in-use")["attachments"][0]["attachment_id"] == found["id"]
    assert member.delete(path, headers=headers).status_code == 200
    assert settled(member, volume["id"], "available")["attachments"] == []
