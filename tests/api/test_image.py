"""Images over HTTP: records, bytes, ranges, patches, sharing."""

from __future__ import annotations

import hashlib
import os
import struct
import uuid
from typing import Any

import httpx
import pytest

from tests.lib.cloud import RunningCloud

IMAGES = "/image/v2/images"
PATCH = {"content-type": "application/openstack-images-v2.1-json-patch"}
OCTETS = {"content-type": "application/octet-stream"}

pytestmark = pytest.mark.validated


@pytest.fixture
def member(cloud: RunningCloud) -> httpx.Client:
    return cloud.member()


def make(client: httpx.Client, **values: Any) -> dict[str, Any]:
    body = {"name": "picture", "disk_format": "raw", "container_format": "bare", **values}
    answer = client.post(IMAGES, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def upload(client: httpx.Client, image_id: str, content: bytes) -> httpx.Response:
    return client.put(f"{IMAGES}/{image_id}/file", content=content, headers=OCTETS)


def patch(client: httpx.Client, image_id: str, *changes: dict[str, Any]) -> httpx.Response:
    return client.patch(f"{IMAGES}/{image_id}", json=list(changes), headers=PATCH)


def test_a_new_image_is_queued_and_has_no_bytes(member: httpx.Client) -> None:
    answer = member.post(IMAGES, json={"name": "x", "container_format": "bare", "disk_format": "qcow2"})
    made = answer.json()
    assert answer.headers["location"].endswith(f"{IMAGES}/{made['id']}")
    assert answer.headers["openstack-image-import-methods"] == "glance-direct,web-download,copy-image"
    assert (made["status"], made["size"], made["visibility"]) == ("queued", None, "shared")
    assert made["file"] == f"/v2/images/{made['id']}/file"
    nothing = member.get(f"{IMAGES}/{made['id']}/file")
    assert (nothing.status_code, nothing.content) == (204, b"")


def test_bytes_come_back_as_they_went_in(member: httpx.Client) -> None:
    content = os.urandom(9 * 1024 * 1024 + 7)
    made = make(member)
    assert upload(member, made["id"], content).status_code == 204
    shown = member.get(f"{IMAGES}/{made['id']}").json()
    assert shown["status"] == "active"
    assert shown["size"] == shown["virtual_size"] == len(content)
    assert shown["checksum"] == hashlib.md5(content).hexdigest()
    assert shown["os_hash_algo"] == "sha512"
    assert shown["os_hash_value"] == hashlib.sha512(content).hexdigest()
    got = member.get(f"{IMAGES}/{made['id']}/file")
    assert got.content == content
    assert got.headers["content-md5"] == shown["checksum"]
    again = upload(member, made["id"], b"x")
    assert again.status_code == 409
    assert again.json()["message"].startswith("Image status transition from active to saving is not allowed")


@pytest.mark.parametrize(
    ("wanted", "status", "content"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=5-99", 206, b"56789"),
        ("bytes=10-", 416, None),
        ("bytes=x", 416, None),
        ("bytes=1-2,4-5", 400, None),
    ],
)
def test_ranges(member: httpx.Client, wanted: str, status: int, content: bytes | None) -> None:
    made = make(member)
    upload(member, made["id"], b"0123456789")
    got = member.get(f"{IMAGES}/{made['id']}/file", headers={"range": wanted})
    assert got.status_code == status
    if content is not None:
        assert got.content == content
        assert got.headers["content-range"].endswith("/10")


def test_a_patch_changes_all_or_nothing(member: httpx.Client) -> None:
    made = make(member, colour="red")
    answer = patch(
        member,
        made["id"],
        {"op": "replace", "path": "/name", "value": "new"},
        {"op": "add", "path": "/shape", "value": "round"},
        {"op": "remove", "path": "/colour"},
        {"op": "replace", "path": "/tags", "value": ["a", "b"]},
    )
    assert answer.status_code == 200
    changed = answer.json()
    assert (changed["name"], changed["shape"], sorted(changed["tags"])) == ("new", "round", ["a", "b"])
    assert "colour" not in changed
    refused = patch(
        member,
        made["id"],
        {"op": "replace", "path": "/name", "value": "never"},
        {"op": "remove", "path": "/nothing"},
    )
    assert refused.status_code == 409
    assert member.get(f"{IMAGES}/{made['id']}").json()["name"] == "new"


def test_the_old_dialect_of_patches(member: httpx.Client) -> None:
    made = make(member)
    answer = member.patch(
        f"{IMAGES}/{made['id']}",
        json=[{"replace": "/name", "value": "old style"}],
        headers={"content-type": "application/openstack-images-v2.0-json-patch"},
    )
    assert answer.json()["name"] == "old style"


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ([{"op": "replace", "path": "/status", "value": "active"}], 403, "Attribute 'status' is read-only."),
        ([{"op": "add", "path": "/os_glance_x", "value": "y"}], 403, "Attribute 'os_glance_x' is reserved."),
        ([{"op": "add", "path": "/x", "value": 1}], 400, "1 is not of type 'string'"),
        ([{"op": "jump", "path": "/x"}], 400, "Invalid operation: `jump`."),
        ([{"op": "remove", "path": "/name"}], 403, "Property name may not be removed."),
        ([{"op": "replace", "path": "name", "value": "x"}], 400, 'does not start with "/"'),
        ([{"op": "replace", "path": "/min_disk", "value": -1}], 400, "Cannot be a negative value"),
        ({"op": "add"}, 400, "Request body must be a JSON array"),
        ([1], 400, "Operations must be JSON objects."),
        ([{"op": "replace", "path": "/visibility", "value": "public"}], 403, "publicize_image"),
        ([{"op": "replace", "path": "/owner", "value": "x"}], 403, "Owner can't be updated by non admin."),
    ],
)
def test_bad_patches(member: httpx.Client, changes: Any, status: int, sentence: str) -> None:
    made = make(member)
    answer = member.patch(f"{IMAGES}/{made['id']}", json=changes, headers=PATCH)
    assert answer.status_code == status, answer.text
    assert sentence in answer.json()["message"]


