"""What hosts could not realise becomes a status and a reason on the object that a user sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lib.network import NetworkCloud
from virga.contract.messages import Report
from virga.desired.report import ReportDesk


@pytest.fixture
def cloud() -> Iterator[NetworkCloud]:
    made = NetworkCloud()
    made.host()
    yield made
    made.close()


def says(
    cloud: NetworkCloud, kind: str, key: str, status: str, reason: str = "", host: str = "host1"
) -> None:
    report = Report(kind=kind, key=key, status=status, reason=reason)
    cloud.database.write(lambda tx: ReportDesk().take(tx, host, [report]))


def seen(item: dict[str, Any]) -> tuple[str, str | None]:
    return item["status"], item.get("status_reason")


def a_network(cloud: NetworkCloud, **more: Any) -> dict[str, Any]:
    who = "admin" if more else "alice"
    network = cloud.post(who, "/networks", {"network": more})
    subnet = {
        "network_id": network["id"],
        "ip_version": 4,
        "cidr": "172.24.4.0/24" if more else "10.0.0.0/24",
    }
    return {**network, "subnet": cloud.post(who, "/subnets", {"subnet": subnet})["id"]}


def test_a_port_says_why_and_says_nothing_when_all_is_well(cloud: NetworkCloud) -> None:
    network = a_network(cloud)
    body = {"network_id": network["id"], "binding:host_id": "host1"}
    path = "/ports/" + cloud.post("admin", "/ports", {"port": body})["id"]
    says(cloud, "port", path[7:], "ERROR", "ovs-vswitchd does not answer")
    assert seen(cloud.get("admin", path)) == ("ERROR", "ovs-vswitchd does not answer")
    says(cloud, "port", path[7:], "ACTIVE", host="host2")
    assert cloud.get("admin", path)["status"] == "ERROR"
    says(cloud, "port", path[7:], "ACTIVE")
    assert seen(cloud.get("admin", path)) == ("ACTIVE", None)


def test_dhcp_that_failed_shows_at_its_port(cloud: NetworkCloud) -> None:
    network = a_network(cloud)
    (port,) = cloud.get("admin", f"/ports?network_id={network['id']}&device_owner=network:dhcp")
    path = f"/ports/{port['id']}"
    says(cloud, "port", port["id"], "ACTIVE")
    says(cloud, "dhcp_network", network["id"], "ERROR", "dnsmasq ended")
    assert seen(cloud.get("admin", path)) == ("ERROR", "DHCP: dnsmasq ended")
    says(cloud, "port", port["id"], "ACTIVE")
    assert cloud.get("admin", path)["status"] == "ERROR"
    says(cloud, "dhcp_network", network["id"], "ACTIVE")
    assert seen(cloud.get("admin", path)) == ("ACTIVE", None)
    says(cloud, "dhcp_network", network["id"], "ERROR", "of another host", host="host2")
    assert cloud.get("admin", path)["status"] == "ACTIVE"


def test_one_forwarding_that_works_does_not_hide_one_that_failed(cloud: NetworkCloud) -> None:
    outside = a_network(cloud, **{"router:external": True})
    inside = a_network(cloud)
    router = {"external_gateway_info": {"network_id": outside["id"]}}
    router_id = cloud.post("alice", "/routers", {"router": router})["id"]
    cloud.put("alice", f"/routers/{router_id}/add_router_interface", {"subnet_id": inside["subnet"]})
    port = cloud.post("alice", "/ports", {"port": {"network_id": inside["id"]}})
    floating = cloud.post("alice", "/floatingips", {"floatingip": {"floating_network_id": outside["id"]}})
    path = f"/floatingips/{floating['id']}"
    forwardings = []
    for number in (22, 80):
        body = {"internal_port_id": port["id"], "internal_ip_address": port["fixed_ips"][0]["ip_address"]}
        body |= {"internal_port": number, "external_port": number, "protocol": "tcp"}
        made = cloud.post("alice", path + "/port_forwardings", {"port_forwarding": body})
        forwardings.append(made["id"])
    bad, good = forwardings
    says(cloud, "port_forwarding", bad, "ERROR", "iptables-restore failed")
    says(cloud, "port_forwarding", good, "ACTIVE")
    assert seen(cloud.get("alice", path)) == ("ERROR", f"port forwarding {bad}: iptables-restore failed")
    cloud.delete("alice", f"{path}/port_forwardings/{bad}")
    assert seen(cloud.get("alice", path)) == ("ACTIVE", None)
    says(cloud, "port_forwarding", good, "ERROR", "no")
    says(cloud, "port_forwarding", good, "ACTIVE")
    assert seen(cloud.get("alice", path)) == ("ACTIVE", None)
