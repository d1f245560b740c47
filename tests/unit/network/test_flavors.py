"""Flavors of routers through the edge: who offers them, what is refused, and a router made of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lib.network import NetworkCloud
from virga.services.network.flavor import DRIVERS


@pytest.fixture
def cloud() -> Iterator[NetworkCloud]:
    made = NetworkCloud()
    made.host()
    yield made
    made.close()


def refused(cloud: NetworkCloud, who: str, method: str, path: str, body: Any = None) -> tuple[int, str]:
    answer = cloud.request(who, method, path, body)
    return answer.status, answer.body["NeutronError"]["type"]


def a_flavor(cloud: NetworkCloud, kind: str = "L3_ROUTER_NAT") -> str:
    return str(cloud.post("admin", "/flavors", {"flavor": {"name": "f", "service_type": kind}})["id"])


def a_profile(cloud: NetworkCloud, **more: Any) -> str:
    body = {"service_profile": {"driver": DRIVERS[0], **more}}
    return str(cloud.post("admin", "/service_profiles", body)["id"])


def test_a_router_of_a_flavor(cloud: NetworkCloud) -> None:
    flavor, profile = a_flavor(cloud), a_profile(cloud)
    path, binding = f"/flavors/{flavor}", {"service_profile": {"id": profile}}
    router = {"router": {"flavor_id": flavor}}
    assert refused(cloud, "alice", "POST", "/routers", router) == (404, "FlavorServiceProfileBindingNotFound")
    cloud.post("admin", f"{path}/service_profiles", binding)
    again = refused(cloud, "admin", "POST", f"{path}/service_profiles", binding)
    assert again == (409, "FlavorServiceProfileBindingExists")
    assert cloud.get("alice", path)["service_profiles"] == [profile]
    assert cloud.get("alice", f"{path}/next_providers")[0]["driver"] == DRIVERS[0]
    made = cloud.post("alice", "/routers", router)
    assert made["flavor_id"] == flavor
    both = {"router": {"flavor_id": flavor, "distributed": True}}
    assert cloud.request("admin", "POST", "/routers", both).status == 400
    assert refused(cloud, "admin", "DELETE", path) == (409, "FlavorInUse")
    assert refused(cloud, "admin", "DELETE", f"/service_profiles/{profile}") == (409, "ServiceProfileInUse")
    cloud.delete("alice", f"/routers/{made['id']}")
    cloud.delete("admin", f"{path}/service_profiles/{profile}")
    missing = refused(cloud, "admin", "DELETE", f"{path}/service_profiles/{profile}")
    assert missing == (404, "FlavorServiceProfileBindingNotFound")
    cloud.delete("admin", f"/service_profiles/{profile}")
    cloud.delete("admin", path)


def test_what_does_not_make_routers_is_refused(cloud: NetworkCloud) -> None:
    kind = {"flavor": {"service_type": "TELEPATHY"}}
    assert refused(cloud, "admin", "POST", "/flavors", kind) == (400, "InvalidServiceType")
    other = {"service_profile": {"driver": "no.such.Driver"}}
    answer = refused(cloud, "admin", "POST", "/service_profiles", other)
    assert answer == (404, "ServiceProfileDriverNotFound")
    empty = {"service_profile": {}}
    assert refused(cloud, "admin", "POST", "/service_profiles", empty) == (400, "ServiceProfileEmpty")
    router = {"router": {"flavor_id": a_flavor(cloud, "QOS")}}
    assert refused(cloud, "alice", "POST", "/routers", router) == (400, "InvalidServiceType")
    off = a_flavor(cloud)
    cloud.put("admin", f"/flavors/{off}", {"flavor": {"enabled": False}})
    assert refused(cloud, "alice", "POST", "/routers", {"router": {"flavor_id": off}}) == (
        409,
        "FlavorDisabled",
    )


def test_members_look_at_flavors_and_at_nothing_else(cloud: NetworkCloud) -> None:
    flavor, profile = a_flavor(cloud), a_profile(cloud, metainfo="{}")
    assert [f["id"] for f in cloud.get("alice", "/flavors")] == [flavor]
    assert cloud.request("alice", "POST", "/flavors", {"flavor": {"service_type": "QOS"}}).status == 403
    assert cloud.get("alice", "/service_profiles") == []
    assert cloud.request("alice", "GET", f"/service_profiles/{profile}").status == 404
    body = {"service_profile": {"id": profile}}
    assert cloud.request("alice", "POST", f"/flavors/{flavor}/service_profiles", body).status == 403
