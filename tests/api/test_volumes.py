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


def test_a_volume_is_let_go_and_taken_in_again(cloud: RunningCloud, member: httpx.Client) -> None:
    admin = cloud.admin()
    volume = made(member, name="stray")
    found = admin.get(f"/volume/v3/volumes/{volume['id']}").json()["volume"]
    place = found["os-vol-host-attr:host"]
    assert act(member, volume["id"], "os-unmanage", {}).status_code == 403
    assert act(admin, volume["id"], "os-unmanage", {}).status_code == 202
    eventually(lambda: member.get(f"/volume/v3/volumes/{volume['id']}").status_code == 404, "the row is gone")
    newest = {"openstack-api-version": "volume 3.71"}
    path = "/volume/v3/manageable_volumes/detail"
    listed = admin.get(path, params={"host": place}, headers=newest).json()["manageable-volumes"]
    name = f"volume-{volume['id']}"
    mine = next(one for one in listed if one["reference"]["source-name"] == name)
    assert (mine["safe_to_manage"], mine["size"]) == (True, 1)
    wanted = {"host": place, "ref": {"source-name": name}, "name": "again"}
    answer = admin.post("/volume/v3/manageable_volumes", json={"volume": wanted}, headers=newest)
    assert answer.status_code == 202
    again = settled(admin, answer.json()["volume"]["id"], "available")
    assert (again["size"], again["name"]) == (1, "again")
    lost = admin.post("/volume/v3/os-volume-manage", json={"volume": wanted})
    assert settled(admin, lost.json()["volume"]["id"], "error_managing")


def test_incremental_backups_hang_on_their_parents(cloud: RunningCloud, member: httpx.Client) -> None:
    volume = made(member)

    def backup(**more: Any) -> httpx.Response:
        return member.post("/volume/v3/backups", json={"backup": {"volume_id": volume["id"], **more}})

    def ready(answer: httpx.Response) -> str:
        ident = str(answer.json()["backup"]["id"])
        path = f"/volume/v3/backups/{ident}"
        eventually(lambda: member.get(path).json()["backup"]["status"] == "available", "backup is available")
        return ident

    assert backup(incremental=True).status_code == 400
    full = ready(backup())
    others = cloud.admin().post(
        "/volume/v3/backups", json={"backup": {"volume_id": volume["id"], "incremental": True}}
    )
    assert others.status_code == 400, "an admin of another project has no parent for it"
    child = ready(backup(incremental=True))
    shown = member.get(f"/volume/v3/backups/{full}").json()["backup"]
    assert (shown["is_incremental"], shown["has_dependent_backups"]) == (False, True)
    assert member.get(f"/volume/v3/backups/{child}").json()["backup"]["is_incremental"] is True
    refused = member.delete(f"/volume/v3/backups/{full}")
    assert refused.status_code == 400
    assert "Incremental backups exist" in refused.json()["badRequest"]["message"]
    for ident in (child, full):
        assert member.delete(f"/volume/v3/backups/{ident}").status_code == 202
        eventually(lambda i=ident: member.get(f"/volume/v3/backups/{i}").status_code == 404, "backup is gone")  # type: ignore[misc]


def test_front_end_limits_are_told_to_who_connects(cloud: RunningCloud, member: httpx.Client) -> None:
    admin = cloud.admin()
    name = f"slow-{uuid.uuid4().hex[:8]}"
    specs = {"name": name, "consumer": "front-end", "total_iops_sec": "100"}
    qos = admin.post("/volume/v3/qos-specs", json={"qos_specs": specs}).json()["qos_specs"]["id"]
    kind = admin.post("/volume/v3/types", json={"volume_type": {"name": name}}).json()["volume_type"]["id"]
    admin.get(f"/volume/v3/qos-specs/{qos}/associate", params={"vol_type_id": kind})
    volume = made(member, volume_type=name)
    told = act(member, volume["id"], "os-initialize_connection", {"connector": {"host": "x"}})
    assert told.json()["connection_info"]["data"]["qos_specs"] == {"total_iops_sec": 100}
    act(member, volume["id"], "os-terminate_connection", {"connector": {"host": "x"}})


def test_a_namespace_server_is_told_that_it_has_no_disks(cloud: RunningCloud, member: httpx.Client) -> None:
    flavor = {"name": f"ns-{uuid.uuid4().hex[:6]}", "ram": 16, "vcpus": 1, "disk": 0}
    admin = cloud.admin()
    made_flavor = admin.post("/compute/v2.1/flavors", json={"flavor": flavor}).json()["flavor"]["id"]
    specs = {"extra_specs": {"virga:kind": "namespace"}}
    admin.post(f"/compute/v2.1/flavors/{made_flavor}/os-extra_specs", json=specs)
    volume = made(member)
    device = {"source_type": "volume", "destination_type": "volume", "uuid": volume["id"], "boot_index": -1}
    image = compute.image(cloud)
    server = {
        "name": "n", "flavorRef": made_flavor, "imageRef": image, "networks": "none",
        "block_device_mapping_v2": [
            {"source_type": "image", "destination_type": "local", "uuid": image, "boot_index": 0}, device,
        ],
    }  # fmt: skip
    newest = {"x-openstack-nova-api-version": "2.90"}
    refused = member.post("/compute/v2.1/servers", json={"server": server}, headers=newest)
    assert refused.status_code == 400
    assert "has no disks" in refused.json()["badRequest"]["message"]


def test_a_transfer_takes_the_place_of_one_left_over(cloud: RunningCloud) -> None:
    admin = cloud.admin()
    volume = made(admin)["id"]
    found = []
    for _ in range(2):
        body = {"transfer": {"volume_id": volume}}
        answer = admin.post("/volume/v3/os-volume-transfer", json=body)
        assert answer.status_code == 202, answer.text
        found.append(answer.json()["transfer"]["id"])
        assert act(admin, volume, "os-reset_status", {"status": "available"}).status_code == 202
    assert admin.get(f"/volume/v3/os-volume-transfer/{found[0]}").status_code == 404
    assert admin.get(f"/volume/v3/os-volume-transfer/{found[1]}").status_code == 200


@pytest.mark.parametrize("what", ["volume", "group"])
def test_what_is_made_belongs_to_a_project(cloud: RunningCloud, what: str) -> None:
    token = cloud.authenticate(cloud.account("admin"), {"system": {"all": True}}).headers["x-subject-token"]
    system = cloud.client(**{"x-auth-token": token, "openstack-api-version": "volume 3.70"})
    kinds = cloud.admin().get("/volume/v3/types").json()["volume_types"]
    if what == "volume":
        answer = system.post("/volume/v3/volumes", json={"volume": {"size": 1}})
    else:
        headers = {"openstack-api-version": "volume 3.70"}
        body = {"group_type": {"name": uuid.uuid4().hex}}
        made = cloud.admin().post("/volume/v3/group_types", json=body, headers=headers).json()["group_type"]
        wanted = {"group_type": made["id"], "volume_types": [kinds[0]["id"]]}
        answer = system.post("/volume/v3/groups", json={"group": wanted})
    assert answer.status_code == 400
    assert "not scoped to a project" in answer.json()["badRequest"]["message"]
