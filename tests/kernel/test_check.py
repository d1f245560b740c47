"""``agent.check`` on a network node: nothing to say of a healthy host, and each break behind the agent's back is seen."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import pytest

from tests.lib.l3_world import GATEWAY_PORT, GROUP, Lan, Machine, Site, floating, network_node, router
from tests.lib.waiting import eventually
from virga.contract.calls import HostDifference

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

ONE = Lan(1)
A = Machine(ONE, 5)


@dataclass(frozen=True)
class Break:
    """What somebody does on the host, and how ``check`` calls it: driver, kind, and a word of its key or texts."""

    script: str
    driver: str
    kind: str
    word: str


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One agent for all: each test mends by making it begin anew. It looks again by itself only once an hour."""
    with network_node(resync_s=36000.0) as site:
        site.be(GROUP, ONE.items, A.items, router(ONE), floating(A))
        site.host.control.wait_status(A.port, "ACTIVE")
        yield site


def differences(site: Site) -> list[HostDifference]:
    answer = bytes(site.host.control.call("agent.check", {}).result)
    return msgspec.json.decode(answer, type=list[HostDifference])


def mend(site: Site) -> None:
    """A fresh agent reads the world and repairs; what was foreign is taken away by the test itself."""
    site.host.kill_agent()
    site.host.start_agent()
    site.host.control.settle()
    eventually(lambda: not differences(site), "the host is as it must be")


QROUTER = "ip netns exec $Q"
BREAKS = {
    "flow deleted": Break("$F del-flows $BR/br-int.mgmt table=72", "flows", "missing", "table=72"),
    "foreign flow": Break(
        "$F add-flow $BR/br-int.mgmt table=0,priority=9,arp,actions=drop", "flows", "foreign", "table=0"
    ),
    "rule inserted": Break(
        f"{QROUTER} iptables -I FORWARD -j DROP", "iptables", "foreign", "-A FORWARD -j DROP"
    ),
    "policy drops": Break(f"{QROUTER} iptables -P FORWARD DROP", "iptables", "foreign", "-P FORWARD DROP"),
    "our rule deleted": Break(
        f"{QROUTER} iptables -t nat -F neutron-l3-agent-float-snat", "iptables", "differs", "--to-source"
    ),
    "forwarding off": Break(
        f"{QROUTER} sysctl -qw net.ipv4.ip_forward=0", "addresses", "differs", "ip_forward"
    ),
    "address gone": Break(f"{QROUTER} ip addr flush dev $QR", "addresses", "missing", "addr add"),
    "address too many": Break(f"{QROUTER} ip addr add 10.9.9.9/32 dev $QR", "addresses", "extra", "10.9.9.9"),
    "device down": Break(f"{QROUTER} ip link set $QG down", "addresses", "differs", "link set"),
    "default route gone": Break(f"{QROUTER} ip route del default", "addresses", "missing", "0.0.0.0/0"),
    "foreign route": Break(
        f"{QROUTER} ip route add blackhole 9.9.9.0/24", "addresses", "foreign", "blackhole 9.9.9.0/24"
    ),
    "policy rule": Break(f"{QROUTER} ip rule add from 10.0.0.0/8 blackhole", "addresses", "foreign", "rule"),
    "wrong neighbour": Break(
        f"{QROUTER} ip neigh replace 10.10.10.5 lladdr 02:00:00:00:00:09 dev $QR nud permanent",
        "addresses",
        "foreign",
        "10.10.10.5",
    ),
    "inner mtu": Break(f"{QROUTER} ip link set $QR mtu 600", "links", "differs", "mtu 600"),
    "outer end down": Break("ip link set $QR down", "links", "differs", "up=False"),
    "hosts file edited": Break("echo x >> $DHCP/host", "dnsmasq", "differs", "host"),
    "hosts file gone": Break("rm $DHCP/addn_hosts", "dnsmasq", "missing", "addn_hosts"),
    "proxy configuration edited": Break(
        "echo '#' >> $DIR/ns-metadata-proxy/$R.conf", "haproxy", "differs", ".conf"
    ),
    "advertisements edited": Break("echo '#' >> $DIR/ra/$R.radvd.conf", "radvd", "differs", "radvd.conf"),
    "leftover of a daemon": Break("mkdir $DIR/dhcp/left", "dnsmasq", "extra", "left"),
    "strange namespace of our kind": Break("ip netns add qdhcp-left", "namespaces", "extra", "qdhcp-left"),
    "strange tap": Break("ip tuntap add tap0123abcd-01 mode tap", "links", "extra", "tap0123abcd-01"),
    "foreign port": Break(
        "ip link add odd type veth peer name odd2; $V add-port br-int odd", "ovsdb", "foreign", "br-int"
    ),
    "host hears tenants": Break("nft delete chain netdev virga $TAP", "leak", "missing", "tap"),
}
UNDO = {
    "foreign flow": "$F --strict del-flows $BR/br-int.mgmt table=0,priority=9,arp",
    "rule inserted": f"{QROUTER} iptables -D FORWARD -j DROP",
    "policy drops": f"{QROUTER} iptables -P FORWARD ACCEPT",
    "foreign route": f"{QROUTER} ip route del blackhole 9.9.9.0/24",
    "policy rule": f"{QROUTER} ip rule del from 10.0.0.0/8 blackhole",
    "wrong neighbour": f"{QROUTER} ip neigh del 10.10.10.5 dev $QR",
    "foreign port": "$V del-port br-int odd; ip link del odd",
    "inner mtu": f"{QROUTER} ip link set $QR mtu 1450",
}


