"""The feed: what reaches which host, and that following changes ends where reading everything ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lib.network import NetworkCloud
from virga.contract import items
from virga.desired.feed import Feed
from virga.desired.network_source import NetworkSource


def a_feed() -> Feed:
    return Feed([NetworkSource("openstacklocal", 86400)])


@pytest.fixture
def cloud() -> Iterator[NetworkCloud]:
    made = NetworkCloud()
    made.host("host1")
    made.host("host2", "network")
    yield made
    made.close()


@pytest.fixture
def feed(cloud: NetworkCloud) -> Feed:
    made = a_feed()
    cloud.database.read(made.start)
    return made


def refresh(cloud: NetworkCloud, feed: Feed) -> set[str]:
    return cloud.database.read(feed.refresh)


def held(feed: Feed, host: str, kind: type[items.Item]) -> dict[str, Any]:
    return {i.key: i for i in feed.hosts[host].items.values() if isinstance(i, kind)}


def assert_same_as_rebuilt(cloud: NetworkCloud, feed: Feed) -> None:
    other = a_feed()
    cloud.database.read(other.start)
    mine = {host: h.items for host, h in feed.hosts.items() if h.items}
    assert mine == {host: h.items for host, h in other.hosts.items() if h.items}


def a_network(cloud: NetworkCloud) -> str:
    network = cloud.post("alice", "/networks", {"network": {}})
    body = {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/24"}
    cloud.post("alice", "/subnets", {"subnet": body})
    return str(network["id"])


def a_port(cloud: NetworkCloud, network_id: str, host: str) -> dict[str, Any]:
    body = {
        "network_id": network_id,
        "device_owner": "compute:nova",
        "device_id": "x",
        "binding:host_id": host,
    }
    return dict(cloud.post("admin", "/ports", {"port": {**body, "project_id": "p-alice"}}))


def test_a_bound_port_brings_its_network_and_group_to_the_host(cloud: NetworkCloud, feed: Feed) -> None:
    network_id = a_network(cloud)
    port = a_port(cloud, network_id, "host2")
    assert refresh(cloud, feed) == {"host1", "host2"}
    assert list(held(feed, "host2", items.Network)) == [network_id]
    (made,) = held(feed, "host2", items.Port).values()
    assert made.device_name == "tap" + port["id"][:11]
    assert made.fixed_ips[0].prefixlen == 24
    (group_id,) = port["security_groups"]
    assert list(held(feed, "host2", items.SecurityGroup)) == [group_id]
    assert list(held(feed, "host2", items.GroupMember)) == [f"{group_id}/{port['id']}"]
    assert held(feed, "host1", items.DhcpHost)[port["id"]].hostname == "host-10-0-0-3"
    assert held(feed, "host2", items.DhcpNetwork) == {}
    assert_same_as_rebuilt(cloud, feed)


def test_a_member_elsewhere_is_news_where_the_group_is_named(cloud: NetworkCloud, feed: Feed) -> None:
    network_id = a_network(cloud)
    first = a_port(cloud, network_id, "host2")
    refresh(cloud, feed)
    before = feed.revision
    second = a_port(cloud, network_id, "host1")
    refresh(cloud, feed)
    state = feed.since("host2", feed.epoch, before)
    assert state is not None
    assert [i.key for i in state.items] == [f"{first['security_groups'][0]}/{second['id']}"]
    assert_same_as_rebuilt(cloud, feed)


def test_what_goes_is_said_to_go(cloud: NetworkCloud, feed: Feed) -> None:
    network_id = a_network(cloud)
    port = a_port(cloud, network_id, "host2")
    refresh(cloud, feed)
    before = feed.revision
    cloud.delete("admin", f"/ports/{port['id']}")
    refresh(cloud, feed)
    state = feed.since("host2", feed.epoch, before)
    assert state is not None and not state.items
    assert {kind for kind, _ in state.removed} == {"port", "network", "security_group", "group_member"}
    assert_same_as_rebuilt(cloud, feed)


def test_an_agent_of_another_epoch_gets_everything(cloud: NetworkCloud, feed: Feed) -> None:
    a_port(cloud, a_network(cloud), "host2")
    refresh(cloud, feed)
    state = feed.since("host2", "another", 3)
    assert state is not None and state.full
    assert len(state.items) == 4
    assert feed.since("host2", feed.epoch, feed.revision) is None


class Walk:
    """A random life of a small cloud."""

    def __init__(self, cloud: NetworkCloud) -> None:
        self.cloud = cloud
        self.network = a_network(cloud)
        self.group = cloud.post("alice", "/security-groups", {"security_group": {"name": "g"}})["id"]
        self.ports: list[str] = []

    def step(self, kind: int, which: int) -> None:
        acts = (self.add, self.add, self.remove, self.move, self.regroup, self.rule, self.rename, self.dhcp)
        acts[kind % len(acts)](which)

    def add(self, which: int) -> None:
        self.ports.append(a_port(self.cloud, self.network, f"host{which % 2 + 1}")["id"])

    def remove(self, which: int) -> None:
        if self.ports:
            self.cloud.delete("admin", f"/ports/{self.ports.pop(which % len(self.ports))}")

    def _put(self, which: int, body: dict[str, Any]) -> None:
        if self.ports:
            self.cloud.put("admin", f"/ports/{self.ports[which % len(self.ports)]}", {"port": body})

    def move(self, which: int) -> None:
        self._put(which, {"binding:host_id": ("host1", "host2", "")[which % 3]})

    def regroup(self, which: int) -> None:
        self._put(which, {"security_groups": [self.group] if which % 2 else []})

    def rename(self, which: int) -> None:
        self._put(which, {"dns_name": f"vm{which}"})

    def rule(self, which: int) -> None:
        body = {"security_group_id": self.group, "direction": "ingress", "protocol": "tcp"}
        body |= {"port_range_min": which + 1, "port_range_max": which + 1, "remote_group_id": self.group}
        self.cloud.request("alice", "POST", "/security-group-rules", {"security_group_rule": body})

    def dhcp(self, which: int) -> None:
        (subnet,) = self.cloud.get("alice", "/subnets")
        self.cloud.put("alice", f"/subnets/{subnet['id']}", {"subnet": {"enable_dhcp": bool(which % 2)}})


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9), st.booleans()), max_size=14))
def test_following_changes_ends_where_reading_everything_ends(steps: list[tuple[int, int, bool]]) -> None:
    cloud = NetworkCloud()
    cloud.host("host1")
    cloud.host("host2", "network")
    try:
        feed = a_feed()
        cloud.database.read(feed.start)
        walk = Walk(cloud)
        for kind, which, look in steps:
            walk.step(kind, which)
            if look:
                refresh(cloud, feed)
        refresh(cloud, feed)
        assert_same_as_rebuilt(cloud, feed)
    finally:
        cloud.close()
