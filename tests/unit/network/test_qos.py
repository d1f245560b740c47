"""QoS policies through the edge: who may, what contradicts what, and what hosts learn of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lib.network import NetworkCloud
from virga.contract.items import Port, PortQos
from virga.desired.feed import Feed
from virga.desired.network_source import NetworkSource


@pytest.fixture
def cloud() -> Iterator[NetworkCloud]:
    made = NetworkCloud()
    made.host()
    yield made
    made.close()


def a_policy(cloud: NetworkCloud, **more: Any) -> str:
    return str(cloud.post("admin", "/qos/policies", {"policy": {"name": "p", **more}})["id"])


def a_rule(cloud: NetworkCloud, policy: str, kind: str, **said: Any) -> Any:
    return cloud.post("admin", f"/qos/policies/{policy}/{kind}_rules", {f"{kind}_rule": said})


def refused(cloud: NetworkCloud, who: str, method: str, path: str, body: Any = None) -> tuple[int, str]:
    answer = cloud.request(who, method, path, body)
    return answer.status, answer.body["NeutronError"]["type"]


def test_a_policy_shows_its_rules(cloud: NetworkCloud) -> None:
    policy = a_policy(cloud)
    rule = a_rule(cloud, policy, "bandwidth_limit", max_kbps=1000)
    assert rule == {"id": rule["id"], "max_kbps": 1000, "max_burst_kbps": 0, "direction": "egress"}
    shown = cloud.get("admin", f"/qos/policies/{policy}")
    assert shown["rules"] == [{**rule, "qos_policy_id": policy, "type": "bandwidth_limit"}]
    assert shown["shared"] is False
    alias = f"/qos/alias_bandwidth_limit_rules/{rule['id']}"
    changed = cloud.put("admin", alias, {"alias_bandwidth_limit_rule": {"max_kbps": 2000}})
    assert changed["max_kbps"] == 2000
    cloud.delete("admin", alias)
    assert cloud.get("admin", f"/qos/policies/{policy}/bandwidth_limit_rules") == []


def test_rules_that_contradict_each_other_are_refused(cloud: NetworkCloud) -> None:
    policy = a_policy(cloud)
    path = f"/qos/policies/{policy}"
    a_rule(cloud, policy, "bandwidth_limit", max_kbps=1000)
    a_rule(cloud, policy, "bandwidth_limit", max_kbps=1000, direction="ingress")
    same = {"bandwidth_limit_rule": {"max_kbps": 5}}
    assert refused(cloud, "admin", "POST", f"{path}/bandwidth_limit_rules", same) == (409, "QoSRulesConflict")
    least = {"minimum_bandwidth_rule": {"min_kbps": 2000}}
    answer = refused(cloud, "admin", "POST", f"{path}/minimum_bandwidth_rules", least)
    assert answer == (409, "QoSRuleParameterConflict")
    packets = a_rule(cloud, policy, "minimum_packet_rate", min_kpps=5)
    a_rule(cloud, policy, "minimum_packet_rate", min_kpps=5, direction="ingress")
    widened = {"minimum_packet_rate_rule": {"direction": "any"}}
    one = f"{path}/minimum_packet_rate_rules/{packets['id']}"
    assert refused(cloud, "admin", "PUT", one, widened) == (409, "QoSRulesConflict")
    mark = {"dscp_marking_rule": {"dscp_mark": 58}}
    assert cloud.request("admin", "POST", f"{path}/dscp_marking_rules", mark).status == 400
    missing = f"{path}/dscp_marking_rules/{packets['id']}"
    assert refused(cloud, "admin", "GET", missing) == (404, "QosRuleNotFound")
    nowhere = "/qos/policies/nowhere/dscp_marking_rules"
    assert refused(cloud, "admin", "POST", nowhere, {"dscp_marking_rule": {"dscp_mark": 8}})[0] == 404


def test_members_use_what_is_shared_and_change_nothing(cloud: NetworkCloud) -> None:
    policy = a_policy(cloud)
    path = f"/qos/policies/{policy}"
    body = {"network": {"qos_policy_id": policy}}
    assert refused(cloud, "alice", "POST", "/networks", body) == (404, "QosPolicyNotFound")
    cloud.put("admin", path, {"policy": {"shared": True}})
    network = cloud.post("alice", "/networks", body)
    assert network["qos_policy_id"] == policy
    assert cloud.request("alice", "PUT", path, {"policy": {"name": "mine"}}).status == 403
    assert refused(cloud, "admin", "PUT", path, {"policy": {"shared": False}}) == (409, "RbacPolicyInUse")
    assert refused(cloud, "admin", "DELETE", path) == (409, "QosPolicyInUse")
    cloud.delete("alice", f"/networks/{network['id']}")
    cloud.put("admin", path, {"policy": {"shared": False}})
    cloud.delete("admin", path)


def test_what_an_administrator_put_on_stays_on(cloud: NetworkCloud) -> None:
    policy = a_policy(cloud)
    network = cloud.post("alice", "/networks", {"network": {}})
    path = f"/networks/{network['id']}"
    cloud.put("admin", path, {"network": {"qos_policy_id": policy}})
    off = {"network": {"qos_policy_id": None}}
    assert refused(cloud, "alice", "PUT", path, off) == (403, "PolicyRemoveAuthorizationError")
    cloud.put("admin", f"/qos/policies/{policy}", {"policy": {"shared": True}})
    assert cloud.put("alice", path, off)["qos_policy_id"] is None


def test_a_project_has_one_default_and_new_networks_get_it(cloud: NetworkCloud) -> None:
    policy = a_policy(cloud, project_id="p-alice", is_default=True)
    second = {"policy": {"project_id": "p-alice", "is_default": True}}
    assert refused(cloud, "admin", "POST", "/qos/policies", second) == (409, "QoSPolicyDefaultAlreadyExists")
    assert cloud.post("alice", "/networks", {"network": {}})["qos_policy_id"] == policy
    assert cloud.post("bob", "/networks", {"network": {}})["qos_policy_id"] is None


def test_what_hosts_cannot_do_is_not_promised(cloud: NetworkCloud) -> None:
    kinds = [each["type"] for each in cloud.get("alice", "/qos/rule-types")]
    assert kinds == ["bandwidth_limit", "packet_rate_limit", "dscp_marking"]
    assert cloud.request("alice", "GET", "/qos/rule-types/dscp_marking").status == 403
    (driver,) = cloud.get("admin", "/qos/rule-types/dscp_marking")["drivers"]
    assert driver["supported_parameters"][0]["parameter_name"] == "dscp_mark"
    policy = a_policy(cloud)
    network = cloud.post("admin", "/networks", {"network": {}})
    rule = a_rule(cloud, policy, "minimum_bandwidth", min_kbps=100)
    body = {"port": {"network_id": network["id"], "qos_policy_id": policy}}
    assert refused(cloud, "admin", "POST", "/ports", body) == (409, "QosRuleNotSupported")
    cloud.delete("admin", f"/qos/policies/{policy}/minimum_bandwidth_rules/{rule['id']}")
    cloud.post("admin", "/ports", body)
    late = f"/qos/policies/{policy}/packet_rate_limit_rules"
    rate = {"packet_rate_limit_rule": {"max_kpps": 1, "direction": "ingress"}}
    assert refused(cloud, "admin", "POST", late, rate) == (409, "QosRuleNotSupported")
    assert cloud.get("admin", late) == []


def test_hosts_learn_of_policies_of_ports_and_networks(cloud: NetworkCloud) -> None:
    feed = Feed([NetworkSource("openstacklocal", 86400)])
    cloud.database.read(feed.start)

    def limits() -> dict[str, PortQos | None]:
        cloud.database.read(feed.refresh)
        found = feed.hosts["host1"].items.values()
        return {i.key: i.qos for i in found if isinstance(i, Port) and i.device_owner == "compute:nova"}

    policy, own = a_policy(cloud), a_policy(cloud)
    network = cloud.post("admin", "/networks", {"network": {"qos_policy_id": policy}})
    cloud.post(
        "admin", "/subnets", {"subnet": {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/24"}}
    )
    body = {"network_id": network["id"], "binding:host_id": "host1", "device_owner": "compute:nova"}
    port = cloud.post("admin", "/ports", {"port": body})
    assert port["qos_network_policy_id"] == policy
    key = port["id"]
    assert limits() == {key: None}
    rule = a_rule(cloud, policy, "bandwidth_limit", max_kbps=1000, direction="ingress")
    assert limits() == {key: PortQos(ingress_kbps=1000)}
    a_rule(cloud, own, "dscp_marking", dscp_mark=0)
    cloud.put("admin", f"/ports/{key}", {"port": {"qos_policy_id": own}})
    assert limits() == {key: PortQos(dscp_mark=0)}
    cloud.put("admin", f"/ports/{key}", {"port": {"qos_policy_id": None}})
    one = f"/qos/policies/{policy}/bandwidth_limit_rules/{rule['id']}"
    cloud.put("admin", one, {"bandwidth_limit_rule": {"max_kbps": 2000}})
    assert limits() == {key: PortQos(ingress_kbps=2000)}
    cloud.put("admin", f"/networks/{network['id']}", {"network": {"qos_policy_id": None}})
    assert limits() == {key: None}
