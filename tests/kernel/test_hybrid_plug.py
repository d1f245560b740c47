"""The older way to plug: tap, Linux bridge, pair; iptables and ipset decide. Same behaviour as on br-int."""

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
    ping_in,
    tcp_in,
)
from tests.lib.waiting import eventually
from virga.agent.render.hybrid_rules import set_name
from virga.contract.calls import HostDifference

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

OTHER_GROUP = numbered("b", 1)


def hybrid(number: int, groups: tuple[str, ...] = (GROUP_ID,)) -> Guest:
    device = f"qvo{numbered('a', number)[:11]}"
    return Guest(number, groups=groups, changes={"plug": "hybrid", "device_name": device})


A, B, OUTSIDER = hybrid(1), hybrid(2), hybrid(4, groups=(OTHER_GROUP,))
WEB = group(*out_all(), tcp_in(3, 22), ping_in(4, remote_group_id=GROUP_ID))
CLOSED = group(*out_all(10), key=OTHER_GROUP)


@pytest.fixture
def host() -> Iterator[Host]:
    with Host(bridge_mappings={"physnet1": "br-eth1"}, plug="hybrid") as host:
        host.start_agent()
        yield host


def start(host: Host, *guests: Guest) -> Guests:
    items = [item for guest in guests for item in guest.items]
    members = [guest.member() for guest in guests if GROUP_ID in guest.groups]
    host.control.put(NETWORK, WEB, CLOSED, *items, *members)
    there = Guests(host)
    there.up(*guests)
    return there


def test_rules_and_sets_decide_who_is_reached(host: Host) -> None:
    guests = start(host, A, B, OUTSIDER)
    for port in (22, 23):
        guests.serve(B, port)
    assert guests.connects(A, B.address, 22)
    assert not guests.connects(A, B.address, 23)
    assert guests.connects(OUTSIDER, B.address, 22)
    assert guests.pings(A, B.address)
    assert not guests.pings(OUTSIDER, B.address)
    names = f"neutron-openvswi-i{B.port.key[:10]}"
    assert names in host.sh("iptables-save") and names in host.sh("ip6tables-save")
    assert A.address in host.sh(f"ipset list {set_name(GROUP_ID, 4)}")
    assert bytes(host.control.call("agent.check", {}).result) == b"[]"


def test_a_rule_deleted_from_a_ports_chain_is_a_difference() -> None:
    """Also on a host with routers, where another driver looks after iptables as well."""
    mapped = {"physnet1": "br-eth1"}
    roles = ["network", "dhcp", "l3"]
    with Host(bridge_mappings=mapped, plug="hybrid", roles=roles, resync_s=36000.0) as host:
        host.start_agent()
        start(host, A, B)
        host.control.settle()
        chain = f"neutron-openvswi-i{B.port.key[:10]}"
        host.sh(f"iptables -D {chain} -p tcp -m tcp --dport 22 -j RETURN")
        found = msgspec.json.decode(
            bytes(host.control.call("agent.check", {}).result), type=list[HostDifference]
        )
        assert [(one.driver, one.key, one.kind) for one in found] == [("iptables", "/v4/filter", "differs")]
        assert chain in found[0].wanted and "--dport 22" in found[0].wanted


def test_lies_about_the_source_go_nowhere(host: Host) -> None:
    guests = start(host, A, B)
    guests.serve(A, 22)
    assert guests.connects(B, A.address, 22)
    host.sh("ip addr add 10.10.9.9/16 dev eth0", B.namespace)
    lie = ["socat", "-T2", "-", "TCP:10.10.10.1:22,bind=10.10.9.9,connect-timeout=2"]
    assert host.run(lie, B.namespace, check=False, stdin="hello").stdout == ""
    host.sh("ip link set eth0 address fa:16:3e:99:99:99", B.namespace)
    assert not guests.connects(B, A.address, 22)


def test_a_removed_rule_cuts_what_it_allowed(host: Host) -> None:
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


def test_nothing_is_left_of_a_port_that_went(host: Host) -> None:
    guests = start(host, A, B)
    assert guests.pings(A, B.address)
    host.control.remove(*A.items, *B.items, A.member(), B.member())
    host.control.settle()
    assert "tap" not in host.sh("ip -br link") and "qbr" not in host.sh("ip -br link")
    assert "neutron-openvswi-i" not in host.sh("iptables-save; ip6tables-save")
    assert "NIPv" not in host.sh("ipset list -n")