def test_an_unknown_format_is_refused_in_the_words_of_the_schema(member: httpx.Client) -> None:
    answer = member.post(IMAGES, json={"name": "test", "container_format": "wrong", "disk_format": "vhd"})
    assert answer.status_code == 400
    message = answer.json()["message"]
    assert message.startswith(
        "Provided object does not match schema 'image': 'wrong' is not one of [None, 'ami', 'ari', 'aki', 'bare', "
        "'ovf', 'ova', 'docker', 'compressed']\n\nFailed validating 'enum' in schema['properties']['container_format']:"
    )
    assert message.endswith("On instance['container_format']:\n    'wrong'<br /><br />\n\n\n")


def test_what_is_not_there(member: httpx.Client) -> None:
    image_id = str(uuid.uuid4())
    shown = member.get(f"{IMAGES}/{image_id}")
    assert shown.json()["message"] == f"No image found with ID {image_id}<br /><br />\n\n\n"
    deleted = member.delete(f"{IMAGES}/{image_id}")
    assert deleted.json()["message"] == f"Failed to find image {image_id} to delete<br /><br />\n\n\n"
    assert member.delete(f"{IMAGES}/").status_code == 404
    assert member.put(f"{IMAGES}/{image_id}/tags/x").json()["code"] == "404 Not Found"


def test_protected_images_stay(member: httpx.Client) -> None:
    made = make(member, protected=True)
    assert member.delete(f"{IMAGES}/{made['id']}").status_code == 403
    patch(member, made["id"], {"op": "replace", "path": "/protected", "value": False})
    assert member.delete(f"{IMAGES}/{made['id']}").status_code == 204
    assert member.get(f"{IMAGES}/{made['id']}").status_code == 404


