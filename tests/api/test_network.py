"""openstacksdk against the Network service: the acts of an ordinary project, and what it may not do."""

from __future__ import annotations

import uuid
from typing import Any

import openstack.exceptions
import pytest

from tests.lib.cloud import RunningCloud


@pytest.fixture
def network(cloud: RunningCloud) -> Any:
    return cloud.connection("demo").network


def a_name() -> str:
    return f"net-{uuid.uuid4().hex[:8]}"


def a_network(network: Any, cidr: str = "10.20.0.0/24") -> tuple[Any, Any]:
    made = network.create_network(name=a_name())
    return made, network.create_subnet(network_id=made.id, ip_version=4, cidr=cidr)


@pytest.mark.validated
def test_network_subnet_port_and_away_again(network: Any) -> None:
    made, subnet = a_network(network)
    port = network.create_port(network_id=made.id, name="p")
    assert port.fixed_ips[0]["subnet_id"] == subnet.id
    assert network.find_network(made.name).id == made.id
    assert [p.id for p in network.ports(network_id=made.id, name="p")] == [port.id]
    with pytest.raises(openstack.exceptions.ConflictException):
        network.delete_network(made)
    network.delete_port(port)
    network.delete_network(made)
    assert network.find_network(made.name) is None


@pytest.mark.validated
def test_router_to_the_outside_with_a_floating_ip(cloud: RunningCloud, network: Any) -> None:
    external = cloud.connection("admin").network.create_network(name=a_name(), is_router_external=True)
    cloud.connection("admin").network.create_subnet(
        network_id=external.id, ip_version=4, cidr="203.0.113.0/24", is_dhcp_enabled=False
    )
    made, subnet = a_network(network)
    router = network.create_router(name=a_name(), external_gateway_info={"network_id": external.id})
    network.add_interface_to_router(router, subnet_id=subnet.id)
    port = network.create_port(network_id=made.id)
    floating = network.create_ip(floating_network_id=external.id, port_id=port.id)
    assert floating.router_id == router.id
    assert floating.fixed_ip_address == port.fixed_ips[0]["ip_address"]
    with pytest.raises(openstack.exceptions.ConflictException):
        network.remove_interface_from_router(router, subnet_id=subnet.id)
    network.delete_ip(floating)
    network.remove_interface_from_router(router, subnet_id=subnet.id)
    network.delete_router(router)
    network.delete_port(port)
    network.delete_network(made)


@pytest.mark.validated
def test_security_groups_and_their_rules(network: Any) -> None:
    group = network.create_security_group(name=a_name())
    rule = network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22
    )
    assert rule.id in {r["id"] for r in network.get_security_group(group.id).security_group_rules}
    with pytest.raises(openstack.exceptions.ConflictException):
        network.create_security_group_rule(
            security_group_id=group.id,
            direction="ingress",
            protocol="tcp",
            port_range_min=22,
            port_range_max=22,
        )
    network.delete_security_group(group)


@pytest.mark.validated
def test_tags_filters_and_pages(network: Any) -> None:
    names = [a_name() for _ in range(3)]
    made = [network.create_network(name=name) for name in names]
    network.set_tags(made[0], ["red", "round"])
    assert [n.id for n in network.networks(tags="red,round")] == [made[0].id]
    assert made[0].id not in {n.id for n in network.networks(not_tags="red")}
    assert {n.id for n in network.networks(limit=1)} >= {n.id for n in made}
    for one in made:
        network.delete_network(one)


@pytest.mark.validated
def test_what_a_member_may_not_do(network: Any) -> None:
    with pytest.raises(openstack.exceptions.ForbiddenException):
        network.create_network(name=a_name(), is_shared=True)
    assert list(network.agents()) == []
    made = network.create_network(name=a_name())
    assert made.provider_network_type is None
    network.delete_network(made)


@pytest.mark.validated
def test_quota_stops_the_next_one(cloud: RunningCloud) -> None:
    account = cloud.new_project()
    connection = cloud.connection(account)
    cloud.connection("admin").network.update_quota(account.project_id, networks=1)
    connection.network.create_network(name=a_name())
    with pytest.raises(openstack.exceptions.ConflictException, match="Quota exceeded for resources"):
        connection.network.create_network(name=a_name())


