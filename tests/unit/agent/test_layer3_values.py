"""Small pure parts of layer 3: steps to an addressing, connections to end, announcements, configuration texts."""

from __future__ import annotations

from virga.agent.drivers.addresses import batch_problems
from virga.agent.drivers.addressing import (
    Actual,
    ActualDevice,
    Addressing,
    Device,
    Route,
    parse_devices,
    parse_documents,
    parse_routes,
    plan,
)
from virga.agent.drivers.conntrack import Mappings, PortMapping, doomed, parse
from virga.agent.gratuitous import advertisement_frame, arp_frame, frames
from virga.agent.metadata import plain_address
from virga.agent.render import haproxy, radvd
from virga.contract.items import FixedIp, Router, RouterPort, RouterSubnet

DEFAULT = Route("0.0.0.0/0", ("172.24.4.1",))


def wanted(*addresses: str, routes: frozenset[Route] = frozenset(), up: bool = True) -> Addressing:
    return Addressing(devices=(Device("qg-1", frozenset(addresses), up),), routes=routes)


def actual(*addresses: str, routes: frozenset[Route] = frozenset(), up: bool = True) -> Actual:
    return Actual({"qg-1": ActualDevice(up, frozenset(addresses))}, routes)


def test_nothing_to_do() -> None:
    routes = frozenset({DEFAULT})
    assert plan(wanted("10.0.0.1/24", routes=routes), actual("10.0.0.1/24", routes=routes)).lines == ()


def test_what_others_stand_on_comes_first() -> None:
    onlink = Route("203.0.113.1/32", (), "qg-1")
    step = plan(
        wanted("10.0.0.1/24", routes=frozenset({DEFAULT, onlink})),
        actual("10.0.0.9/24", routes=frozenset({Route("192.0.2.0/24", ("10.0.0.7",))}), up=False),
    )
    assert step.lines == (
        "route del 192.0.2.0/24 proto static",
        "addr del 10.0.0.9/24 dev qg-1",
        "link set dev qg-1 up",
        "addr add 10.0.0.1/24 brd + dev qg-1",
        "route replace 203.0.113.1/32 proto static dev qg-1 scope link",
        "route replace 0.0.0.0/0 proto static via 172.24.4.1",
    )
    assert step.added == (("qg-1", "10.0.0.1/24"),)


def test_a_device_that_is_not_there_is_said() -> None:
    assert plan(wanted("10.0.0.1/24"), Actual()).missing_devices == ("qg-1",)


def test_routes_are_the_same_by_destination_and_next_hops() -> None:
    lines = plan(
        wanted(routes=frozenset({Route("::/0", ("fe80::1",), "qg-1")})),
        actual(routes=frozenset({Route("::/0", ("fe80::1",))})),
    ).lines
    assert lines == ()


def test_what_ip_says_is_understood() -> None:
    text = (
        '[{"ifname":"qg-1","flags":["UP"],"addr_info":[{"local":"10.0.0.1","prefixlen":24,"scope":"global"},'
        '{"local":"fe80::1","prefixlen":64,"scope":"link"},'
        '{"local":"fe80::a9fe:a9fe","prefixlen":128,"scope":"link"},{}]}]\n'
        '[{"dst":"default","gateway":"10.0.0.9","dev":"qg-1","protocol":"static"},'
        '{"dst":"10.0.0.0/24","dev":"qg-1","protocol":"kernel"},'
        '{"dst":"9.9.9.0/24","protocol":"static","nexthops":[{"gateway":"10.0.0.7"},{"gateway":"10.0.0.8"}]},'
        '{"dst":"1.1.1.1","dev":"qg-1","protocol":"static","scope":"link"}]'
    )
    links, routes = parse_documents(text)
    device = parse_devices(links)["qg-1"]
    assert device.addresses == {"10.0.0.1/24", "fe80::a9fe:a9fe/128"}
    assert device.link_local == {"fe80::1/64"}
    assert parse_routes(routes, 4) == {
        Route("0.0.0.0/0", ("10.0.0.9",)),
        Route("9.9.9.0/24", ("10.0.0.7", "10.0.0.8")),
        Route("1.1.1.1/32", (), "qg-1"),
    }


def test_complaints_find_their_line() -> None:
    said = "Error: Nexthop has invalid gateway.\nCommand failed -:2\nRTNETLINK answers: File exists\nCommand failed -:3\n"
    assert batch_problems(("a", "b", "c"), said) == [
        "ip b: Error: Nexthop has invalid gateway.",
        "ip c: RTNETLINK answers: File exists",
    ]


# -- connections ------------------------------------------------------------------------------------

FORWARDED = (
    "tcp      6 431999 ESTABLISHED src=172.24.4.1 dst=172.24.4.20 sport=40000 dport=22 "
    "src=10.0.0.5 dst=172.24.4.1 sport=22 dport=40000 [ASSURED] mark=0 use=1\n"
)
MASQUERADED = (
    "udp      17 20 src=10.0.0.5 dst=8.8.8.8 sport=5353 dport=53 [UNREPLIED] "
    "src=8.8.8.8 dst=172.24.4.20 sport=53 dport=5353 mark=0 use=1\n"
)
PLAIN = "icmp     1 29 src=10.0.0.5 dst=10.0.1.5 type=8 code=0 id=7 src=10.0.1.5 dst=10.0.0.5 type=0 code=0 id=7\n"
EARLY = (
    "icmp     1 29 src=172.24.4.1 dst=172.24.4.20 type=8 code=0 id=7 "
    "[UNREPLIED] src=172.24.4.20 dst=172.24.4.1 type=0 code=0 id=7\n"
)
METADATA = (
    "tcp      6 10 TIME_WAIT src=10.0.0.5 dst=169.254.169.254 sport=4 dport=80 "
    "src=10.0.0.1 dst=10.0.0.5 sport=9697 dport=4 [ASSURED]\n"
)


