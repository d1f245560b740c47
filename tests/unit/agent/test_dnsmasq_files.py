"""Command line and files of dnsmasq: as a real DHCP agent wrote them, and what each knob changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from virga.agent.render import leases
from virga.agent.render.dnsmasq import (
    Place,
    addn_hosts_file,
    command_line,
    host_file,
    opts_file,
    serves,
)
from virga.contract.items import DhcpHost, DhcpNetwork, DhcpOption, DhcpSubnet, FixedIp, HostRoute

RECORDED = Path(__file__).parent / "recorded"
SUBNET = "e4621c61-d8ef-4fe0-af50-c51526fe2507"
NETWORK = "469e8f41-1932-4a6e-bb02-00a71f658d28"


def subnet(**changes: Any) -> DhcpSubnet:
    values = {
        "subnet_id": SUBNET,
        "cidr": "10.80.0.0/20",
        "ip_version": 4,
        "enable_dhcp": True,
        "gateway_ip": "10.80.0.1",
    }
    return DhcpSubnet(**{**values, **changes})


def network(*subnets: DhcpSubnet) -> DhcpNetwork:
    return DhcpNetwork(
        key=NETWORK,
        port_id="7fa206ba",
        mac_address="fa:16:3e:2b:f7:80",
        device_name="tap7fa206ba-a2",
        fixed_ips=[FixedIp(subnet_id=SUBNET, ip_address="10.80.0.2", prefixlen=20)],
        subnets=list(subnets or (subnet(),)),
        mtu=1450,
    )


def host(mac: str = "fa:16:3e:98:4d:be", address: str = "10.80.3.158", **changes: Any) -> DhcpHost:
    values = {
        "key": f"port-{address}",
        "network_id": NETWORK,
        "mac_address": mac,
        "hostname": "",
        "fixed_ips": [FixedIp(subnet_id=SUBNET, ip_address=address, prefixlen=20)],
    }
    return DhcpHost(**{**values, **changes})


def recorded(section: str) -> list[str]:
    text = (RECORDED / "dnsmasq-files.txt").read_text()
    return [line for line in text.split(f"### {section}\n")[1].split("###")[0].splitlines() if line]


def test_command_line_as_recorded() -> None:
    words = (RECORDED / "dnsmasq-cmdline.txt").read_text().split()
    place = Place(f"$PEER/state/dhcp/{NETWORK}")
    # One option more: the network's names are answered here in every case, never refused.
    assert set(command_line(network(), place)) == {*words, "--local=/openstacklocal/"}


def test_files_as_recorded() -> None:
    hosts = []
    for line in recorded("host"):
        mac, _, address = line.split(",")
        hosts.append(host(mac, address))
    assert sorted(host_file(network(), hosts).splitlines()) == sorted(recorded("host"))
    assert sorted(addn_hosts_file(network(), hosts).splitlines()) == sorted(recorded("addn_hosts"))
    assert opts_file(network(), hosts).splitlines() == recorded("opts")


def test_a_port_that_takes_no_lease_has_a_name_only() -> None:
    router = host(leases=False)
    assert host_file(network(), [router]) == ""
    assert "host-10-80-3-158" in addn_hosts_file(network(), [router])


def test_isolated_network_names_the_dhcp_port_for_metadata() -> None:
    text = opts_file(network(subnet(gateway_ip=None, metadata_route=True)), [])
    assert "option:classless-static-route,169.254.169.254/32,10.80.0.2\n" in text
    assert "option:router\n" in text


def test_host_routes_neighbours_and_a_default_among_them() -> None:
    routes = [
        HostRoute(destination="192.0.2.0/24", nexthop="10.80.0.9"),
        HostRoute(destination="0.0.0.0/0", nexthop="10.80.0.8"),
    ]
    second = subnet(subnet_id="s2", cidr="10.99.0.0/24", gateway_ip=None)
    text = opts_file(network(subnet(gateway_ip=None, host_routes=routes), second), [])
    assert f"tag:subnet-{SUBNET},249,10.99.0.0/24,0.0.0.0,192.0.2.0/24,10.80.0.9,0.0.0.0/0,10.80.0.8" in text
    assert f"tag:subnet-{SUBNET},option:router,10.80.0.8" in text


def test_name_servers() -> None:
    assert "option:dns-server,8.8.8.8,1.1.1.1" in opts_file(
        network(subnet(dns_nameservers=["8.8.8.8", "1.1.1.1"])), []
    )
    assert "option:dns-server\n" in opts_file(network(subnet(dns_nameservers=["0.0.0.0"])), [])


def six(**changes: Any) -> DhcpSubnet:
    return subnet(cidr="2001:db8::/64", ip_version=6, gateway_ip="2001:db8::1", **changes)


def test_ipv6_modes() -> None:
    address = [FixedIp(subnet_id=SUBNET, ip_address="2001:db8::5", prefixlen=64)]
    machine = host(fixed_ips=address)
    stateful = network(six(ipv6_address_mode="dhcpv6-stateful", dns_nameservers=["2001:db8::53"]))
    assert f"--dhcp-range=set:subnet-{SUBNET},2001:db8::,static,64,86400s" in command_line(
        stateful, Place("/d")
    )
    assert host_file(stateful, [machine]).split(",")[1:] == [
        "tag:dhcpv6",
        "host-2001-0db8-0000-0000-0000-0000-0000-0005.openstacklocal",
        "[2001:db8::5]\n",
    ]
    assert "option6:dns-server,[2001:db8::53]" in opts_file(stateful, [])
    slaac = network(six(ipv6_address_mode="slaac"))
    assert not [word for word in command_line(slaac, Place("/d")) if "--dhcp-range" in word]
    assert host_file(slaac, [machine]) == opts_file(slaac, []) == ""
    assert "2001:db8::5\thost-2001" in addn_hosts_file(slaac, [machine])
    stateless = network(six(ipv6_address_mode="dhcpv6-stateless"))
    options = host(fixed_ips=address, options=[DhcpOption(name="ntp-server", value="::1", ip_version=6)])
    assert host_file(stateless, [options]) == "fa:16:3e:98:4d:be,tag:dhcpv6,set:port-10.80.3.158\n"
    assert "tag:port-10.80.3.158,option6:ntp-server,::1" in opts_file(stateless, [options])


def test_options_of_a_port() -> None:
    options = [
        DhcpOption(name="client-id", value="01:02"),
        DhcpOption(name="mtu", value="1300"),
        DhcpOption(name="42", value="10.80.0.7"),
        DhcpOption(name="dns-server", value="::1", ip_version=6),
    ]
    machine = host(options=options)
    line = host_file(network(), [machine]).strip()
    assert line == (
        "fa:16:3e:98:4d:be,id:01:02,host-10-80-3-158.openstacklocal,10.80.3.158,set:port-10.80.3.158"
    )
    assert opts_file(network(), [machine]).splitlines()[3:] == [
        "tag:port-10.80.3.158,option:mtu,1300",
        "tag:port-10.80.3.158,42,10.80.0.7",
    ]


def test_nothing_that_tenants_write_starts_a_line() -> None:
    machine = host(
        hostname="a,b\nc", options=[DhcpOption(name="mtu\n", value="1"), DhcpOption(name="mtu", value="1\n2")]
    )
    assert host_file(network(), [machine]).count("\n") == 1
    assert len(opts_file(network(), [machine]).splitlines()) == 3


def test_names() -> None:
    machine = host(hostname="web")
    assert ",web.openstacklocal," in host_file(network(), [machine])
    assert addn_hosts_file(network(), [machine]) == "10.80.3.158\tweb.openstacklocal web\n"


def test_without_dhcp_no_dnsmasq() -> None:
    assert serves(network())
    assert not serves(network(subnet(enable_dhcp=False)))


LEASES = """1795305133 fa:16:3e:00:00:05 10.10.10.5 web 01:fa:16:3e:00:00:05
1795305133 fa:16:3e:00:00:06 10.10.10.6 * *
duid 00:01:00:01:32:93:9a:ad
1795305133 1 2001:db8::5 * 00:03:00:01:fa
1795305133 2 2001:db8::6 * 00:03:00:01:fb
"""


def test_leases_that_nobody_has_a_right_to() -> None:
    hosts = "fa:16:3e:00:00:05,web,10.10.10.5\nfa:16:3e:00:00:07,x,10.10.10.6\nfa:16:3e:00:00:05,tag:dhcpv6,y,[2001:db8::5]\n"
    gone = leases.unjustified(leases.parse(LEASES), hosts)
    assert [lease.address for lease in gone] == ["10.10.10.6", "2001:db8::6"]
    assert leases.release_command("tap1", gone[0]) == (
        "dhcp_release",
        "tap1",
        "10.10.10.6",
        "fa:16:3e:00:00:06",
    )
    assert leases.release_command("tap1", gone[1])[-4:] == (
        "--server-id",
        "00:01:00:01:32:93:9a:ad",
        "--iaid",
        "2",
    )
    rest = leases.parse(leases.without(LEASES, gone))
    assert [lease.address for lease in rest] == ["10.10.10.5", "2001:db8::5"]
