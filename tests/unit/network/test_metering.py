"""Metering labels through the edge, and the counters that routers have because of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lib.network import NetworkCloud
from virga.agent.managers.router_view import RouterView, rules
from virga.agent.render.router_rules import render
from virga.contract import items
from virga.desired.feed import Feed
from virga.desired.network_source import NetworkSource


@pytest.fixture
def cloud() -> Iterator[NetworkCloud]:
    made = NetworkCloud()
    made.host()
    yield made
    made.close()


def a_label(cloud: NetworkCloud, **more: Any) -> str:
    body = {"metering_label": {"name": "l", **more}}
    return str(cloud.post("admin", "/metering/metering-labels", body)["id"])


def a_rule(cloud: NetworkCloud, label: str, **said: Any) -> Any:
    body = {"metering_label_rule": {"metering_label_id": label, "direction": "egress", **said}}
    return cloud.request("admin", "POST", "/metering/metering-label-rules", body)


def test_labels_and_rules(cloud: NetworkCloud) -> None:
    label = a_label(cloud, project_id="p-alice")
    made = a_rule(cloud, label, remote_ip_prefix="10.0.0.7/24").body["metering_label_rule"]
    assert (made["remote_ip_prefix"], made["excluded"]) == ("10.0.0.0/24", False)
    twice = a_rule(cloud, label, remote_ip_prefix="10.0.0.0/16")
    assert (twice.status, twice.body["NeutronError"]["type"]) == (409, "MeteringLabelRuleOverlaps")
    assert a_rule(cloud, label, remote_ip_prefix="10.0.0.0/16", direction="ingress").status == 201
    assert a_rule(cloud, label).status == 400
    mixed = {"source_ip_prefix": "10.0.0.0/8", "destination_ip_prefix": "fd00::/8"}
    assert a_rule(cloud, label, **mixed).status == 400
    assert a_rule(cloud, label, remote_ip_prefix="10.9.0.0/16", source_ip_prefix="10.0.0.0/8").status == 400
    assert a_rule(cloud, made["id"], remote_ip_prefix="10.0.0.0/8").status == 404
    assert [each["id"] for each in cloud.get("alice", "/metering/metering-labels")] == [label]
    assert len(cloud.get("alice", "/metering/metering-label-rules")) == 2
    assert (
        cloud.get("bob", "/metering/metering-labels")
        == cloud.get("bob", "/metering/metering-label-rules")
        == []
    )
    refused = cloud.request(
        "alice", "POST", "/metering/metering-labels", {"metering_label": {"name": "mine"}}
    )
    assert refused.status == 403
    cloud.delete("admin", f"/metering/metering-label-rules/{made['id']}")
    cloud.delete("admin", f"/metering/metering-labels/{label}")
    assert cloud.get("admin", "/metering/metering-label-rules") == []


def test_routers_of_the_project_count(cloud: NetworkCloud) -> None:
    feed = Feed([NetworkSource("openstacklocal", 86400)])
    cloud.database.read(feed.start)
    outside = cloud.post("admin", "/networks", {"network": {"router:external": True}})
    subnet = {"network_id": outside["id"], "ip_version": 4, "cidr": "172.24.4.0/24", "enable_dhcp": False}
    cloud.post("admin", "/subnets", {"subnet": subnet})
    gateway = {"external_gateway_info": {"network_id": outside["id"]}}
    routers = {who: cloud.post(who, "/routers", {"router": gateway})["id"] for who in ("alice", "bob")}

    def counted(who: str) -> list[str]:
        cloud.database.read(feed.refresh)
        found = feed.hosts["host1"].items.values()
        (item,) = (i for i in found if isinstance(i, items.Router) and i.key == routers[who])
        (table,) = (t for t in render(rules(RouterView(item))).v4 if t.name == "filter")
        return [rule for rule in table.rules if rule.startswith("-A neutron-meter-r-")]

    label = a_label(cloud, project_id="p-alice")
    a_rule(cloud, label, remote_ip_prefix="10.0.0.0/24")
    a_rule(cloud, label, source_ip_prefix="10.0.0.9/32", destination_ip_prefix="192.0.2.0/24", excluded=True)
    excluded, kept = counted("alice")
    assert "-s 10.0.0.9/32 -d 192.0.2.0/24 -o qg-" in excluded and excluded.endswith("-j RETURN")
    assert "-s 10.0.0.0/24 -o qg-" in kept and kept.endswith(f"-j neutron-meter-l-{label[:11]}")
    assert counted("bob") == []
    shared = a_label(cloud, shared=True)
    a_rule(cloud, shared, remote_ip_prefix="0.0.0.0/0", direction="ingress")
    (rule,) = counted("bob")
    assert f"neutron-meter-r-{shared[:11]} -i qg-" in rule
    cloud.delete("admin", f"/metering/metering-labels/{shared}")
    cloud.delete("admin", f"/metering/metering-labels/{label}")
    assert counted("alice") == counted("bob") == []
