"""Routers, floating IPs, forwardings and security groups through the edge, and what hosts learn of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lib.network import NetworkCloud
from virga.contract import items
from virga.contract.messages import Report
from virga.desired.feed import Feed
from virga.desired.network_source import NetworkSource
from virga.desired.report import ReportDesk


@dataclass
class Lab:
    """An external network, a network of alice with a port on host2, and a router between them."""

    cloud: NetworkCloud
    external: dict[str, Any]
    subnet: dict[str, Any]
    port: dict[str, Any]
    router: dict[str, Any]
    feed: Feed

    def refresh(self) -> None:
        self.cloud.database.read(self.feed.refresh)

    def items(self, host: str, kind: type[items.Item]) -> dict[str, Any]:
        self.refresh()
        return {i.key: i for i in self.feed.hosts[host].items.values() if isinstance(i, kind)}

    def floating(self, **more: Any) -> Any:
        body = {"floating_network_id": self.external["id"], **more}
        return self.cloud.post("alice", "/floatingips", {"floatingip": body})

    def act(self, name: str, body: Any) -> Any:
        return self.cloud.request("alice", "PUT", f"/routers/{self.router['id']}/{name}", body)


@pytest.fixture
def lab() -> Iterator[Lab]:
    cloud = NetworkCloud()
    cloud.host()
    cloud.host("host2", "network")
    feed = Feed([NetworkSource("openstacklocal", 86400)])
    cloud.database.read(feed.start)
    provider = {"provider:network_type": "flat", "provider:physical_network": "public"}
    external = cloud.post("admin", "/networks", {"network": {"router:external": True, **provider}})
    outside = {"network_id": external["id"], "ip_version": 4, "cidr": "172.24.4.0/24", "enable_dhcp": False}
    cloud.post("admin", "/subnets", {"subnet": outside})
    network = cloud.post("alice", "/networks", {"network": {}})
    inside = {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/24"}
    subnet = cloud.post("alice", "/subnets", {"subnet": inside})
    gateway = {"external_gateway_info": {"network_id": external["id"]}}
    router = cloud.post("alice", "/routers", {"router": gateway})
    cloud.request(
        "alice", "PUT", f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]}
    )
    vm = {"network_id": network["id"], "project_id": "p-alice", "binding:host_id": "host2", "device_id": "vm"}
    port = cloud.post("admin", "/ports", {"port": {**vm, "device_owner": "compute:nova"}})
    yield Lab(cloud, external, subnet, port, router, feed)
    cloud.close()


def test_a_router_reaches_its_host_with_both_its_ports(lab: Lab) -> None:
    router = lab.items("host1", items.Router)[lab.router["id"]]
    assert router.gateway.device_name.startswith("qg-")
    assert router.gateway.subnets[0].gateway_ip == "172.24.4.1"
    (inside,) = router.interfaces
    assert inside.fixed_ips[0].ip_address == "10.0.0.1"
    assert inside.device_name == "qr-" + inside.port_id[:11]
    ports = lab.items("host1", items.Port)
    assert ports[inside.port_id].plug == "veth"
    (dhcp,) = lab.items("host1", items.DhcpNetwork).values()
    assert not dhcp.subnets[0].metadata_route


def test_without_a_router_dhcp_serves_metadata(lab: Lab) -> None:
    lab.act("remove_router_interface", {"subnet_id": lab.subnet["id"]})
    (dhcp,) = lab.items("host1", items.DhcpNetwork).values()
    assert dhcp.subnets[0].metadata_route


def test_a_floating_ip_is_active_when_its_host_says_so(lab: Lab) -> None:
    floating = lab.floating(port_id=lab.port["id"])
    assert (floating["status"], floating["router_id"]) == ("DOWN", lab.router["id"])
    item = lab.items("host1", items.FloatingIp)[floating["id"]]
    assert item.fixed_ip_address == lab.port["fixed_ips"][0]["ip_address"]
    desk = ReportDesk()
    report = Report(kind="floating_ip", key=floating["id"], status="ACTIVE")
    lab.cloud.database.write(lambda tx: desk.take(tx, "host2", [report]))
    assert lab.cloud.get("alice", f"/floatingips/{floating['id']}")["status"] == "DOWN"
    lab.cloud.database.write(lambda tx: desk.take(tx, "host1", [report]))
    assert lab.cloud.get("alice", f"/floatingips/{floating['id']}")["status"] == "ACTIVE"
    lab.cloud.put("alice", f"/floatingips/{floating['id']}", {"floatingip": {"port_id": None}})
    assert lab.cloud.get("alice", f"/floatingips/{floating['id']}")["status"] == "DOWN"
    lab.cloud.database.write(lambda tx: desk.take(tx, "host1", [report]))
    assert lab.cloud.get("alice", f"/floatingips/{floating['id']}")["status"] == "DOWN"
    assert lab.items("host1", items.FloatingIp) == {}


def test_what_is_needed_cannot_be_removed(lab: Lab) -> None:
    lab.floating(port_id=lab.port["id"])
    answer = lab.act("remove_router_interface", {"subnet_id": lab.subnet["id"]})
    assert (answer.status, answer.body["NeutronError"]["type"]) == (409, "RouterInterfaceInUseByFloatingIP")
    answer = lab.cloud.request("alice", "DELETE", f"/routers/{lab.router['id']}")
    assert (answer.status, answer.body["NeutronError"]["type"]) == (409, "RouterInUse")
    (port_id,) = [p.port_id for p in lab.items("host1", items.Router)[lab.router["id"]].interfaces]
    answer = lab.cloud.request("alice", "DELETE", f"/ports/{port_id}")
    assert (answer.status, answer.body["NeutronError"]["type"]) == (409, "ServicePortInUse")


def test_a_deleted_port_frees_its_floating_ip(lab: Lab) -> None:
    floating = lab.floating(port_id=lab.port["id"])
    lab.cloud.delete("alice", f"/ports/{lab.port['id']}")
    assert lab.cloud.get("alice", f"/floatingips/{floating['id']}")["router_id"] is None
    lab.refresh()
    assert "host2" not in lab.feed.hosts or not lab.feed.hosts["host2"].items


def test_a_forwarding_takes_the_router_that_leads_to_its_port(lab: Lab) -> None:
    floating = lab.floating()
    body = {
        "external_port": 2222,
        "internal_port": 22,
        "protocol": "tcp",
        "internal_ip_address": lab.port["fixed_ips"][0]["ip_address"],
        "internal_port_id": lab.port["id"],
    }
    path = f"/floatingips/{floating['id']}/port_forwardings"
    made = lab.cloud.post("alice", path, {"port_forwarding": body})
    item = lab.items("host1", items.PortForwarding)[made["id"]]
    assert (item.router_id, item.external_port, item.internal_port) == (lab.router["id"], "2222", "22")
    assert lab.cloud.request("bob", "GET", path).body == {"port_forwardings": []}
    again = lab.cloud.request("alice", "POST", path, {"port_forwarding": body})
    assert again.status == 400
    lab.cloud.delete("alice", f"{path}/{made['id']}")
    assert lab.items("host1", items.PortForwarding) == {}


def test_extra_routes_come_and_go_one_by_one(lab: Lab) -> None:
    route = {"destination": "10.9.0.0/16", "nexthop": "10.0.0.77"}
    answer = lab.act("add_extraroutes", {"router": {"routes": [route]}})
    assert answer.body["router"]["routes"] == [route]
    assert [r.destination for r in lab.items("host1", items.Router)[lab.router["id"]].routes] == [
        "10.9.0.0/16"
    ]
    far = {"destination": "10.8.0.0/16", "nexthop": "192.0.2.1"}
    assert lab.act("add_extraroutes", {"router": {"routes": [far]}}).status == 400
    answer = lab.act("remove_extraroutes", {"router": {"routes": [route]}})
    assert answer.body["router"]["routes"] == []


def test_overlapping_subnets_do_not_share_a_router(lab: Lab) -> None:
    network = lab.cloud.post("alice", "/networks", {"network": {}})
    body = {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.128/25"}
    subnet = lab.cloud.post("alice", "/subnets", {"subnet": body})
    answer = lab.act("add_router_interface", {"subnet_id": subnet["id"]})
    assert answer.status == 400
    assert answer.body["NeutronError"]["message"] == (
        f"Bad router request: Cidr 10.0.0.128/25 of subnet {subnet['id']} overlaps with cidr 10.0.0.0/24 of subnet "
        f"{lab.subnet['id']}."
    )


RULE = {"direction": "ingress", "protocol": "tcp", "port_range_min": 80, "port_range_max": 80}


@pytest.mark.parametrize(
    ("more", "status", "kind"),
    [
        ({"ethertype": "bad"}, 400, "SecurityGroupRuleInvalidEtherType"),
        ({"protocol": "bad"}, 400, "SecurityGroupRuleInvalidProtocol"),
        ({"remote_ip_prefix": "192.168.1./24"}, 400, "InvalidCIDR"),
        ({"remote_ip_prefix": "256"}, 400, "InvalidCIDR"),
        ({"port_range_min": -16}, 400, "SecurityGroupInvalidPortValue"),
        ({"port_range_max": 79}, 400, "SecurityGroupInvalidPortRange"),
        ({"port_range_min": None}, 400, "SecurityGroupInvalidPortRange"),
        ({"protocol": "icmp", "port_range_max": 256}, 400, "SecurityGroupInvalidIcmpValue"),
        ({"protocol": None}, 400, "SecurityGroupProtocolRequiredWithPorts"),
        ({"remote_group_id": "bad_group_id"}, 404, "SecurityGroupNotFound"),
        ({}, 409, "SecurityGroupRuleExists"),
    ],
)
def test_a_wrong_rule_is_refused(lab: Lab, more: dict[str, Any], status: int, kind: str) -> None:
    group = lab.cloud.post("alice", "/security-groups", {"security_group": {"name": "web"}})
    rule = {**RULE, "security_group_id": group["id"]}
    lab.cloud.post("alice", "/security-group-rules", {"security_group_rule": rule})
    answer = lab.cloud.request(
        "alice", "POST", "/security-group-rules", {"security_group_rule": {**rule, **more}}
    )
    assert (answer.status, answer.body["NeutronError"]["type"]) == (status, kind)


def test_a_rule_reaches_the_hosts_of_its_group(lab: Lab) -> None:
    (group_id,) = lab.port["security_groups"]
    made = lab.cloud.post(
        "alice", "/security-group-rules", {"security_group_rule": {**RULE, "security_group_id": group_id}}
    )
    rules = lab.items("host2", items.SecurityGroup)[group_id].rules
    assert [r.protocol for r in rules if r.id == made["id"]] == [6]
    lab.cloud.delete("alice", f"/security-group-rules/{made['id']}")
    assert made["id"] not in {r.id for r in lab.items("host2", items.SecurityGroup)[group_id].rules}


def test_every_project_has_one_default_group(lab: Lab) -> None:
    (group,) = lab.cloud.get("carol", "/security-groups")
    assert group["name"] == "default"
    answer = lab.cloud.request("carol", "POST", "/security-groups", {"security_group": {"name": "default"}})
    assert (answer.status, answer.body["NeutronError"]["type"]) == (409, "SecurityGroupDefaultAlreadyExists")
    assert lab.cloud.request("carol", "DELETE", f"/security-groups/{group['id']}").status == 409
