"""Several external gateways of a router through the edge, and what its host learns of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lib.network import NetworkCloud
from virga.agent.managers.router_view import RouterView, addressing
from virga.contract import items
from virga.contract.messages import Report
from virga.desired.feed import Feed
from virga.desired.network_source import NetworkSource
from virga.desired.report import ReportDesk


@pytest.fixture
def cloud() -> Iterator[NetworkCloud]:
    made = NetworkCloud()
    made.host()
    yield made
    made.close()


def outside(cloud: NetworkCloud, number: int) -> str:
    network = cloud.post("admin", "/networks", {"network": {"router:external": True}})
    subnet = {
        "network_id": network["id"],
        "ip_version": 4,
        "cidr": f"172.24.{number}.0/24",
        "enable_dhcp": False,
    }
    cloud.post("admin", "/subnets", {"subnet": subnet})
    return str(network["id"])


def act(cloud: NetworkCloud, who: str, router: str, verb: str, *gateways: dict[str, Any]) -> Any:
    body = {"router": {"external_gateways": list(gateways)}}
    return cloud.request(who, "PUT", f"/routers/{router}/{verb}_external_gateways", body)


def a_router(cloud: NetworkCloud, **more: Any) -> str:
    return str(cloud.post("admin", "/routers", {"router": {"project_id": "p-alice", **more}})["id"])


def test_gateways_come_and_go_and_the_first_is_the_old_attribute(cloud: NetworkCloud) -> None:
    one, two, router = outside(cloud, 4), outside(cloud, 5), a_router(cloud)
    shown = act(cloud, "alice", router, "add", {"network_id": one}, {"network_id": one}, {"network_id": two})
    assert shown.status == 200
    gateways = shown.body["router"]["external_gateways"]
    assert [g["network_id"] for g in gateways[:1]] == [one] and len(gateways) == 3
    assert shown.body["router"]["external_gateway_info"] == gateways[0]
    addresses = {g["external_fixed_ips"][0]["ip_address"] for g in gateways}
    assert len(addresses) == 3
    shown = act(cloud, "alice", router, "remove", gateways[0])
    left = shown.body["router"]["external_gateways"]
    assert len(left) == 2 and gateways[0] not in left
    assert shown.body["router"]["external_gateway_info"] == left[0]
    shown = act(cloud, "admin", router, "update", left[1])
    assert shown.body["router"]["external_gateways"] == [left[1]]
    answer = act(cloud, "alice", router, "remove", {"network_id": left[0]["network_id"]})
    assert (answer.status, answer.body["NeutronError"]["type"]) == (400, "UnableToMatchGateways")
    cloud.put("alice", f"/routers/{router}", {"router": {"external_gateway_info": {}}})
    cloud.delete("alice", f"/routers/{router}")
    assert [p for p in cloud.get("admin", "/ports") if p["device_id"] == router] == []


def test_members_choose_neither_addresses_nor_translation(cloud: NetworkCloud) -> None:
    one, router = outside(cloud, 4), a_router(cloud)
    for more in ({"enable_snat": False}, {"external_fixed_ips": [{"ip_address": "172.24.4.77"}]}):
        assert act(cloud, "alice", router, "add", {"network_id": one, **more}).status == 403
        assert act(cloud, "admin", router, "add", {"network_id": one, **more}).status == 200
    assert act(cloud, "bob", router, "remove", {"network_id": one}).status == 404
    assert act(cloud, "alice", router, "add", {}).status == 400
    nothing = cloud.request("alice", "PUT", f"/routers/{router}/add_external_gateways", {"router": {}})
    assert nothing.status == 400


def inside(cloud: NetworkCloud, router: str) -> dict[str, Any]:
    network = cloud.post("alice", "/networks", {"network": {}})
    body = {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/24"}
    subnet = cloud.post("alice", "/subnets", {"subnet": body})
    cloud.put("alice", f"/routers/{router}/add_router_interface", {"subnet_id": subnet["id"]})
    return dict(cloud.post("alice", "/ports", {"port": {"network_id": network["id"]}}))


def test_a_gateway_that_a_floating_ip_needs_stays(cloud: NetworkCloud) -> None:
    one, two, router = outside(cloud, 4), outside(cloud, 5), a_router(cloud)
    act(cloud, "alice", router, "add", {"network_id": one}, {"network_id": two})
    body = {"floating_network_id": two, "port_id": inside(cloud, router)["id"]}
    assert cloud.post("alice", "/floatingips", {"floatingip": body})["router_id"] == router
    answer = act(cloud, "alice", router, "remove", {"network_id": two})
    kind = answer.body["NeutronError"]["type"]
    assert (answer.status, kind) == (409, "RouterExternalGatewayInUseByFloatingIp")
    assert act(cloud, "alice", router, "remove", {"network_id": one}).status == 200


def test_default_routes_go_by_the_first_gateway_or_by_all(cloud: NetworkCloud) -> None:
    feed = Feed([NetworkSource("openstacklocal", 86400)])
    cloud.database.read(feed.start)
    one, two, router = outside(cloud, 4), outside(cloud, 5), a_router(cloud)
    act(cloud, "alice", router, "add", {"network_id": one}, {"network_id": two})

    def hops() -> set[str]:
        cloud.database.read(feed.refresh)
        (item,) = (i for i in feed.hosts["host1"].items.values() if isinstance(i, items.Router))
        routes = addressing(RouterView(item)).routes
        return {hop for route in routes if route.destination == "0.0.0.0/0" for hop in route.nexthops}

    assert hops() == {"172.24.4.1"}
    cloud.put("admin", f"/routers/{router}", {"router": {"enable_default_route_ecmp": True}})
    assert hops() == {"172.24.4.1", "172.24.5.1"}
    body = {"router": {"enable_default_route_bfd": True}}
    assert cloud.request("admin", "PUT", f"/routers/{router}", body).status == 400


def test_a_floating_ip_behind_a_second_router(cloud: NetworkCloud) -> None:
    one, router = outside(cloud, 4), a_router(cloud)
    act(cloud, "alice", router, "add", {"network_id": one})
    inside(cloud, router)
    far = cloud.post("alice", "/networks", {"network": {}})
    subnet = {"network_id": far["id"], "ip_version": 4, "cidr": "10.9.0.0/24"}
    cloud.post("alice", "/subnets", {"subnet": subnet})
    port = cloud.post("alice", "/ports", {"port": {"network_id": far["id"]}})
    body = {"floatingip": {"floating_network_id": one, "port_id": port["id"], "router_id": router}}
    assert cloud.request("alice", "POST", "/floatingips", body).status == 409
    routes = [{"destination": "10.9.0.0/24", "nexthop": "10.0.0.77"}]
    cloud.put("alice", f"/routers/{router}", {"router": {"routes": routes}})
    assert cloud.post("alice", "/floatingips", body)["router_id"] == router


def test_what_leads_through_a_router_without_a_host_is_down(cloud: NetworkCloud) -> None:
    one, router = outside(cloud, 4), a_router(cloud)
    act(cloud, "alice", router, "add", {"network_id": one})
    body = {"floating_network_id": one, "port_id": inside(cloud, router)["id"]}
    floating = cloud.post("alice", "/floatingips", {"floatingip": body})["id"]
    report = Report(kind="floating_ip", key=floating, status="ACTIVE")
    cloud.database.write(lambda tx: ReportDesk().take(tx, "host1", [report]))
    assert cloud.get("alice", f"/floatingips/{floating}")["status"] == "ACTIVE"
    (agent,) = cloud.get("admin", f"/routers/{router}/l3-agents")
    cloud.delete("admin", f"/agents/{agent['id']}/l3-routers/{router}")
    assert cloud.get("alice", f"/floatingips/{floating}")["status"] == "DOWN"
