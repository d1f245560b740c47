"""Managers of DHCP networks, routers, floating IPs and metadata over drivers in memory: the state decides, not the road."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from virga.agent.drivers.fake.layer2 import FakeLinks, FakeNamespaces
from virga.agent.drivers.fake.layer3 import (
    FakeAddresses,
    FakeConfigured,
    FakeConnections,
    FakeDnsmasq,
    FakeRules,
)
from virga.agent.loop import Loop
from virga.agent.managers.dhcp import DhcpDrivers, DhcpManager
from virga.agent.managers.floating_ip import FloatingIpManager
from virga.agent.managers.metadata import MetadataManager
from virga.agent.managers.router import RouterDrivers, RouterManager
from virga.contract.items import (
    AnyItem,
    DhcpHost,
    DhcpNetwork,
    DhcpSubnet,
    FixedIp,
    FloatingIp,
    PortForwarding,
    Router,
    RouterPort,
    RouterSubnet,
)
from virga.contract.messages import Report, Reports, State


class Rig:
    """A loop with all of layer 3 in memory."""

    def __init__(self) -> None:
        self.namespaces, self.links = FakeNamespaces(), FakeLinks()
        self.addresses, self.rules = FakeAddresses(), FakeRules()
        self.dnsmasq, self.connections = FakeDnsmasq(), FakeConnections()
        self.radvd, self.haproxy = FakeConfigured("radvd"), FakeConfigured("haproxy")
        routers = RouterManager(
            RouterDrivers(
                self.namespaces, self.links, self.addresses, self.rules, self.radvd, self.connections
            )
        )
        self.drivers = [
            self.namespaces,
            self.links,
            self.addresses,
            self.rules,
            self.dnsmasq,
            self.radvd,
            self.haproxy,
            self.connections,
        ]
        self.sent: list[Report] = []
        self.loop = Loop(
            [
                DhcpManager(DhcpDrivers(self.namespaces, self.links, self.addresses, self.dnsmasq)),
                routers,
                FloatingIpManager(routers),
                MetadataManager(self.haproxy, "/metadata"),
            ],
            self.drivers,
            self._send,
            clock=lambda: 0.0,
        )
        self.revision = 0

    def _send(self, reports: Reports) -> None:
        self.sent += reports.reports

    def be(self, *items: AnyItem) -> dict[str, Any]:
        """Make exactly these items so, and say what the world looks like then."""
        self.revision += 1
        self.loop.offer(State(epoch="e", revision=self.revision, full=True, items=list(items)))
        self.loop.step()
        return self.world()

    def world(self) -> dict[str, Any]:
        return {driver.name: dict(driver.world) for driver in self.drivers}

    def status(self, kind: str, key: str) -> str:
        found = [r for r in self.sent if (r.kind, r.key) == (kind, key)]
        return found[-1].status if found else ""

    def reason(self, kind: str, key: str) -> str:
        return [r for r in self.sent if (r.kind, r.key) == (kind, key)][-1].reason


def port(name: str, address: str, cidr: str, gateway: str | None = None) -> RouterPort:
    return RouterPort(
        port_id=name,
        network_id=f"net-{name}",
        mac_address="fa:16:3e:00:00:01",
        device_name=name,
        fixed_ips=[FixedIp(subnet_id=f"s-{name}", ip_address=address, prefixlen=int(cidr.split("/")[1]))],
        subnets=[RouterSubnet(subnet_id=f"s-{name}", cidr=cidr, gateway_ip=gateway)],
    )


INNER = port("qr-1", "10.0.0.1", "10.0.0.0/24", "10.0.0.1")
OUTER = port("qg-1", "172.24.4.10", "172.24.4.0/24", "172.24.4.1")
ROUTER = Router(key="r1", gateway=OUTER, interfaces=[INNER])
PLAIN_ROUTER = Router(key="r1", interfaces=[INNER])
DOWN_ROUTER = Router(key="r1", admin_state_up=False, gateway=OUTER, interfaces=[INNER])
OTHER_ROUTER = Router(key="r2", gateway=port("qg-2", "172.24.4.11", "172.24.4.0/24", "172.24.4.1"))


def floating(fixed: str = "10.0.0.5", router: str = "r1") -> FloatingIp:
    return FloatingIp(
        key="f1",
        router_id=router,
        floating_ip_address="172.24.4.20",
        fixed_ip_address=fixed,
        port_id="p",
    )


FORWARDING = PortForwarding(
    key="pf1",
    router_id="r1",
    floatingip_id="f2",
    floating_ip_address="172.24.4.21",
    protocol="tcp",
    external_port="2222",
    internal_ip_address="10.0.0.5",
    internal_port="22",
)
NETWORK = DhcpNetwork(
    key="n1",
    port_id="d1",
    mac_address="fa:16:3e:00:00:02",
    device_name="tap1",
    fixed_ips=[FixedIp(subnet_id="s1", ip_address="10.0.0.2", prefixlen=24)],
    subnets=[
        DhcpSubnet(subnet_id="s1", cidr="10.0.0.0/24", ip_version=4, enable_dhcp=True, gateway_ip="10.0.0.1")
    ],
    mtu=1450,
)
ISOLATED = DhcpNetwork(
    key="n1",
    port_id="d1",
    mac_address="fa:16:3e:00:00:02",
    device_name="tap1",
    fixed_ips=[FixedIp(subnet_id="s1", ip_address="10.0.0.2", prefixlen=24)],
    subnets=[
        DhcpSubnet(subnet_id="s1", cidr="10.0.0.0/24", ip_version=4, enable_dhcp=True, metadata_route=True)
    ],
    mtu=1450,
)
HOST = DhcpHost(
    key="p5",
    network_id="n1",
    mac_address="fa:16:3e:00:00:05",
    hostname="web",
    fixed_ips=[FixedIp(subnet_id="s1", ip_address="10.0.0.5", prefixlen=24)],
)

STATES: dict[str, tuple[AnyItem, ...]] = {
    "nothing": (),
    "router": (ROUTER,),
    "router without gateway": (PLAIN_ROUTER, floating()),
    "floating": (ROUTER, floating()),
    "floating elsewhere": (ROUTER, OTHER_ROUTER, floating(router="r2")),
    "floating moved": (ROUTER, floating("10.0.0.6"), FORWARDING),
    "router down": (DOWN_ROUTER, floating()),
    "dhcp": (NETWORK, HOST),
    "isolated": (ISOLATED, HOST),
    "all": (ROUTER, floating(), FORWARDING, NETWORK, HOST),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(STATES, 2)))
def test_the_state_decides_not_the_road(before: str, after: str) -> None:
    travelled, direct = Rig(), Rig()
    travelled.be(*STATES[before])
    assert travelled.be(*STATES[after]) == direct.be(*STATES[after])


def test_order_of_items_does_not_matter() -> None:
    assert Rig().be(*STATES["all"]) == Rig().be(*reversed(STATES["all"]))


def test_twice_is_no_work() -> None:
    rig = Rig()
    rig.be(*STATES["all"])
    before = [driver.writes for driver in rig.drivers]
    rig.be(*STATES["all"])
    assert [driver.writes for driver in rig.drivers] == before


def test_a_router_as_the_guides_show_it() -> None:
    world = Rig().be(ROUTER, floating())
    assert set(world["namespaces"]) == {"qrouter-r1"}
    assert set(world["links"]) == {"qr-1", "qg-1"}
    assert world["links"]["qr-1"].peer == "qr-1"
    assert world["links"]["qr-1"].peer_namespace == "qrouter-r1"
    addressing = world["addresses"]["qrouter-r1"]
    devices = {device.name: device.addresses for device in addressing.devices}
    assert devices == {"qr-1": {"10.0.0.1/24"}, "qg-1": {"172.24.4.10/24", "172.24.4.20/32"}}
    assert {(r.destination, r.nexthops) for r in addressing.routes} == {("0.0.0.0/0", ("172.24.4.1",))}
    assert ("net/ipv4/ip_forward", "1") in addressing.sysctls


def test_a_network_as_the_guides_show_it() -> None:
    world = Rig().be(NETWORK, HOST)
    assert set(world["namespaces"]) == {"qdhcp-n1"}
    assert world["links"]["tap1"].mtu == 1450
    wish = world["dnsmasq"]["n1"]
    assert wish.files.host == "fa:16:3e:00:00:05,web.openstacklocal,10.0.0.5\n"
    assert "n1" not in world["haproxy"]


def test_an_isolated_network_answers_for_metadata() -> None:
    world = Rig().be(ISOLATED)
    assert "169.254.169.254/32" in world["addresses"]["qdhcp-n1"].devices[0].addresses
    assert "X-Neutron-Network-ID n1" in world["haproxy"]["n1"].text


def test_a_change_of_one_floating_ip_leaves_other_routers_alone() -> None:
    rig = Rig()
    rig.be(ROUTER, OTHER_ROUTER)
    before = rig.rules.writes
    rig.be(ROUTER, OTHER_ROUTER, floating())
    assert rig.rules.writes == before + 1


def test_a_floating_ip_is_active_when_its_rules_are_in() -> None:
    rig = Rig()
    rig.rules.failing["qrouter-r1"] = "iptables-restore: no"
    rig.be(ROUTER, floating(), FORWARDING)
    assert rig.status("floating_ip", "f1") == "ERROR"
    assert "iptables-restore: no" in rig.reason("floating_ip", "f1")
    rig.rules.failing.clear()
    rig.loop.wake()
    rig.loop.step()
    assert rig.status("floating_ip", "f1") == "ACTIVE"
    assert rig.status("port_forwarding", "pf1") == "ACTIVE"
    assert rig.status("router", "r1") == "ACTIVE"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ((PLAIN_ROUTER, floating()), "no gateway"),
        ((floating(),), "not on this host"),
        ((DOWN_ROUTER, floating()), "administratively down"),
    ],
)
def test_a_floating_ip_that_cannot_work_says_why(state: tuple[AnyItem, ...], reason: str) -> None:
    rig = Rig()
    rig.be(*state)
    assert rig.status("floating_ip", "f1") == "DOWN"
    assert reason in rig.reason("floating_ip", "f1")


def test_one_failure_does_not_stop_the_others() -> None:
    rig = Rig()
    rig.dnsmasq.failing["n1"] = "no dnsmasq"
    rig.be(*STATES["all"])
    assert rig.status("dhcp_network", "n1") == "ERROR"
    assert rig.status("router", "r1") == "ACTIVE"


def test_a_router_that_is_down_has_nothing_on_its_devices() -> None:
    world = Rig().be(*STATES["router down"])
    addressing = world["addresses"]["qrouter-r1"]
    assert [(d.up, d.addresses) for d in addressing.devices] == [(False, frozenset()), (False, frozenset())]
    assert addressing.routes == frozenset()
    assert world["haproxy"] == {}
    rig = Rig()
    rig.be(*STATES["router down"])
    assert rig.status("router", "r1") == "DOWN"


def test_a_floating_ip_outside_its_gateway_network_is_on_the_gateway_that_reaches_it() -> None:
    second = port("qg-3", "192.0.2.10", "192.0.2.0/24", "192.0.2.1")
    router = Router(key="r1", gateway=second, extra_gateways=[OUTER], interfaces=[INNER])
    addressing = Rig().be(router, floating())["addresses"]["qrouter-r1"]
    devices = {device.name: device.addresses for device in addressing.devices}
    assert "172.24.4.20/32" in devices["qg-1"]
    assert {r.nexthops for r in addressing.routes} == {("192.0.2.1",)}
