"""Layer 2 on a real switch: who reaches whom, by TCP, through every change and every restart."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import msgspec
import pytest

from tests.lib.host import Host
from tests.lib.l2_world import (
    GROUP_ID,
    NETWORK,
    Guest,
    Guests,
    group,
    numbered,
    out_all,
    pair,
    ping_in,
    tcp_in,
)
from tests.lib.waiting import eventually
from virga.contract.calls import CheckHost
from virga.contract.items import Network
from virga.sdn.port_flows import link_local

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

A, B, C = Guest(1), Guest(2), Guest(3)
OTHER_GROUP = numbered("b", 1)
WEB = group(*out_all(), tcp_in(3, 22), ping_in(4, remote_group_id=GROUP_ID))
CLOSED = group(*out_all(10), key=OTHER_GROUP)


@pytest.fixture
def host() -> Iterator[Host]:
    with Host(bridge_mappings={"physnet1": "br-eth1"}) as host:
        host.start_agent()
        yield host


def start(host: Host, *guests: Guest, groups: tuple[object, ...] = (WEB,)) -> Guests:
    items = [item for guest in guests for item in guest.items]
    members = [guest.member() for guest in guests if GROUP_ID in guest.groups]
    host.control.put(NETWORK, *groups, *items, *members)  # type: ignore[arg-type]
    there = Guests(host)
    there.up(*guests)
    return there


def test_rules_decide_who_is_reached(host: Host) -> None:
    outsider = Guest(4, groups=(OTHER_GROUP,))
    guests = start(host, A, B, outsider, groups=(WEB, CLOSED))
    for port in (22, 23):
        guests.serve(B, port)
    assert guests.connects(A, B.address, 22)
    assert not guests.connects(A, B.address, 23)
    assert guests.connects(outsider, B.address, 22)
    assert guests.pings(A, B.address)
    assert not guests.pings(outsider, B.address)
    assert not guests.pings(A, outsider.address)
    assert bytes(host.control.call("agent.check", {}).result) == b"[]"


def test_spoofed_sources_go_nowhere_and_pairs_may_speak(host: Host) -> None:
    paired = Guest(2, changes={"allowed_address_pairs": [pair("10.10.20.0/24")]})
    guests = start(host, A, paired)
    guests.serve(A, 22)
    host.sh("ip addr add 10.10.9.9/16 dev eth0; ip addr add 10.10.20.7/16 dev eth0", paired.namespace)
    assert guests.connects(paired, A.address, 22)
    answered = ["socat", "-T2", "-", "TCP:10.10.10.1:22,bind={},connect-timeout=2"]
    for source, passes in (("10.10.20.7", True), ("10.10.9.9", False)):
        command = [part.format(source) for part in answered]
        done = host.run(command, paired.namespace, check=False, stdin="hello")
        assert (done.stdout == "hello") is passes, source
    host.sh("ip link set eth0 address fa:16:3e:99:99:99", paired.namespace)
    assert not guests.connects(paired, A.address, 22)


def test_a_removed_rule_cuts_what_it_alone_allowed(host: Host) -> None:
    guests = start(host, A, B)
    guests.serve(B, 22)
    talk = subprocess.Popen(
        host.inside(["socat", "-", "TCP:10.10.10.2:22"], A.namespace),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert talk.stdin is not None and talk.stdout is not None
    try:
        talk.stdin.write(b"one\n")
        talk.stdin.flush()
        assert talk.stdout.readline() == b"one\n"
        host.control.put(group(*out_all(), ping_in(4, remote_group_id=GROUP_ID)))
        host.control.settle()
        os.set_blocking(talk.stdout.fileno(), False)
        assert not guests.connects(A, B.address, 22)
        talk.stdin.write(b"two\n")
        talk.stdin.flush()
        assert not guests.connects(A, B.address, 22)
        assert talk.stdout.read() is None
        host.control.put(WEB)
        eventually(lambda: talk.stdout is not None and talk.stdout.read() == b"two\n", "the rule is back")
    finally:
        talk.kill()
        talk.communicate()


def test_nothing_is_lost_while_the_agent_is_killed_and_comes_back(host: Host) -> None:
    guests = start(host, A, B)
    assert guests.pings(A, B.address)
    before = {bridge: host.flows(bridge) for bridge in ("br-int", "br-eth1")}
    ports = host.vsctl("--columns=_uuid,name,tag", "list", "port")
    ping = subprocess.Popen(
        host.inside(["ping", "-n", "-i", "0.01", "-c", "300", B.address], A.namespace),
        stdout=subprocess.PIPE,
        text=True,
    )
    host.kill_agent()
    host.start_agent()
    eventually(lambda: host.control.applied >= host.control.revision, "the new agent has applied the state")
    output, _ = ping.communicate(timeout=30)
    assert "300 received" in output, output
    assert {bridge: host.flows(bridge) for bridge in ("br-int", "br-eth1")} == before
    assert host.vsctl("--columns=_uuid,name,tag", "list", "port") == ports


def test_leftovers_go_and_foreign_things_stay(host: Host) -> None:
    start(host, A, B)
    host.kill_agent()
    host.control.remove(*B.items, B.member())
    host.sh("ip link add mine type veth peer name mine2; ip netns add foreign")
    host.vsctl("add-port", "br-int", "mine")
    host.run(["ovs-ofctl", "add-flow", f"unix:{host.ovs}/br-int.mgmt", "table=50,priority=5,actions=drop"])
    host.start_agent()
    host.control.settle()
    names = host.vsctl("list-ports", "br-int").split()
    assert A.port.device_name in names
    assert B.port.device_name not in names
    assert "mine" in names
    assert host.run(["ip", "link", "show", B.port.device_name], check=False).returncode != 0
    assert set(host.sh("ip netns list | cut -d' ' -f1").split()) == {A.namespace, "foreign"}
    flows = host.flows()
    assert any("table=50" in line for line in flows)
    assert not any(f"{int(B.port.key[:8], 16):x}" in line for line in flows)


def test_drift_is_repaired(host: Host) -> None:
    guests = start(host, A, B)
    guests.serve(B, 22)
    host.vsctl("del-port", "br-int", A.port.device_name)
    eventually(lambda: A.port.device_name in host.vsctl("list-ports", "br-int"), "the port is back")
    eventually(lambda: guests.connects(A, B.address, 22), "traffic is back")
    host.vsctl("set", "port", A.port.device_name, "tag=77")
    eventually(lambda: host.vsctl("get", "port", A.port.device_name, "tag").strip() == "1", "the tag is back")


def test_without_repair_only_news_makes_the_agent_write() -> None:
    with Host(bridge_mappings={"physnet1": "br-eth1"}, repair=False) as host:
        host.start_agent()
        start(host, A)
        device = A.port.device_name

        def differs() -> bool:
            found = msgspec.json.decode(host.control.call("agent.check", CheckHost()).result)
            return any(each["key"] == device for each in found)

        def stays() -> bool:
            """Were there a round because of the change, it would come before the second answer."""
            host.vsctl("set", "port", device, "tag=77")
            return differs() and differs() and host.vsctl("get", "port", device, "tag").strip() == "77"

        # The rounds of the start may still be under way.
        eventually(stays, "the agent sees it and lets it be")
        host.control.put(WEB)
        eventually(lambda: host.vsctl("get", "port", device, "tag").strip() == "1", "news repairs")


def test_flows_are_back_at_once_after_a_restart_of_the_switch(host: Host) -> None:
    guests = start(host, A, B)
    guests.serve(B, 22)
    before = sorted(host.flows())
    host.kill_vswitchd()
    assert "ovs-vswitchd" in host.control.wait_status(A.port, "ERROR").reason
    host.start_vswitchd()
    eventually(lambda: guests.connects(A, B.address, 22), "traffic is back", 10)
    assert sorted(host.flows()) == before
    host.control.wait_status(A.port, "ACTIVE")


def test_a_port_without_device_or_bridge_says_so(host: Host) -> None:
    lost = Network(key=numbered("d", 1), network_type="vlan", physical_network="nowhere", segmentation_id=5)
    guest = Guest(5, network_id=lost.key)
    host.control.put(lost, WEB, *guest.items)
    report = host.control.wait_status(guest.port, "ERROR")
    assert "nowhere" in report.reason


def test_administratively_down_forwards_nothing(host: Host) -> None:
    guests = start(host, A, B)
    guests.serve(B, 22)
    down = Guest(1, changes={"admin_state_up": False})
    host.control.put(down.port)
    host.control.wait_status(down.port, "DOWN")
    assert not guests.connects(A, B.address, 22)
    host.control.put(A.port)
    host.control.wait_status(A.port, "ACTIVE")
    eventually(lambda: guests.connects(A, B.address, 22), "traffic is back")


def test_the_host_neither_answers_nor_listens_to_tenants(host: Host) -> None:
    guests = start(host, A, B)
    host.sh("ip addr add 10.10.10.77/32 dev lo")
    assert not guests.pings(A, "10.10.10.77")
    host.sh("ip neigh show | grep -q . && exit 1 || true")
    assert "10.10.10.77" not in host.sh("ip neigh show | grep -v FAILED | grep lladdr || true", A.namespace)
    device = A.port.device_name
    assert "inet6" not in host.sh(f"ip addr show dev {device}")
    assert guests.pings(A, B.address)


def test_connections_of_a_network_that_went_are_forgotten(host: Host) -> None:
    guests = start(host, A, B)
    guests.serve(B, 22)
    assert guests.connects(A, B.address, 22)
    assert "zone=1" in host.appctl("dpctl/dump-conntrack")
    host.control.remove(NETWORK, *A.items, *B.items, A.member(), B.member())
    host.control.settle()
    assert host.appctl("dpctl/dump-conntrack").strip() == ""
    assert not [line for line in host.flows() if "dl_dst=fa:16:3e" in line or "dl_vlan=1," in line]


def test_ipv6_neighbours_find_one_another_and_obey_their_rules(host: Host) -> None:
    six = group(*out_all(), tcp_in(3, 22, ethertype="IPv6"))
    guests = start(host, A, B, groups=(six,))
    guests.serve(B, 22)
    guests.serve(B, 23)
    address = f"{link_local(B.mac)}%eth0"
    host.sh("sysctl -qw net.ipv6.conf.eth0.accept_dad=0", B.namespace)
    eventually(lambda: guests.connects(A, address, 22), "IPv6 passes")
    assert not guests.connects(A, address, 23)
    assert not guests.connects(A, B.address, 22)


def test_the_switch_database_may_restart(host: Host) -> None:
    guests = start(host, A)
    host.ovsdb.kill()
    host.ovsdb.wait()
    host.start_ovsdb()
    host.control.put(*B.items, B.member())
    guests.up(B)
    guests.serve(B, 22)
    eventually(lambda: guests.connects(A, B.address, 22), "traffic passes")


def test_a_host_without_tunnels_says_so(host: Host) -> None:
    overlay = Network(key=numbered("d", 9), network_type="vxlan", segmentation_id=77)
    guest = Guest(7, network_id=overlay.key)
    host.control.put(overlay, WEB, *guest.items)
    assert "vxlan" in host.control.wait_status(guest.port, "ERROR").reason