def test_explained_connections_stay() -> None:
    mappings = Mappings(floating=frozenset({("172.24.4.20", "10.0.0.5")}))
    assert doomed(parse(FORWARDED + MASQUERADED + PLAIN + METADATA), mappings) == []


def test_connections_of_a_floating_ip_that_is_gone_end() -> None:
    assert doomed(parse(FORWARDED + MASQUERADED + PLAIN + METADATA), Mappings()) == [
        ("--orig-dst", "172.24.4.20", "--reply-src", "10.0.0.5", "-p", "tcp", "--dport", "22"),
        ("--orig-src", "10.0.0.5", "--reply-dst", "172.24.4.20"),
    ]


def test_connections_seen_before_the_floating_ip_came_end() -> None:
    mappings = Mappings(floating=frozenset({("172.24.4.20", "10.0.0.5")}))
    assert doomed(parse(EARLY), mappings) == [("--orig-dst", "172.24.4.20", "--reply-src", "172.24.4.20")]
    assert doomed(parse(EARLY), Mappings()) == []


def test_port_forwardings_explain_their_ports_only() -> None:
    def ports(low: int, high: int) -> Mappings:
        return Mappings(ports=frozenset({PortMapping("172.24.4.20", "tcp", low, high, "10.0.0.5")}))

    assert doomed(parse(FORWARDED), ports(20, 30)) == []
    assert len(doomed(parse(FORWARDED), ports(23, 30))) == 1


def test_the_gateway_address_explains_everything_that_left_by_it() -> None:
    assert doomed(parse(MASQUERADED), Mappings(gateways=frozenset({"172.24.4.20"}))) == []


# -- announcements ----------------------------------------------------------------------------------

MAC = bytes.fromhex("fa163e000001")


def test_gratuitous_arp_names_itself_twice() -> None:
    frame = arp_frame(MAC, "172.24.4.20", 1)
    assert frame[:14] == b"\xff" * 6 + MAC + b"\x08\x06"
    assert frame[28:32] == frame[38:42] == bytes([172, 24, 4, 20])
    assert len(frames(MAC, "172.24.4.20")) == 2


def test_unsolicited_advertisement_has_a_right_checksum() -> None:
    frame = advertisement_frame(MAC, "2001:db8::1")
    header, body = frame[14:54], frame[54:]
    pseudo = header[8:40] + len(body).to_bytes(4, "big") + (58).to_bytes(4, "big")
    total = sum(int.from_bytes((pseudo + body)[i : i + 2], "big") for i in range(0, len(pseudo + body), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
    assert body[0] == 136
    assert body[-6:] == MAC


# -- configuration ----------------------------------------------------------------------------------


def router(*subnets: RouterSubnet) -> Router:
    port = RouterPort(
        port_id="p",
        network_id="n",
        mac_address="",
        device_name="qr-1",
        fixed_ips=[FixedIp(subnet_id="s", ip_address="2001:db8::1", prefixlen=64)],
        subnets=list(subnets),
        mtu=1450,
    )
    return Router(key="r", interfaces=[port])


def ra(mode: str, cidr: str = "2001:db8::/64") -> RouterSubnet:
    return RouterSubnet(
        subnet_id=cidr, cidr=cidr, ipv6_ra_mode=mode, dns_nameservers=["2001:db8::53", "8.8.8.8"]
    )


def test_router_advertisements_by_mode() -> None:
    slaac = radvd.render(router(ra("slaac")))
    assert "interface qr-1" in slaac
    assert "AdvLinkMTU 1450;" in slaac
    assert "AdvAutonomous on;" in slaac
    assert "RDNSS 2001:db8::53 {};" in slaac
    assert "Flag" not in slaac
    stateful = radvd.render(router(ra("dhcpv6-stateful")))
    assert "AdvManagedFlag on;" in stateful
    assert "AdvAutonomous off;" in stateful
    stateless = radvd.render(router(ra("dhcpv6-stateless")))
    assert "AdvOtherConfigFlag on;" in stateless
    assert "AdvManagedFlag" not in stateless
    assert "AdvAutonomous on;" in stateless
    assert radvd.render(router(RouterSubnet(subnet_id="s", cidr="10.0.0.0/24"))) == ""


def test_advertisements_come_from_the_address_of_the_device() -> None:
    assert radvd.link_local("fa:16:3e:2b:f7:80") == "fe80::f816:3eff:fe2b:f780"


def test_proxy_says_whose_requests_they_are() -> None:
    text = haproxy.render(haproxy.Proxy(haproxy.router_binds(), "/s", "/p", router_id="r1"))
    rules = [line.strip() for line in text.splitlines() if "http-request" in line and "header" in line]
    # Deleted before set: what a guest wrote cannot survive.
    assert rules[-1] == "http-request set-header X-Neutron-Router-ID r1"
    assert "http-request del-header X-Neutron-Network-ID" in rules[:-2]
    assert "bind :::9697" in text
    isolated = haproxy.render(haproxy.Proxy(haproxy.network_binds("tap1", True), "/s", "/p", network_id="n1"))
    assert "set-header X-Neutron-Network-ID n1" in isolated
    assert "bind fe80::a9fe:a9fe:80 interface tap1" in isolated


def test_addresses_as_the_control_plane_knows_them() -> None:
    assert plain_address("::ffff:10.0.0.5") == "10.0.0.5"
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert plain_address("2001:db8::5") == "2001:db8::5"
