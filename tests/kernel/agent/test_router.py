"""A router namespace as the drivers make it: who reaches whom over TCP, and how it is seen."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest
from msgspec.structs import replace as structs_replace

from tests.lib.netns import Net, net
from virga.agent.drivers.addresses import AddressDriver
from virga.agent.drivers.conntrack import ConntrackDriver
from virga.agent.drivers.iptables import IptablesDriver
from virga.agent.managers import router_view
from virga.agent.managers.router_view import RouterView
from virga.agent.render import router_rules
from virga.contract.items import (
    FixedIp,
    FloatingIp,
    HostRoute,
    MeterRule,
    PortForwarding,
    Router,
    RouterMeter,
    RouterPort,
    RouterSubnet,
)
from virga.lib.run import CommandError, Completed, run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

GATEWAY = "172.24.4.10"
FLOATING = "172.24.4.20"


@dataclass
class CountingRunner:
    """Runs for real; counts what writes, and fails the programs it is told to."""

    failing: str = ""
    writes: list[str] = field(default_factory=list)

    def __call__(
        self, argv: Sequence[str], *, stdin: str | None = None, timeout_s: float = 30.0, check: bool = True
    ) -> Completed:
        line = " ".join(argv)
        if self.failing and self.failing in line:
            raise CommandError(Completed(tuple(argv), 1, "", "told to fail"))
        if "-restore" in line or "-force" in line or " -w " in line or " -D " in line:
            self.writes.append(line)
        return run(argv, stdin=stdin, timeout_s=timeout_s, check=check)


class Site:
    """Two machines behind a router (10.10.10.5 and .6, dual stack), and one outside (172.24.4.1)."""

    def __init__(self, made: Net, kind: str = "nft") -> None:
        self.net = made
        self.runner = CountingRunner()
        self.kind = kind
        self.announced: list[tuple[str, str]] = []
        self.router_id = str(uuid.uuid4())
        self.inside, self.outside = made.add("virga"), made.add("virga")
        self.namespace = f"qrouter-{self.router_id}"
        made.names.append(self.namespace)
        made.ip(self.inside, "link", "set", "lo", "up")
        run(("ip", "netns", "add", self.namespace))
        made.wire((self.namespace, "qr-1"), (self.inside, "eth0"))
        made.wire((self.namespace, "qg-1"), (self.outside, "eth0"))
        for address in ("10.10.10.5/24", "10.10.10.6/24"):
            made.ip(self.inside, "addr", "add", address, "dev", "eth0")
        made.ip(self.inside, "addr", "add", "2001:db8:1::5/64", "dev", "eth0", "nodad")
        made.ip(self.outside, "addr", "add", "172.24.4.1/24", "dev", "eth0")
        made.ip(self.outside, "addr", "add", "2001:db8:2::1/64", "dev", "eth0", "nodad")
        made.ip(self.outside, "route", "add", "2001:db8:1::/64", "via", "2001:db8:2::10")
        made.ip(self.inside, "route", "add", "default", "via", "10.10.10.1")
        made.ip(self.inside, "route", "add", "default", "via", "2001:db8:1::1")
        self.fresh_agent()

    def fresh_agent(self) -> None:
        self.addresses = AddressDriver(lambda _, pairs: self.announced.extend(pairs), self.runner)
        self.rules = IptablesDriver(self.kind, self.runner)
        self.connections = ConntrackDriver(self.runner)
        self.drivers = (self.addresses, self.rules, self.connections)
        for driver in self.drivers:
            driver.resync()

    def apply(self, view: RouterView) -> list[str]:
        self.addresses.want(self.namespace, router_view.addressing(view))
        self.rules.want(self.namespace, router_rules.render(router_view.rules(view)))
        self.connections.want(self.namespace, router_view.mappings(view))
        return [failure.reason for driver in self.drivers for failure in driver.apply()]

    def view(self) -> RouterView:
        inner = RouterPort(
            port_id="1",
            network_id="n1",
            mac_address="",
            device_name="qr-1",
            fixed_ips=[
                FixedIp(subnet_id="s1", ip_address="10.10.10.1", prefixlen=24),
                FixedIp(subnet_id="s2", ip_address="2001:db8:1::1", prefixlen=64),
            ],
            subnets=[
                RouterSubnet(subnet_id="s1", cidr="10.10.10.0/24", gateway_ip="10.10.10.1"),
                RouterSubnet(subnet_id="s2", cidr="2001:db8:1::/64", gateway_ip="2001:db8:1::1"),
            ],
        )
        outer = RouterPort(
            port_id="2",
            network_id="n2",
            mac_address="",
            device_name="qg-1",
            fixed_ips=[
                FixedIp(subnet_id="s3", ip_address=GATEWAY, prefixlen=24),
                FixedIp(subnet_id="s4", ip_address="2001:db8:2::10", prefixlen=64),
            ],
            subnets=[
                RouterSubnet(subnet_id="s3", cidr="172.24.4.0/24", gateway_ip="172.24.4.1"),
                RouterSubnet(subnet_id="s4", cidr="2001:db8:2::/64", gateway_ip="2001:db8:2::1"),
            ],
        )
        return RouterView(Router(key=self.router_id, gateway=outer, interfaces=[inner]))

    def with_floating(self, fixed: str = "10.10.10.5") -> RouterView:
        floating = FloatingIp(
            key="f1",
            router_id=self.router_id,
            floating_ip_address=FLOATING,
            fixed_ip_address=fixed,
            port_id="p",
        )
        return replace(self.view(), floating=(floating,))


@pytest.fixture(params=["nft", "legacy"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with net() as made:
        yield Site(made, request.param)


@pytest.fixture
def nft_site() -> Iterator[Site]:
    with net() as made:
        yield Site(made)


def test_outside_sees_the_gateway_address_then_the_floating_ip(site: Site) -> None:
    assert site.apply(site.view()) == []
    site.net.serve(site.outside, 80)
    site.net.serve(site.inside, 22)
    assert site.net.seen_as(site.inside, "172.24.4.1", 80) == GATEWAY
    assert site.net.seen_as(site.outside, FLOATING, 22) == ""
    assert site.apply(site.with_floating()) == []
    assert ("qg-1", f"{FLOATING}/32") in site.announced
    assert site.net.seen_as(site.outside, FLOATING, 22) == "172.24.4.1"
    assert site.net.seen_as(site.inside, "172.24.4.1", 80) == FLOATING
    # By its own floating IP from inside, as guides try: the router turns it round.
    assert site.net.seen_as(site.inside, FLOATING, 22) in (GATEWAY, FLOATING)


def test_ipv6_is_routed_and_not_translated(nft_site: Site) -> None:
    assert nft_site.apply(nft_site.view()) == []
    nft_site.net.serve(nft_site.outside, 80)
    assert nft_site.net.seen_as(nft_site.inside, "2001:db8:2::1", 80) == "2001:db8:1::5"


def test_without_snat_the_inner_address_leaves(nft_site: Site) -> None:
    view = nft_site.view()
    assert nft_site.apply(view) == []
    assert "SNAT" in nft_site.net.run(
        nft_site.namespace, "iptables", "-t", "nat", "-S", "neutron-l3-agent-snat"
    )
    router = Router(
        key=view.router.key, enable_snat=False, gateway=view.router.gateway, interfaces=view.router.interfaces
    )
    assert nft_site.apply(RouterView(router)) == []
    nft_site.net.ip(nft_site.outside, "route", "add", "10.10.10.0/24", "via", GATEWAY)
    nft_site.net.serve(nft_site.outside, 80)
    assert nft_site.net.seen_as(nft_site.inside, "172.24.4.1", 80) in ("10.10.10.5", "10.10.10.6")


@pytest.mark.parametrize("road", ["removed", "moved", "moved by an agent without memory"])
def test_a_floating_ip_that_leaves_ends_its_connections(nft_site: Site, road: str) -> None:
    site = nft_site
    assert site.apply(site.with_floating("10.10.10.5")) == []
    site.net.serve(site.inside, 22)
    talk = site.net.talk(site.outside, FLOATING, 22)
    assert talk.stdin is not None
    assert talk.stdout is not None
    talk.stdin.write("hello\n")
    talk.stdin.flush()
    assert talk.stdout.readline() == "hello\n"
    if road.endswith("memory"):
        site.fresh_agent()
    assert site.apply(site.view() if road == "removed" else site.with_floating("10.10.10.6")) == []
    talk.stdin.write("still there?\n")
    talk.stdin.flush()
    assert talk.stdout.readline() == "closed\n"
    entries = site.net.run(site.namespace, "conntrack", "-L", "-f", "ipv4", "-g")
    assert "src=10.10.10.5" not in entries


def test_port_forwarding(nft_site: Site) -> None:
    site = nft_site
    one = PortForwarding(
        key="aaaaaaaa-1111",
        router_id=site.router_id,
        floatingip_id="f1",
        floating_ip_address=FLOATING,
        protocol="tcp",
        external_port="2222",
        internal_ip_address="10.10.10.6",
        internal_port="22",
    )
    many = PortForwarding(
        key="bbbbbbbb-1111",
        router_id=site.router_id,
        floatingip_id="f1",
        floating_ip_address=FLOATING,
        protocol="tcp",
        external_port="3000:3002",
        internal_ip_address="10.10.10.6",
        internal_port="4000:4002",
    )
    view = replace(site.view(), forwardings=(one, many))
    assert site.apply(view) == []
    site.net.serve(site.inside, 22)
    site.net.serve(site.inside, 4001)
    assert site.net.seen_as(site.outside, FLOATING, 2222) == "172.24.4.1"
    assert site.net.seen_as(site.outside, FLOATING, 3001) == "172.24.4.1"
    assert site.net.seen_as(site.outside, FLOATING, 22) == ""
    talk = site.net.talk(site.outside, FLOATING, 2222)
    assert site.apply(replace(view, forwardings=(many,))) == []
    assert talk.stdin is not None
    assert talk.stdout is not None
    talk.stdin.write("still there?\n")
    talk.stdin.flush()
    assert talk.stdout.readline() == "closed\n"


def test_forwarding_only_inside(nft_site: Site) -> None:
    before = run(("sysctl", "-n", "net.ipv4.ip_forward")).stdout
    assert nft_site.apply(nft_site.view()) == []
    inside = nft_site.net.run(nft_site.namespace, "sysctl", "-n", "net.ipv4.ip_forward")
    assert inside.strip() == "1"
    assert run(("sysctl", "-n", "net.ipv4.ip_forward")).stdout == before


def test_twice_and_forgotten_and_again_writes_nothing(site: Site) -> None:
    assert site.apply(site.with_floating()) == []
    site.runner.writes.clear()
    assert site.apply(site.with_floating()) == []
    site.fresh_agent()
    assert site.apply(site.with_floating()) == []
    assert [w for w in site.runner.writes if "conntrack" not in w] == []
    assert [d for driver in site.drivers for d in driver.check()] == []


def test_drift_is_repaired_and_what_the_user_added_stays(site: Site) -> None:
    assert site.apply(site.with_floating()) == []
    inside = ("ip", "netns", "exec", site.namespace)
    tables = (*inside, f"iptables-{site.kind}")
    run((*tables, "-t", "nat", "-D", "neutron-l3-agent-PREROUTING", "2"))
    run((*tables, "-t", "nat", "-I", "PREROUTING", "-p", "udp", "--dport", "9", "-j", "ACCEPT"))
    run((*tables, "-t", "filter", "-N", "mine"))
    site.net.ip(site.namespace, "route", "del", "default")
    site.net.ip(site.namespace, "addr", "add", "172.24.4.99/32", "dev", "qg-1")
    run((*inside, "sysctl", "-q", "-w", "net.ipv4.ip_forward=0"))
    assert {d.driver for driver in site.drivers for d in driver.check()} == {"addresses", "iptables"}
    for driver in site.drivers:
        driver.resync()
    assert site.apply(site.with_floating()) == []
    rules = run((*tables, "-t", "nat", "-S")).stdout
    assert f"-d {FLOATING}/32 -j DNAT --to-destination 10.10.10.5" in rules
    assert "-p udp -m udp --dport 9 -j ACCEPT" in rules.split("-A PREROUTING -j neutron")[0]
    assert "-N mine" in run((*tables, "-t", "filter", "-S")).stdout
    assert "default via 172.24.4.1" in site.net.ip(site.namespace, "route")
    assert "172.24.4.99" not in site.net.ip(site.namespace, "addr")
    assert site.net.run(site.namespace, "sysctl", "-n", "net.ipv4.ip_forward").strip() == "1"


def test_another_road_to_the_same_state(nft_site: Site) -> None:
    """The floating IP forth and back, the gateway gone and come again: the result is that of the state."""
    site = nft_site
    view = site.with_floating()
    assert site.apply(view) == []
    without_gateway = Router(key=site.router_id, interfaces=view.router.interfaces)
    assert site.apply(RouterView(without_gateway)) == []
    routes = site.net.ip(site.namespace, "route")
    assert "default" not in routes
    assert site.apply(site.with_floating("10.10.10.6")) == []
    assert site.apply(view) == []
    assert [d for driver in site.drivers for d in driver.check()] == []
    site.net.serve(site.inside, 22)
    assert site.net.seen_as(site.outside, FLOATING, 22) == "172.24.4.1"


def test_extra_routes(nft_site: Site) -> None:
    site = nft_site
    view = site.view()
    routes = [
        HostRoute(destination="192.0.2.0/24", nexthop="10.10.10.5"),
        HostRoute(destination="198.51.100.0/24", nexthop="10.10.10.5"),
        HostRoute(destination="198.51.100.0/24", nexthop="10.10.10.6"),
        HostRoute(destination="2001:db8:9::/48", nexthop="2001:db8:1::5"),
    ]
    with_routes = Router(
        key=site.router_id, gateway=view.router.gateway, interfaces=view.router.interfaces, routes=routes
    )
    assert site.apply(RouterView(with_routes)) == []
    text = site.net.ip(site.namespace, "route")
    assert "192.0.2.0/24 via 10.10.10.5" in text
    assert text.count("nexthop via") == 2
    assert "2001:db8:9::/48 via 2001:db8:1::5" in site.net.ip(site.namespace, "-6", "route")
    site.fresh_agent()
    site.runner.writes.clear()
    assert site.apply(RouterView(with_routes)) == []
    assert site.runner.writes == []
    assert site.apply(view) == []
    assert "192.0.2.0" not in site.net.ip(site.namespace, "route")
    assert "2001:db8:9::" not in site.net.ip(site.namespace, "-6", "route")


def test_down_and_up_again(nft_site: Site) -> None:
    site = nft_site
    view = site.with_floating()
    assert site.apply(view) == []
    down = Router(
        key=site.router_id,
        admin_state_up=False,
        gateway=view.router.gateway,
        interfaces=view.router.interfaces,
    )
    assert site.apply(replace(view, router=down)) == []
    assert "10.10.10.1" not in site.net.ip(site.namespace, "addr")
    assert site.apply(view) == []
    site.net.serve(site.inside, 22)
    assert site.net.seen_as(site.outside, FLOATING, 22) == "172.24.4.1"
    site.net.serve(site.outside, 80)
    assert site.net.seen_as(site.inside, "2001:db8:2::1", 80) == "2001:db8:1::5"


@pytest.mark.parametrize("tool", ["iptables", "ip6tables", "ip -force"])
def test_a_failing_tool_is_said_and_tried_again(nft_site: Site, tool: str) -> None:
    site = nft_site
    site.runner.failing = tool
    assert any("told to fail" in reason for reason in site.apply(site.view()))
    assert site.apply(site.view()) != []
    site.runner.failing = ""
    assert site.apply(site.view()) == []
    assert [d for driver in site.drivers for d in driver.check()] == []


def test_a_refused_route_does_not_keep_the_rest_away(nft_site: Site) -> None:
    site = nft_site
    view = site.view()
    odd = Router(
        key=site.router_id,
        gateway=view.router.gateway,
        interfaces=view.router.interfaces,
        routes=[HostRoute(destination="192.0.2.0/24", nexthop="203.0.113.7")],
    )
    reasons = site.apply(RouterView(odd))
    assert len(reasons) == 1
    assert "192.0.2.0/24" in reasons[0]
    assert "default via 172.24.4.1" in site.net.ip(site.namespace, "route")


def test_labels_count_what_crosses_the_gateway(site: Site) -> None:
    def counting(view: RouterView) -> RouterView:
        inside = [
            MeterRule(direction="egress", source="10.10.10.0/24"),
            MeterRule(direction="egress", source="2001:db8:1::/64"),
        ]
        left_out = MeterRule(direction="egress", source="10.10.10.0/24", excluded=True)
        meters = [RouterMeter("1" * 36, inside), RouterMeter("2" * 36, [*inside, left_out])]
        return replace(view, router=structs_replace(view.router, meters=meters))

    def counted(label: str, tool: str = "iptables") -> int:
        command = (f"{tool}-{site.kind}", "-nvxL", f"neutron-meter-l-{label * 11}")
        return int(site.net.run(site.namespace, *command).splitlines()[2].split()[0])

    assert site.apply(counting(site.view())) == []
    site.net.serve(site.outside, 80)
    assert site.net.seen_as(site.inside, "172.24.4.1", 80) == GATEWAY
    assert site.net.seen_as(site.inside, "2001:db8:2::1", 80)
    before = counted("1")
    assert before > 0 and counted("1", "ip6tables") > 0 and counted("2") == 0
    site.runner.writes.clear()
    assert site.apply(counting(site.view())) == []
    assert [w for w in site.runner.writes if "conntrack" not in w] == []
    assert site.apply(counting(site.with_floating("10.10.10.6"))) == []
    assert counted("1") >= before
    assert [d for driver in site.drivers for d in driver.check()] == []
    assert site.apply(site.view()) == []
    assert "neutron-meter" not in site.net.run(site.namespace, f"iptables-{site.kind}", "-S")