def test_sharing_needs_an_owner_and_a_member_who_accepts(cloud: RunningCloud) -> None:
    owner_account, other_account = cloud.new_project(), cloud.new_project()
    with cloud.client(owner_account) as owner, cloud.client(other_account) as other:
        made = make(owner, visibility="shared")
        url = f"{IMAGES}/{made['id']}"
        assert other.get(url).status_code == 404
        added = owner.post(f"{url}/members", json={"member": other_account.project_id})
        assert added.json()["status"] == "pending"
        assert owner.post(f"{url}/members", json={"member": other_account.project_id}).status_code == 409
        assert other.get(url).status_code == 200
        assert made["id"] not in [item["id"] for item in other.get(IMAGES).json()["images"]]
        refused = owner.put(f"{url}/members/{other_account.project_id}", json={"status": "accepted"})
        assert refused.status_code == 403
        accepted = other.put(f"{url}/members/{other_account.project_id}", json={"status": "accepted"})
        assert accepted.json()["status"] == "accepted"
        assert made["id"] in [item["id"] for item in other.get(IMAGES).json()["images"]]
        assert other.delete(url).status_code == 403
        assert owner.delete(f"{url}/members/{other_account.project_id}").status_code == 204
        assert other.get(url).status_code == 404


def test_a_private_image_of_another_project_does_not_exist(cloud: RunningCloud) -> None:
    with cloud.client(cloud.new_project()) as owner, cloud.member() as stranger, cloud.admin() as admin:
        made = make(owner, visibility="private")
        url = f"{IMAGES}/{made['id']}"
        assert stranger.get(url).status_code == 404
        assert (
            patch(stranger, made["id"], {"op": "replace", "path": "/name", "value": "x"}).status_code == 404
        )
        assert upload(stranger, made["id"], b"x").status_code == 404
        assert admin.get(url).status_code == 200


def test_community_images_are_listed_only_when_asked_for(cloud: RunningCloud) -> None:
    with cloud.client(cloud.new_project()) as owner, cloud.client(cloud.new_project()) as other:
        made = make(owner, visibility="community")
        assert other.get(f"{IMAGES}/{made['id']}").status_code == 200
        assert made["id"] not in [i["id"] for i in other.get(IMAGES).json()["images"]]
        listed = other.get(IMAGES, params={"visibility": "community", "limit": 1000}).json()["images"]
        assert made["id"] in [i["id"] for i in listed]


def test_lists_filter_sort_and_page(cloud: RunningCloud) -> None:
    with cloud.client(cloud.new_project()) as owner:
        made = [make(owner, name=name, min_ram=number) for number, name in enumerate("cab")]
        owner.put(f"{IMAGES}/{made[0]['id']}/tags/special")
        ask: dict[str, Any] = {"visibility": "shared", "sort": "name:asc"}

        def names(**query: Any) -> list[str]:
            answer = owner.get(IMAGES, params={**ask, **query})
            assert answer.status_code == 200, answer.text
            return [item["name"] for item in answer.json()["images"]]

        assert names() == ["a", "b", "c"]
        assert names(name="in:a,c") == ["a", "c"]
        assert names(tag="special") == ["c"]
        assert names(min_ram_max=1) == ["a", "c"]
        assert names(created_at="gt:2000-01-01T00:00:00Z") == ["a", "b", "c"]
        first = owner.get(IMAGES, params={**ask, "limit": 2}).json()
        assert [item["name"] for item in first["images"]] == ["a", "b"]
        rest = owner.get("/image" + first["next"]).json()
        assert [item["name"] for item in rest["images"]] == ["c"]
        assert "next" not in rest
        assert names(limit=0) == []


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"limit": "x"}, "limit param must be an integer"),
        ({"limit": "-1"}, "limit param must be positive"),
        ({"sort_key": "colour"}, "Invalid sort key: colour."),
        ({"sort_dir": "up"}, "Invalid sort direction: up"),
        ({"visibility": "hidden"}, "Invalid visibility value: hidden"),
        ({"os_hidden": "perhaps"}, "Invalid value 'perhaps' for 'os_hidden' filter."),
        ({"size_min": "many"}, "Unable to filter on a range with a non-numeric value."),
        ({"marker": "nobody"}, "No image found with ID nobody"),
        ({"created_at": "gt:yesterday"}, 'Bad "created_at" query filter format.'),
        ({"name": "gt:x"}, "Unable to filter by unknown operator 'gt'."),
    ],
)
def test_bad_lists(member: httpx.Client, query: dict[str, str], sentence: str) -> None:
    answer = member.get(IMAGES, params=query)
    assert answer.status_code == 400
    assert sentence in answer.json()["message"]


