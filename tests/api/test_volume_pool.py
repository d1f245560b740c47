"""A pool that is full, and what a user is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.lib.cloud import RunningCloud, running_cloud
from tests.lib.waiting import eventually


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    """A cloud whose pool holds 3 GB and promises no more."""
    with running_cloud(tmp_path_factory.mktemp("small"), volume_pool_gb=3, volume_overcommit=1.0) as started:
        yield started


@pytest.fixture
def client(small: RunningCloud) -> httpx.Client:
    return small.client(small.account("demo"), **{"openstack-api-version": "volume 3.71"})


def create(client: httpx.Client, size: int, **more: Any) -> str:
    answer = client.post("/volume/v3/volumes", json={"volume": {"size": size, **more}})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["volume"]["id"])


def status(client: httpx.Client, volume_id: str, wanted: str) -> dict[str, Any]:
    def look() -> Any:
        found = client.get(f"/volume/v3/volumes/{volume_id}").json()["volume"]
        return found if found["status"] == wanted else None

    found: dict[str, Any] = eventually(look, f"volume {volume_id} is {wanted}")
    return found


def told(client: httpx.Client, volume_id: str) -> list[str]:
    found = client.get("/volume/v3/messages", params={"resource_uuid": volume_id}).json()["messages"]
    return [one["user_message"] for one in found]


def test_a_full_pool_is_refused_with_a_message_and_leaves_a_way_out(client: httpx.Client) -> None:
    first = create(client, 2)
    status(client, first, "available")
    second = create(client, 2)
    status(client, second, "error")
    assert told(client, second) == ["schedule allocate volume:Could not find any available weighted backend."]
    grown = client.post(f"/volume/v3/volumes/{first}/action", json={"os-extend": {"new_size": 4}})
    assert grown.status_code == 202
    eventually(lambda: told(client, first), "a message tells why the volume did not grow")
    assert status(client, first, "available")["size"] == 2
    assert client.delete(f"/volume/v3/volumes/{second}").status_code == 202
    assert client.delete(f"/volume/v3/volumes/{first}").status_code == 202
    for volume_id in (first, second):
        eventually(
            lambda v=volume_id: client.get(f"/volume/v3/volumes/{v}").status_code == 404,  # type: ignore[misc]
            "the volume is gone",
        )
    status(client, create(client, 3), "available")


def test_a_type_that_no_backend_meets(small: RunningCloud, client: httpx.Client) -> None:
    wanted = {"name": "gold", "extra_specs": {"volume_backend_name": "gold-plated"}}
    admin = small.admin()
    assert admin.post("/volume/v3/types", json={"volume_type": wanted}).status_code == 200
    volume_id = create(client, 1, volume_type="gold")
    status(client, volume_id, "error")
    assert told(client, volume_id)
