"""A DHCP namespace: real clients ask a real dnsmasq, names resolve, files change under a running process."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lib import dhcp6_client
from tests.lib.netns import Net, net, sh
from virga.agent.drivers.addresses import AddressDriver
from virga.agent.drivers.daemons import find
from virga.agent.drivers.dnsmasq import Dnsmasq, DnsmasqDriver
from virga.agent.managers import dhcp
from virga.agent.render import dnsmasq
from virga.contract.items import DhcpHost, DhcpNetwork, DhcpOption, DhcpSubnet, FixedIp, HostRoute
from virga.lib.run import CommandError, Completed, run
from virga.lib.wait import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

V4, V6 = "4a4a4a4a-0000-4000-8000-000000000001", "6a6a6a6a-0000-4000-8000-000000000001"
DHCP6_CLIENT = Path(dhcp6_client.__file__)
MAC = "fa:16:3e:00:00:05"
SCRIPT = """#!/bin/sh
[ "$1" = bound ] && env > "$REPORT"
exit 0
"""


@dataclass(frozen=True)
class Offer:
    """What a client was given."""

    values: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")


class Site:
    """A network with its DHCP namespace, and one client machine on it."""

    def __init__(self, made: Net, state: Path) -> None:
        self.net, self.state = made, state
        self.network_id = str(uuid.uuid4())
        self.namespace = f"qdhcp-{self.network_id}"
        made.names.append(self.namespace)
        sh("ip", "netns", "add", self.namespace)
        # dhcp_release speaks to the server over lo.
        made.ip(self.namespace, "link", "set", "lo", "up")
        self.client = made.add("virga")
        made.wire((self.namespace, "tap1"), (self.client, "eth0"))
        made.run(self.namespace, "ethtool", "-K", "tap1", "tx", "off")
        made.ip(self.client, "link", "set", "eth0", "address", MAC)
        self.woken: list[bool] = []
        self.fresh_agent()

    def fresh_agent(self) -> None:
        self.addresses = AddressDriver()
        self.dnsmasq = DnsmasqDriver(self.state, lambda: self.woken.append(True))
        self.drivers = (self.addresses, self.dnsmasq)
        for driver in self.drivers:
            driver.resync()

    def network(self, **changes: object) -> DhcpNetwork:
        subnet = {
            "subnet_id": V4,
            "cidr": "10.10.10.0/24",
            "ip_version": 4,
            "enable_dhcp": True,
            "gateway_ip": "10.10.10.1",
            **changes,
        }
        return DhcpNetwork(
            key=self.network_id,
            port_id="dhcp",
            mac_address="fa:16:3e:00:00:02",
            device_name="tap1",
            fixed_ips=[FixedIp(subnet_id=V4, ip_address="10.10.10.2", prefixlen=24)],
            subnets=[DhcpSubnet(**subnet)],  # type: ignore[arg-type]
            mtu=1450,
        )

    def host(self, key: str = "p5", address: str = "10.10.10.5", **changes: object) -> DhcpHost:
        values = {
            "key": key,
            "network_id": self.network_id,
            "mac_address": MAC,
            "hostname": "web",
            "fixed_ips": [FixedIp(subnet_id=V4, ip_address=address, prefixlen=24)],
            **changes,
        }
        return DhcpHost(**values)  # type: ignore[arg-type]

    def apply(self, network: DhcpNetwork, *hosts: DhcpHost, servers: tuple[str, ...] = ()) -> list[str]:
        place = dnsmasq.Place(self.dnsmasq.directory(network.key), servers, user="root")
        files = dnsmasq.render(network, hosts, place)
        self.addresses.want(self.namespace, dhcp.addressing(network))
        self.dnsmasq.want(network.key, Dnsmasq(self.namespace, "tap1", files))
        return [failure.reason for driver in self.drivers for failure in driver.apply()]

    def pid(self) -> int | None:
        directory = Path(self.dnsmasq.directory(self.network_id))
        return find("dnsmasq", f"{directory}/", directory / "pid")

    def lease(self, *options: str) -> Offer:
        """One exchange by udhcpc; empty values when nobody answered."""
        script, report = self.state / "script.sh", self.state / "report"
        report.unlink(missing_ok=True)
        script.write_text(SCRIPT)
        script.chmod(0o755)
        self.net.run(
            self.client,
            *("env", f"REPORT={report}", "busybox", "udhcpc", "-i", "eth0", "-f", "-n", "-q"),
            *("-t", "4", "-T", "1", "-s", str(script), "-O", "staticroutes", "-O", "mtu", *options),
            check=False,
        )
        if not report.exists():
            return Offer({})
        lines = report.read_text().splitlines()
        return Offer(dict(line.split("=", 1) for line in lines if "=" in line))

    def resolve(self, name: str, server: str = "10.10.10.2") -> str:
        return self.net.run(self.client, "busybox", "nslookup", name, server, check=False)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with net() as made:
        yield Site(made, tmp_path)


def test_address_router_mtu_routes_and_names(site: Site) -> None:
    network = site.network(host_routes=[HostRoute(destination="192.0.2.0/24", nexthop="10.10.10.9")])
    assert site.apply(network, site.host()) == []
    offer = site.lease()
    assert offer["ip"] == "10.10.10.5"
    assert offer["router"] == "10.10.10.1"
    assert offer["mtu"] == "1450"
    assert offer["domain"] == "openstacklocal"
    assert "169.254.169.254/32 10.10.10.1" in offer["staticroutes"]
    assert "192.0.2.0/24 10.10.10.9" in offer["staticroutes"]
    assert "0.0.0.0/0 10.10.10.1" in offer["staticroutes"]
    site.net.ip(site.client, "addr", "add", "10.10.10.5/24", "dev", "eth0")
    assert "10.10.10.5" in site.resolve("web.openstacklocal")


def test_strangers_get_nothing(site: Site) -> None:
    assert site.apply(site.network(), site.host(mac_address="fa:16:3e:00:00:99")) == []
    assert site.lease().values == {}


def test_hosts_change_without_a_restart(site: Site) -> None:
    assert site.apply(site.network(), site.host()) == []
    before = site.pid()
    assert site.lease()["ip"] == "10.10.10.5"
    assert site.apply(site.network(), site.host(address="10.10.10.6")) == []
    assert site.lease()["ip"] == "10.10.10.6"
    assert site.pid() == before


def test_an_address_given_to_another_port_is_free_at_once(site: Site) -> None:
    assert site.apply(site.network(), site.host()) == []
    assert site.lease()["ip"] == "10.10.10.5"
    other = "fa:16:3e:00:00:06"
    assert site.apply(site.network(), site.host(key="p6", mac_address=other)) == []
    site.net.ip(site.client, "link", "set", "eth0", "address", other)
    assert site.lease()["ip"] == "10.10.10.5"


def test_leases_survive_an_agent_that_starts_anew_and_a_new_subnet(site: Site) -> None:
    assert site.apply(site.network(), site.host()) == []
    assert site.lease()["ip"] == "10.10.10.5"
    before = site.pid()
    site.fresh_agent()
    assert site.apply(site.network(), site.host()) == []
    assert site.pid() == before
    network = site.network()
    two = [*network.subnets, DhcpSubnet(subnet_id="s2", cidr="10.10.20.0/24", ip_version=4, enable_dhcp=True)]
    wider = DhcpNetwork(**{**{f: getattr(network, f) for f in network.__struct_fields__}, "subnets": two})
    assert site.apply(wider, site.host()) == []
    assert site.pid() != before
    leases = Path(site.dnsmasq.directory(site.network_id)) / "leases"
    assert f"{MAC} 10.10.10.5 web" in leases.read_text()


def test_options_of_a_port(site: Site) -> None:
    options = [DhcpOption(name="tftp-server", value="10.10.10.3"), DhcpOption(name="42", value="10.10.10.4")]
    assert site.apply(site.network(), site.host(options=options)) == []
    offer = site.lease("-O", "tftp", "-O", "ntpsrv")
    assert offer["tftp"] == "10.10.10.3"
    assert offer["ntpsrv"] == "10.10.10.4"


def test_a_senseless_option_harms_nobody(site: Site) -> None:
    options = [
        DhcpOption(name="no-such-option", value="x"),
        DhcpOption(name="router", value="1\nport=0"),
        DhcpOption(name="mtu", value="many"),
    ]
    assert site.apply(site.network(), site.host(options=options)) == []
    assert site.lease()["ip"] == "10.10.10.5"
    site.fresh_agent()
    pid = site.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: site.pid() is None, 5)
    assert site.apply(site.network(), site.host(options=options)) == []
    assert site.lease()["ip"] == "10.10.10.5"


def test_name_servers(site: Site) -> None:
    assert site.apply(site.network(), site.host()) == []
    assert site.lease()["dns"] == "10.10.10.2"
    assert site.apply(site.network(dns_nameservers=["8.8.8.8", "1.1.1.1"]), site.host()) == []
    assert site.lease()["dns"] == "8.8.8.8 1.1.1.1"
    assert site.apply(site.network(dns_nameservers=["0.0.0.0"]), site.host()) == []
    assert site.lease()["dns"] == ""


def test_isolated_network_serves_metadata_itself(site: Site) -> None:
    assert site.apply(site.network(gateway_ip=None, metadata_route=True), site.host()) == []
    offer = site.lease()
    assert offer["router"] == ""
    assert offer["staticroutes"] == "169.254.169.254/32 10.10.10.2"
    assert "169.254.169.254/32" in site.net.ip(site.namespace, "addr")


def test_a_killed_dnsmasq_is_noticed_and_started_again(site: Site) -> None:
    assert site.apply(site.network(), site.host()) == []
    pid = site.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: site.woken, 5)
    assert [f.reason for f in site.dnsmasq.apply()] == []
    assert site.pid() not in (None, pid)
    assert site.lease()["ip"] == "10.10.10.5"


def test_drift_and_lost_pid_file(site: Site) -> None:
    assert site.apply(site.network(), site.host()) == []
    directory = Path(site.dnsmasq.directory(site.network_id))
    (directory / "host").write_text("")
    assert [d.key for d in site.dnsmasq.check()] == [f"{site.network_id}/host"]
    before = site.pid()
    (directory / "pid").unlink()
    site.fresh_agent()
    assert site.apply(site.network(), site.host()) == []
    assert site.pid() == before
    assert site.lease()["ip"] == "10.10.10.5"


def test_leftovers_go_with_their_process(site: Site) -> None:
    assert site.apply(site.network(), site.host()) == []
    pid = site.pid()
    assert pid is not None
    site.fresh_agent()
    assert list(site.dnsmasq.apply()) == []
    assert list(site.dnsmasq.prune()) == []
    assert site.pid() is None
    assert not Path(site.dnsmasq.directory(site.network_id)).exists()


def test_a_failing_tool_is_said_and_tried_again(site: Site) -> None:
    def failing(argv: Sequence[str], **more: Any) -> Completed:
        if "dnsmasq" in argv:
            raise CommandError(Completed(tuple(argv), 1, "", "told to fail"))
        return run(argv, **more)

    site.dnsmasq = DnsmasqDriver(site.state, runner=failing)
    site.drivers = (site.addresses, site.dnsmasq)
    assert "told to fail" in site.apply(site.network(), site.host())[0]
    assert "told to fail" in site.dnsmasq.outcome(site.network_id).reason
    site.fresh_agent()
    assert site.apply(site.network(), site.host()) == []
    assert site.lease()["ip"] == "10.10.10.5"


def test_namespace_made_again_gets_a_new_dnsmasq(site: Site) -> None:
    assert site.apply(site.network(), site.host()) == []
    pid = site.pid()
    sh("ip", "netns", "del", site.namespace)
    for driver in site.drivers:
        driver.resync()
    assert site.apply(site.network(), site.host()) != []
    sh("ip", "netns", "add", site.namespace)
    sh("ip", "-n", site.client, "link", "del", "eth0", check=False)
    site.net.wire((site.namespace, "tap1"), (site.client, "eth0"))
    site.net.run(site.namespace, "ethtool", "-K", "tap1", "tx", "off")
    site.net.ip(site.client, "link", "set", "eth0", "address", MAC)
    assert site.apply(site.network(), site.host()) == []
    assert site.pid() not in (None, pid)
    assert site.lease()["ip"] == "10.10.10.5"


def network6(site: Site, mode: str) -> DhcpNetwork:
    subnet = DhcpSubnet(
        subnet_id=V6,
        cidr="2001:db8::/64",
        ip_version=6,
        enable_dhcp=True,
        gateway_ip="2001:db8::1",
        dns_nameservers=["2001:db8::53"],
        ipv6_address_mode=mode,
        ipv6_ra_mode=mode,
    )
    return DhcpNetwork(
        key=site.network_id,
        port_id="dhcp",
        mac_address="fa:16:3e:00:00:02",
        device_name="tap1",
        fixed_ips=[FixedIp(subnet_id=V6, ip_address="2001:db8::2", prefixlen=64)],
        subnets=[subnet],
        mtu=1450,
    )


def ask6(site: Site, *words: str) -> str:
    wait_until(lambda: "tentative" not in site.net.ip(site.client, "-6", "addr"), 5)
    return site.net.run(site.client, sys.executable, "-I", "-S", str(DHCP6_CLIENT), "eth0", MAC, *words)


def test_stateful_dhcpv6_gives_the_port_its_address_and_takes_it_back(site: Site) -> None:
    host = site.host(fixed_ips=[FixedIp(subnet_id=V6, ip_address="2001:db8::5", prefixlen=64)])
    assert site.apply(network6(site, "dhcpv6-stateful"), host) == []
    assert ask6(site).split() == ["address=2001:db8::5", "dns=2001:db8::53"]
    leases = Path(site.dnsmasq.directory(site.network_id)) / "leases"
    assert wait_until(lambda: "2001:db8::5" in leases.read_text(), 5)
    assert site.apply(network6(site, "dhcpv6-stateful")) == []
    assert wait_until(lambda: "2001:db8::5" not in leases.read_text(), 5)


def test_stateless_dhcpv6_tells_name_servers_only(site: Site) -> None:
    host = site.host(fixed_ips=[FixedIp(subnet_id=V6, ip_address="2001:db8::5", prefixlen=64)])
    assert site.apply(network6(site, "dhcpv6-stateless"), host) == []
    assert ask6(site, "information").split() == ["dns=2001:db8::53"]


def test_both_families_by_one_mac(site: Site) -> None:
    four, six = site.network(), network6(site, "dhcpv6-stateful")
    both = DhcpNetwork(
        key=site.network_id,
        port_id="dhcp",
        mac_address=four.mac_address,
        device_name="tap1",
        fixed_ips=[*four.fixed_ips, *six.fixed_ips],
        subnets=[*four.subnets, *six.subnets],
        mtu=1450,
    )
    fixed = [*site.host().fixed_ips, FixedIp(subnet_id=V6, ip_address="2001:db8::5", prefixlen=64)]
    assert site.apply(both, site.host(fixed_ips=fixed)) == []
    assert site.lease()["ip"] == "10.10.10.5"
    assert "address=2001:db8::5" in ask6(site)
