"""A whole agent on a simulated network node, as the guides show it: DHCP, routing, the public network, floating IPs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import msgspec
import pytest

from tests.lib.l3_world import (
    GATEWAY,
    GATEWAY_PORT,
    GROUP,
    OUTSIDE,
    ROUTER_ID,
    Lan,
    Machine,
    Site,
    floating,
    network_node,
    router,
    wait_slaac,
)
from tests.lib.waiting import eventually
from virga.agent.drivers.daemons import command_line
from virga.contract.calls import MetadataAnswer, MetadataRequest
from virga.contract.items import Router
from virga.contract.messages import Call

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

ONE, TWO = Lan(1), Lan(2)
A, B, C = Machine(ONE, 5), Machine(TWO, 5), Machine(ONE, 6)
FLOATING = "172.24.4.20"


@pytest.fixture
def site() -> Iterator[Site]:
    with network_node() as site:
        yield site


def daemons_of(site: Site) -> set[str]:
    """Process ids and command lines of what outlives the agent."""
    inside = site.host.sh("for n in $(ls /run/netns); do ip netns pids $n; done").split()
    lines = {f"{pid} {' '.join(command_line(int(pid)))}" for pid in inside}
    return {line for line in lines if str(site.host.directory) in line and "virga.agent" not in line}


def test_a_network_with_dhcp(site: Site) -> None:
    host = site.host
    site.be(GROUP, ONE.items, A.items)
    host.control.wait_status(ONE.dhcp(), "ACTIVE")
    site.lease(A)
    assert ONE.namespace in host.sh("ip netns list")
    assert "inet 10.10.10.2/24" in host.sh(f"ip addr show {ONE.dhcp_port.device_name}", ONE.namespace)
    assert ONE.dhcp_port.device_name in host.vsctl("list-ports", "br-int")
    assert f"inet {A.address}/24" in host.sh("ip addr show eth0", A.namespace)
    assert "mtu 1450" in host.sh("ip link show eth0", A.namespace)
    files = host.directory / "dhcp" / ONE.id
    assert f"{A.mac},vm1-5.openstacklocal,{A.address}" in (files / "host").read_text()
    before = (files / "pid").read_text()
    site.be(C.items)
    site.lease(C)
    assert (files / "pid").read_text() == before
    assert A.address in host.sh(f"busybox nslookup vm1-5.openstacklocal {ONE.prefix}.2", C.namespace)


def test_routing_between_networks_and_not_without(site: Site) -> None:
    site.be(GROUP, ONE.items, TWO.items, A.items, B.items)
    site.lease(A, B)
    assert not site.pings(A.namespace, B.address)
    site.be(router(ONE, TWO, public=False))
    site.host.control.wait_status(Router(key=ROUTER_ID), "ACTIVE")
    assert site.pings(A.namespace, B.address)
    site.serve(B.namespace, 80)
    assert site.seen_as(A.namespace, B.address, 80) == A.address
    assert site.host.sh("sysctl -n net.ipv4.ip_forward", site.qrouter).strip() == "1"
    assert site.host.sh("sysctl -n net.ipv4.ip_forward").strip() == "0"
    site.host.control.remove(*router(ONE, TWO, public=False))
    site.host.control.settle()
    assert not site.pings(A.namespace, B.address)
    assert site.qrouter not in site.host.sh("ip netns list")
    assert "qr-" not in site.host.sh("ip -o link")


def test_public_network_and_floating_ip(site: Site) -> None:
    site.be(GROUP, ONE.items, A.items, C.items, router(ONE))
    site.lease(A, C)
    site.serve("outside", 80)
    for port in (22, 23):
        site.serve(A.namespace, port)
    assert site.seen_as(A.namespace, OUTSIDE, 80) == GATEWAY
    assert not site.pings("outside", FLOATING)
    site.be(floating(A))
    site.host.control.wait_status(floating(A), "ACTIVE")
    assert site.pings("outside", FLOATING)
    assert site.seen_as("outside", FLOATING, 22) == OUTSIDE
    # The security group allows SSH, and nothing else.
    assert site.seen_as("outside", FLOATING, 23) == ""
    assert site.seen_as(A.namespace, OUTSIDE, 80) == FLOATING
    nat = site.host.sh("iptables -t nat -S", site.qrouter)
    assert f"-A neutron-l3-agent-PREROUTING -d {FLOATING}/32 -j DNAT --to-destination {A.address}" in nat
    assert f"-A neutron-l3-agent-float-snat -s {A.address}/32 -j SNAT --to-source {FLOATING}" in nat
    with site.talk("outside", FLOATING, 22) as talk:
        assert talk.say("hello") == "hello"
        site.be(floating(C))
        assert talk.say("still there?") == "closed"
    site.serve(C.namespace, 22)
    assert site.seen_as("outside", FLOATING, 22) == OUTSIDE
    site.host.control.remove(floating(C))
    site.host.control.settle()
    assert not site.pings("outside", FLOATING)


def test_a_floating_ip_announces_itself(site: Site) -> None:
    site.be(GROUP, ONE.items, A.items, router(ONE))
    site.lease(A)
    listener = site.host.start(
        [
            "timeout",
            "20",
            "tcpdump",
            "-p",
            "-n",
            "-l",
            "-c",
            "1",
            "-i",
            "eth0",
            f"arp and src host {FLOATING}",
        ],
        "outside",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert listener.stdout is not None and listener.stderr is not None
    with listener.stdout, listener.stderr:
        assert b"listening" in listener.stderr.readline() + listener.stderr.readline()
        site.be(floating(A))
        assert FLOATING.encode() in listener.stdout.read()
    assert listener.wait(20) == 0


def test_ipv6_by_router_advertisement_routed_without_translation(site: Site) -> None:
    site.be(GROUP, ONE.items, TWO.items, A.items, B.items, router(ONE, TWO))
    site.lease(A, B)
    wait_slaac(site, A)
    wait_slaac(site, B)
    site.serve("outside", 80)
    assert site.seen_as(A.namespace, "2001:db8:99::1", 80) == A.address6


def test_metadata_by_router_and_by_isolated_network(site: Site) -> None:
    def answer(call: Call) -> MetadataAnswer:
        request = msgspec.json.decode(call.arguments, type=MetadataRequest)
        whose = request.router_id or request.network_id
        return MetadataAnswer(status=200, body=f"{request.remote_address} at {whose}".encode())

    site.host.control.answer = answer
    isolated = [TWO.network, TWO.dhcp_port, TWO.dhcp(gateway_ip=None, metadata_route=True)]
    site.be(GROUP, ONE.items, isolated, A.items, B.items, router(ONE))
    site.lease(A, B)
    ask = ["curl", "-s", "-m", "5", "http://169.254.169.254/latest/meta-data/"]
    assert site.host.run(ask, A.namespace).stdout == f"{A.address} at {ROUTER_ID}"
    assert site.host.run(ask, B.namespace).stdout == f"{B.address} at {TWO.id}"


def test_nothing_is_lost_while_the_agent_is_killed_and_comes_back(site: Site) -> None:
    host = site.host
    site.be(GROUP, ONE.items, TWO.items, A.items, B.items, router(ONE, TWO), floating(A))
    site.lease(A, B)
    assert site.pings(A.namespace, B.address)
    daemons = daemons_of(site)
    assert {line.split()[1] for line in daemons} == {"dnsmasq", "haproxy", "radvd"}
    pings = [
        host.start(["ping", "-n", "-i", "0.01", "-c", "300", target], where, stdout=subprocess.PIPE)
        for where, target in ((A.namespace, B.address), ("outside", FLOATING))
    ]
    rules = host.sh("iptables-save | grep ^-A", site.qrouter)
    host.kill_agent()
    host.start_agent()
    host.control.settle()
    for ping in pings:
        output, _ = ping.communicate(timeout=30)
        assert b"300 received" in output, output
    assert daemons_of(site) == daemons
    assert host.sh("iptables-save | grep ^-A", site.qrouter) == rules
    assert bytes(host.control.call("agent.check", {}).result) == b"[]"


def test_drift_and_leftovers_over_a_restart(site: Site) -> None:
    host = site.host
    site.be(GROUP, ONE.items, TWO.items, A.items, B.items, router(ONE, TWO), floating(A))
    site.lease(A, B)
    host.kill_agent()
    host.control.remove(*TWO.items, *B.items, TWO.router_port)
    host.control.put(*router(ONE))
    host.sh("iptables -t nat -F neutron-l3-agent-PREROUTING", site.qrouter)
    host.sh(f"ip addr del {FLOATING}/32 dev {GATEWAY_PORT.device_name}", site.qrouter)
    (host.directory / "dhcp" / ONE.id / "host").write_text("nonsense\n")
    os.kill(int((host.directory / "dhcp" / ONE.id / "pid").read_text()), signal.SIGKILL)
    gone = int((host.directory / "dhcp" / TWO.id / "pid").read_text())
    host.sh("ip netns add foreign")
    host.start_agent()
    host.control.settle()
    names = host.sh("ip netns list | cut -d' ' -f1").split()
    assert set(names) == {"foreign", "outside", site.qrouter, ONE.namespace, A.namespace}
    assert command_line(gone) == ()
    site.serve(A.namespace, 22)
    assert site.seen_as("outside", FLOATING, 22) == OUTSIDE
    site.lease(A)


def test_a_killed_daemon_comes_back_by_itself(site: Site) -> None:
    host = site.host
    site.be(GROUP, ONE.items, A.items, router(ONE))
    site.lease(A)
    pid = int((host.directory / "dhcp" / ONE.id / "pid").read_text())
    os.kill(pid, signal.SIGKILL)
    path = host.directory / "dhcp" / ONE.id / "pid"
    eventually(lambda: path.exists() and path.read_text().strip() not in ("", str(pid)), "a new dnsmasq")
    site.lease(A)


def test_router_down_and_up(site: Site) -> None:
    site.be(GROUP, ONE.items, A.items, router(ONE), floating(A))
    site.lease(A)
    assert site.pings("outside", FLOATING)
    site.be(router(ONE, admin_state_up=False))
    host = site.host
    host.control.wait_status(Router(key=ROUTER_ID), "DOWN")
    assert "administratively down" in host.control.wait_status(floating(A), "DOWN").reason
    assert not site.pings("outside", FLOATING)
    site.be(router(ONE))
    host.control.wait_status(floating(A), "ACTIVE")
    assert site.pings("outside", FLOATING)


def test_a_namespace_that_somebody_deleted_comes_back_whole() -> None:
    with network_node(resync_s=2.0) as site:
        site.be(GROUP, ONE.items, A.items, router(ONE), floating(A))
        site.lease(A)
        site.serve(A.namespace, 22)
        for namespace in (site.qrouter, ONE.namespace):
            site.host.sh(f"ip netns del {namespace}")
        eventually(
            lambda: site.seen_as("outside", FLOATING, 22) == OUTSIDE, "the floating IP works again", 40
        )
        eventually(lambda: site.gets_lease(A), "DHCP works again", 40)
        eventually(lambda: bytes(site.host.control.call("agent.check", {}).result) == b"[]", "no difference")


def test_a_device_that_somebody_deleted_comes_back_with_its_addresses() -> None:
    with network_node(resync_s=2.0) as site:
        site.be(GROUP, ONE.items, A.items, router(ONE), floating(A))
        site.lease(A)
        site.serve(A.namespace, 22)
        site.host.sh(f"ip link del {GATEWAY_PORT.device_name}", site.qrouter)
        eventually(
            lambda: site.seen_as("outside", FLOATING, 22) == OUTSIDE, "the floating IP works again", 40
        )