def qcow2(backing: bytes = b"", incompatible: int = 0) -> bytes:
    header = struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        b"QFI\xfb",
        3,
        104 if backing else 0,
        len(backing),
        16,
        1 << 30,
        0,
        1,
        0x30000,
        0x10000,
        1,
        0,
        0,
        incompatible,
        0,
        0,
        4,
        104,
    )
    return (header + backing).ljust(65536, b"\0")


def test_a_qcow2_is_looked_into(member: httpx.Client) -> None:
    made = make(member, disk_format="qcow2")
    assert upload(member, made["id"], qcow2()).status_code == 204
    assert member.get(f"{IMAGES}/{made['id']}").json()["virtual_size"] == 1 << 30


@pytest.mark.parametrize(
    "content", [qcow2(b"/etc/shadow"), qcow2(incompatible=4), qcow2(incompatible=1 << 9)]
)
def test_a_dangerous_qcow2_is_refused_and_nothing_stays(
    cloud: RunningCloud, member: httpx.Client, content: bytes
) -> None:
    made = make(member, disk_format="qcow2")
    answer = upload(member, made["id"], content)
    assert answer.status_code == 415
    assert "Image failed safety checks" in answer.json()["message"]
    shown = member.get(f"{IMAGES}/{made['id']}").json()
    assert (shown["status"], shown["size"], shown["checksum"]) == ("queued", None, None)
    assert not list((cloud.settings.state_dir / "images").rglob(made["id"]))


def test_bytes_that_are_something_else_are_refused(member: httpx.Client) -> None:
    made = make(member, disk_format="qcow2")
    answer = upload(member, made["id"], b"not at all")
    assert answer.status_code == 415
    assert "Image disk_format qcow2 does not match stream data raw" in answer.json()["message"]


def test_a_deactivated_image_cannot_be_downloaded(cloud: RunningCloud, member: httpx.Client) -> None:
    made = make(member)
    url = f"{IMAGES}/{made['id']}"
    assert member.post(f"{url}/actions/deactivate").status_code == 403
    upload(member, made["id"], b"content")
    assert member.post(f"{url}/actions/deactivate").status_code == 204
    assert member.get(url).json()["status"] == "deactivated"
    assert member.get(f"{url}/file").status_code == 403
    with cloud.admin() as admin:
        assert admin.get(f"{url}/file").content == b"content"
    assert member.post(f"{url}/actions/reactivate").status_code == 204
    assert member.get(f"{url}/file").content == b"content"


def test_formats_must_be_known_before_the_bytes_come(member: httpx.Client) -> None:
    made = member.post(IMAGES, json={"name": "bare record"}).json()
    answer = upload(member, made["id"], b"x")
    assert answer.status_code == 400
    assert (
        "Properties disk_format, container_format must be set prior to saving data."
        in answer.json()["message"]
    )
    answer = member.put(f"{IMAGES}/{made['id']}/file", content=b"x", headers={"content-type": "text/plain"})
    assert answer.status_code == 415


def test_discovery(cloud: RunningCloud, member: httpx.Client) -> None:
    versions = httpx.get(f"{cloud.url}/image")
    assert versions.status_code == 300
    current = [v for v in versions.json()["versions"] if v["status"] == "CURRENT"]
    assert current[0]["links"][0]["href"] == f"{cloud.url}/image/v2/"
    assert member.get("/image/v2/schemas/image").json()["name"] == "image"
    assert member.get("/image/v2/schemas/images").json()["name"] == "images"
    assert member.get("/image/v2/info/stores").json()["stores"][0]["default"] == "true"
    assert member.get("/image/v2/info/stores/detail").status_code == 403
    assert "web-download" in member.get("/image/v2/info/import").json()["import-methods"]["value"]
    nobody = httpx.get(f"{cloud.url}{IMAGES}")
    assert nobody.status_code == 401
    assert nobody.json()["error"]["code"] == 401
