"""Networks, subnets and ports through the edge of the Network service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lib.network import NetworkCloud


@pytest.fixture
def cloud() -> Iterator[NetworkCloud]:
    made = NetworkCloud()
    made.host()
    yield made
    made.close()


def a_network(cloud: NetworkCloud, cidr: str = "10.0.0.0/24") -> tuple[str, str]:
    network = cloud.post("alice", "/networks", {"network": {"name": "n1"}})
    body = {"network_id": network["id"], "ip_version": 4, "cidr": cidr}
    return network["id"], cloud.post("alice", "/subnets", {"subnet": body})["id"]


def test_a_subnet_with_dhcp_gets_its_port_on_a_host(cloud: NetworkCloud) -> None:
    network_id, subnet_id = a_network(cloud)
    (port,) = cloud.get("admin", f"/ports?network_id={network_id}")
    assert port["device_owner"] == "network:dhcp"
    assert port["binding:host_id"] == "host1"
    assert port["binding:vif_type"] == "ovs"
    assert port["fixed_ips"] == [{"subnet_id": subnet_id, "ip_address": "10.0.0.2"}]
    cloud.delete("alice", f"/subnets/{subnet_id}")
    assert cloud.get("admin", "/ports") == []


def test_ports_get_addresses_one_after_another_and_those_given_back(cloud: NetworkCloud) -> None:
    network_id, _ = a_network(cloud, "10.0.0.0/29")
    ports = [cloud.post("alice", "/ports", {"port": {"network_id": network_id}}) for _ in range(4)]
    assert [p["fixed_ips"][0]["ip_address"] for p in ports] == [
        "10.0.0.3",
        "10.0.0.4",
        "10.0.0.5",
        "10.0.0.6",
    ]
    refused = cloud.request("alice", "POST", "/ports", {"port": {"network_id": network_id}})
    assert (refused.status, refused.body["NeutronError"]["type"]) == (409, "IpAddressGenerationFailure")
    cloud.delete("alice", f"/ports/{ports[1]['id']}")
    again = cloud.post("alice", "/ports", {"port": {"network_id": network_id}})
    assert again["fixed_ips"][0]["ip_address"] == "10.0.0.4"


def test_other_projects_see_nothing(cloud: NetworkCloud) -> None:
    network_id, subnet_id = a_network(cloud)
    for path in (f"/networks/{network_id}", f"/subnets/{subnet_id}"):
        assert cloud.request("bob", "GET", path).status == 404
        assert cloud.request("bob", "DELETE", path).status == 404
    assert cloud.get("bob", "/networks") == []
    assert cloud.get("bob", "/ports") == []


def test_a_member_may_not_share(cloud: NetworkCloud) -> None:
    answer = cloud.request("alice", "POST", "/networks", {"network": {"shared": True}})
    assert answer.status == 403
    assert answer.body["NeutronError"] == {
        "type": "PolicyNotAuthorized",
        "message": "(rule:create_network and rule:create_network:shared) is disallowed by policy",
        "detail": "",
    }


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            {"admin_state_up": "maybe"},
            "Invalid input for admin_state_up. Reason: 'maybe' cannot be converted to boolean.",
        ),
        ({"name": 5}, "Invalid input for name. Reason: '5' is not a valid string."),
        ({"colour": 1}, "Unrecognized attribute(s) 'colour'"),
        ({"id": "x"}, "Attribute 'id' not allowed in POST"),
    ],
)
def test_a_wrong_network_is_refused_in_one_sentence(cloud: NetworkCloud, body: object, sentence: str) -> None:
    answer = cloud.request("alice", "POST", "/networks", {"network": body})
    assert answer.status == 400
    assert answer.body["NeutronError"]["message"] == sentence
    assert cloud.get("alice", "/networks") == []


def test_pages_follow_one_another(cloud: NetworkCloud) -> None:
    bodies = [{"name": f"n{i}"} for i in range(5)]
    cloud.post("alice", "/networks", {"networks": bodies})
    seen: list[str] = []
    path = "/networks?limit=2&sort_key=name&sort_dir=desc"
    while path:
        page = cloud.request("alice", "GET", path).body
        seen += [n["name"] for n in page["networks"]]
        following = [link["href"] for link in page.get("networks_links", []) if link["rel"] == "next"]
        path = following[0].partition("/v2.0")[2] if following else ""
    assert seen == ["n4", "n3", "n2", "n1", "n0"]


def test_if_match_guards_a_revision(cloud: NetworkCloud) -> None:
    network_id, _ = a_network(cloud)
    revision = cloud.get("alice", f"/networks/{network_id}")["revision_number"]
    body = {"network": {"name": "new"}}
    path = f"/networks/{network_id}"
    stale = cloud.request("alice", "PUT", path, body, {"if-match": f"revision_number={revision - 1}"})
    assert stale.status == 412
    good = cloud.request("alice", "PUT", path, body, {"if-match": f"revision_number={revision}"})
    assert (good.status, good.body["network"]["revision_number"]) == (200, revision + 1)


def test_segmentation_ids_are_unique_and_end(cloud: NetworkCloud) -> None:
    seen = {n["provider:segmentation_id"] for n in (a_network(cloud) and cloud.get("admin", "/networks"))}
    other = cloud.post("bob", "/networks", {"network": {}})
    found = cloud.get("admin", f"/networks/{other['id']}")
    assert found["provider:network_type"] == "vlan"
    assert found["provider:segmentation_id"] not in seen
    taken = {
        "provider:network_type": "vlan",
        "provider:physical_network": "physnet1",
        "provider:segmentation_id": found["provider:segmentation_id"],
    }
    refused = cloud.request("admin", "POST", "/networks", {"network": taken})
    assert (refused.status, refused.body["NeutronError"]["type"]) == (409, "VlanIdInUse")


def test_ports_that_no_agent_reached_are_bound_when_it_does(cloud: NetworkCloud) -> None:
    network_id, _ = a_network(cloud)
    body = {"network_id": network_id, "binding:host_id": "host9", "device_owner": "compute:nova"}
    port = cloud.post("admin", "/ports", {"port": body})
    assert port["binding:vif_type"] == "binding_failed"
    cloud.host("host9", "network")
    assert cloud.get("admin", f"/ports/{port['id']}")["binding:vif_type"] == "ovs"


def test_numbers_that_no_column_holds_are_refused(cloud: NetworkCloud) -> None:
    for name in ("mtu", "provider:segmentation_id"):
        answer = cloud.request("admin", "POST", "/networks", {"network": {name: 10**18}})
        assert answer.status == 400
