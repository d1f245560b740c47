"""Servers and what they need, for API tests."""

from __future__ import annotations

import uuid
from typing import Any

import httpx

from tests.lib.cloud import RunningCloud
from tests.lib.waiting import eventually


def flavor(cloud: RunningCloud, **size: int) -> str:
    """A new flavor; its id."""
    body = {"name": f"flavor-{uuid.uuid4().hex[:8]}", "ram": 64, "vcpus": 1, "disk": 1, **size}
    with cloud.admin() as admin:
        answer = admin.post("/compute/v2.1/flavors", json={"flavor": body})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["flavor"]["id"])


def image(cloud: RunningCloud) -> str:
    """A small public image that is active; its id."""
    with cloud.admin() as admin:
        asked = {"name": "tiny", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
        made = admin.post("/image/v2/images", json=asked)
        assert made.status_code == 201, made.text
        image_id = made.json()["id"]
        stored = admin.put(
            f"/image/v2/images/{image_id}/file",
            content=b"\0" * 4096,
            headers={"content-type": "application/octet-stream"},
        )
        assert stored.status_code == 204, stored.text
    return str(image_id)


def show(client: httpx.Client, server_id: str) -> dict[str, Any]:
    answer = client.get(f"/compute/v2.1/servers/{server_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["server"])


def create(client: httpx.Client, **body: Any) -> str:
    """A server; on no network unless the test names one: what other tests share would be taken, or be ambiguous."""
    headers = {}
    if "networks" not in body and "openstack-api-version" not in client.headers:
        body["networks"] = "none"
        headers["OpenStack-API-Version"] = "compute 2.37"
    answer = client.post("/compute/v2.1/servers", json={"server": {"name": "vm", **body}}, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["server"]["id"])


def wait_status(client: httpx.Client, server_id: str, status: str) -> dict[str, Any]:
    """The server once it has this status and no task."""

    def look() -> dict[str, Any] | None:
        server = show(client, server_id)
        assert status == "ERROR" or server["status"] != "ERROR", server.get("fault")
        return server if server["status"] == status and server["OS-EXT-STS:task_state"] is None else None

    found = eventually(look, f"server {server_id} is {status}")
    assert found is not None
    return found


def active_server(
    cloud: RunningCloud,
    client: httpx.Client,
    flavor_id: str | None = None,
    status: str = "ACTIVE",
    **body: Any,
) -> dict[str, Any]:
    """A new server, once it has become what it should."""
    asked = {"flavorRef": flavor_id or flavor(cloud), "imageRef": image(cloud), **body}
    return wait_status(client, create(client, **asked), status)


def wait_gone(client: httpx.Client, server_id: str) -> None:
    path = f"/compute/v2.1/servers/{server_id}"
    eventually(lambda: client.get(path).status_code == 404, f"server {server_id} is gone")


def act(
    client: httpx.Client, server_id: str, name: str, argument: object = None, **headers: str
) -> httpx.Response:
    """POST an action."""
    return client.post(f"/compute/v2.1/servers/{server_id}/action", json={name: argument}, headers=headers)