@pytest.mark.only_here
def test_a_path_with_a_line_end_is_answered_by_its_service(cloud: RunningCloud) -> None:
    answer = cloud.admin().get("/network/v2.0/ports/%0D%0AX-Injected%3A%201")
    assert answer.status_code == 404
    assert answer.json()["NeutronError"]["type"] == "PortNotFound"


def test_an_agent_is_updated_with_nothing(cloud: RunningCloud) -> None:
    admin = cloud.admin()
    agent = admin.get("/network/v2.0/agents").json()["agents"][0]
    answer = admin.put(f"/network/v2.0/agents/{agent['id']}", json={"agent": {}})
    assert answer.status_code == 200
    assert answer.json()["agent"]["id"] == agent["id"]


def test_a_refused_list_makes_no_default_group(cloud: RunningCloud) -> None:
    account = cloud.new_project()
    member, project = cloud.client(account), {"project_id": account.project_id}
    assert member.get("/network/v2.0/security-groups", params={"limit": "many"}).status_code == 400
    assert cloud.admin().get("/network/v2.0/security-group-rules", params=project).json() == {
        "security_group_rules": []
    }
    assert len(member.get("/network/v2.0/security-groups").json()["security_groups"]) == 1


def test_a_subnet_takes_only_a_segment_of_its_network(cloud: RunningCloud) -> None:
    admin, missing = cloud.admin(), str(uuid.uuid4())
    nets = [
        admin.post("/network/v2.0/networks", json={"network": {"name": a_name()}}).json()["network"]["id"]
        for _ in range(2)
    ]
    segments = [
        admin.get("/network/v2.0/segments", params={"network_id": net}).json()["segments"][0]["id"]
        for net in nets
    ]
    new = {"network_id": nets[0], "ip_version": 4, "cidr": "10.31.0.0/24"}
    assert (
        admin.post("/network/v2.0/subnets", json={"subnet": {**new, "segment_id": missing}}).status_code
        == 404
    )
    subnet = admin.post("/network/v2.0/subnets", json={"subnet": new}).json()["subnet"]["id"]
    for segment, status in ((missing, 404), (segments[1], 400), (segments[0], 200), (segments[0], 200)):
        answer = admin.put(f"/network/v2.0/subnets/{subnet}", json={"subnet": {"segment_id": segment}})
        assert answer.status_code == status, answer.text


def test_a_port_of_a_trunk_is_not_taken_away_with_its_agent(cloud: RunningCloud) -> None:
    admin = cloud.admin()
    net = admin.post("/network/v2.0/networks", json={"network": {"name": a_name()}}).json()["network"]["id"]
    subnet = {"network_id": net, "ip_version": 4, "cidr": "10.32.0.0/24"}
    assert admin.post("/network/v2.0/subnets", json={"subnet": subnet}).status_code == 201
    port = admin.post("/network/v2.0/ports", json={"port": {"network_id": net}}).json()["port"]["id"]
    assert admin.post("/network/v2.0/trunks", json={"trunk": {"port_id": port}}).status_code == 201
    agents = admin.get(f"/network/v2.0/networks/{net}/dhcp-agents").json()["agents"]
    # An administrator may give a port any owner, DHCP's too.
    taken = {"device_owner": "network:dhcp", "binding:host_id": agents[0]["host"]}
    assert admin.put(f"/network/v2.0/ports/{port}", json={"port": taken}).status_code == 200
    answer = admin.delete(f"/network/v2.0/agents/{agents[0]['id']}/dhcp-networks/{net}")
    assert answer.status_code == 409
    assert answer.json()["NeutronError"]["type"] == "PortInUseAsTrunkParent"


def test_only_ones_own_subnets_are_onboarded(cloud: RunningCloud, network: Any) -> None:
    member, foreign = cloud.member(), cloud.client(cloud.new_project())
    made, subnet = a_network(network, "10.33.0.0/24")
    body = {"subnetpool": {"name": a_name(), "prefixes": ["10.33.0.0/16"]}}
    for client, status in ((foreign, 404), (member, 200)):
        pool = client.post("/network/v2.0/subnetpools", json=body).json()["subnetpool"]["id"]
        act = f"/network/v2.0/subnetpools/{pool}/onboard_network_subnets"
        assert client.put(act, json={"network_id": {"a": 1}}).status_code == 400
        assert client.put(act, json={"network_id": made.id}).status_code == status
    network.delete_subnet(subnet)
    network.delete_network(made)
