"""``/v1/captures``: for administrators; begun, read and ended; clear words for what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lib.cloud import RunningCloud
from tests.lib.compute import active_server, wait_gone

pytestmark = pytest.mark.only_here


def begin(cloud: RunningCloud, **body: Any) -> Any:
    return cloud.admin().post("/v1/captures", json=body)


def test_only_administrators(cloud: RunningCloud) -> None:
    assert cloud.member().post("/v1/captures", json={"instance": "x"}).status_code == 403


def test_an_instance_is_listened_to_and_let_go(cloud: RunningCloud) -> None:
    member = cloud.member()
    network = member.post("/network/v2.0/networks", json={"network": {"name": "heard"}}).json()["network"]
    subnet = {"network_id": network["id"], "ip_version": 4, "cidr": "10.78.0.0/24"}
    assert member.post("/network/v2.0/subnets", json={"subnet": subnet}).status_code == 201
    server = active_server(cloud, member, networks=[{"uuid": network["id"]}])
    answer = begin(cloud, instance=server["id"], filter="icmp", hops=["all"])
    assert answer.status_code == 201, answer.text
    capture = answer.json()["capture"]
    assert {"tap", "br-int"} <= {hop["kind"] for hop in capture["hops"]}
    path = f"/v1/captures/{capture['id']}/{capture['hops'][0]['host']}"
    read = cloud.admin().get(path, params={"wait": "0"})
    assert (read.status_code, read.json()) == (200, {"frames": [], "next": 0, "done": False, "lost": 0})
    assert cloud.admin().delete(path).status_code == 204
    assert cloud.admin().delete(path).status_code == 204
    assert cloud.admin().get(path).status_code == 404
    refused = begin(cloud, instance=server["id"], filter="bad")
    assert refused.status_code == 400
    assert "'bad' is not understood: syntax error" in refused.json()["error"]["message"]
    assert "no hop" in begin(cloud, instance=server["id"], hops=["zz"]).json()["error"]["message"]
    member.delete(f"/compute/v2.1/servers/{server['id']}")
    wait_gone(member, server["id"])
    assert member.delete(f"/network/v2.0/networks/{network['id']}").status_code == 204


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"instance": "nobody"}, 404),
        ({}, 400),
        ({"instance": "x", "seconds": 0}, 400),
        ({"instance": "x", "seconds": 1e9}, 400),
        ({"instance": "x", "snaplen": 1}, 400),
        ({"instance": 5}, 400),
        ({"instance": "x", "other": 1}, 400),
    ],
)
def test_what_cannot_be_is_refused(cloud: RunningCloud, body: Any, status: int) -> None:
    assert begin(cloud, **body).status_code == status


def test_strange_numbers_and_ids_are_refused(cloud: RunningCloud) -> None:
    admin = cloud.admin()
    assert admin.get("/v1/captures/x/host1").status_code == 404
    assert admin.get(f"/v1/captures/{'0' * 32}/host1", params={"after": "-1"}).status_code == 400
    assert admin.get(f"/v1/captures/{'0' * 32}/host1", params={"wait": "nan"}).status_code == 400
    assert admin.get(f"/v1/captures/{'0' * 32}/host1").status_code == 404