def words(site: Site) -> str:
    host, port = site.host, ONE.router_port.device_name
    values = {
        "Q": site.qrouter, "R": site.qrouter.removeprefix("qrouter-"), "QR": port, "TAP": A.tap,
        "QG": GATEWAY_PORT.device_name,
        "DIR": host.directory, "DHCP": host.directory / "dhcp" / ONE.id, "BR": f"unix:{host.ovs}",
        "F": "'ovs-ofctl -O OpenFlow15'", "V": f"'ovs-vsctl --db=unix:{host.ovs}/db.sock'",
    }  # fmt: skip
    return " ".join(f"{name}={value};" for name, value in values.items())


def test_a_healthy_host_has_no_differences(site: Site) -> None:
    eventually(lambda: not differences(site), "nothing differs")


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_seen_and_mended(site: Site, name: str) -> None:
    broken, known = BREAKS[name], words(site)
    assert differences(site) == []
    site.host.sh(known + broken.script)
    found = differences(site)
    site.host.sh(known + UNDO.get(name, "true"))
    mend(site)
    mine = [d for d in found if (d.driver, d.kind) == (broken.driver, broken.kind)]
    assert any(broken.word in f"{d.key} {d.wanted} {d.actual}" for d in mine), found


def test_a_process_that_nobody_wants_is_seen(site: Site) -> None:
    host = site.host
    left = host.directory / "dhcp" / "left-behind"
    left.mkdir()
    stray = host.start(["dnsmasq", "-k", "-p", "0", f"--pid-file={left}/pid", "--conf-file=/dev/null"])
    eventually((left / "pid").exists, "the stray runs")
    found = differences(site)
    stray.send_signal(signal.SIGKILL)
    stray.wait()
    mend(site)
    assert (f"process {stray.pid}", "extra") in {(d.key, d.kind) for d in found}


def test_a_switch_that_is_away_is_said_and_the_agent_lives(site: Site) -> None:
    site.host.kill_vswitchd()
    found = differences(site)
    site.host.start_vswitchd()
    eventually(lambda: not differences(site), "the switch is filled again")
    assert any(d.driver == "flows" and d.kind == "unreadable" for d in found), found
