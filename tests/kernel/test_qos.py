"""Quality of service on a real switch: what is too much is dropped, what is marked is marked, restarts change nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from tests.lib.host import Host
from tests.lib.l2_world import GROUP_ID, NETWORK, Guest, Guests, group, out_all, ping_in, rule
from tests.lib.waiting import eventually
from virga.contract.items import PortQos
from virga.sdn.port_flows import link_local

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

OPEN = group(*out_all(), ping_in(3), rule(4, "ingress", ethertype="IPv6", protocol=58))
B = Guest(2)


@pytest.fixture
def host() -> Iterator[Host]:
    with Host(bridge_mappings={"physnet1": "br-eth1"}) as host:
        host.start_agent()
        yield host


def limited(**said: int) -> Guest:
    return Guest(1, changes={"qos": PortQos(**said)})


def start(host: Host, *guests: Guest) -> Guests:
    items = [item for guest in guests for item in guest.items]
    host.control.put(NETWORK, OPEN, *items, *(guest.member(GROUP_ID) for guest in guests))
    there = Guests(host)
    there.up(*guests)
    return there


def lost(host: Host, source: Guest, address: str, count: int = 40) -> int:
    """Of so many large echo requests, sent faster than they could pass, how many got no answer."""
    command = ["ping", "-n", "-q", "-c", str(count), "-i", "0.005", "-s", "1200", "-W", "1", address]
    said = host.run(command, source.namespace, check=False).stdout
    received = re.search(r"(\d+) received", said)
    assert received is not None, said
    return count - int(received[1])


def meters(host: Host) -> list[str]:
    command = ["ovs-ofctl", "-O", "OpenFlow15", "dump-meters", f"unix:{host.ovs}/br-int.mgmt"]
    return re.findall(r"meter=\d+ .*\n.*", host.run(command).stdout)


def test_what_an_instance_sends_is_limited_in_bits_and_in_packets(host: Host) -> None:
    free = Guest(1)
    guests = start(host, free, B)
    assert lost(host, free, B.address) == 0
    for qos in ({"egress_kbps": 80, "egress_burst_kbps": 80}, {"egress_kpps": 1, "egress_burst_kpps": 1}):
        host.control.put(limited(**qos).port)
        host.control.settle()
        assert bytes(host.control.call("agent.check", {}).result) == b"[]"
        if "egress_kbps" in qos:
            assert lost(host, free, B.address) > 0
        else:
            assert guests.pings(free, B.address)
    host.control.put(free.port)
    host.control.settle()
    assert lost(host, free, B.address) == 0
    assert meters(host) == []


def test_what_an_instance_receives_is_shaped_on_its_device(host: Host) -> None:
    guest = limited(ingress_kbps=80, ingress_burst_kbps=40)
    start(host, guest, B)
    assert lost(host, B, guest.address) > 0
    device = f"tap{guest.port.key[:11]}"
    assert "tbf" in host.run(["tc", "qdisc", "show", "dev", device]).stdout
    host.run(["tc", "qdisc", "del", "dev", device, "root"])
    assert b"shapers" in bytes(host.control.call("agent.check", {}).result)
    host.kill_agent()
    host.start_agent()
    host.control.settle()
    assert bytes(host.control.call("agent.check", {}).result) == b"[]"
    host.control.put(Guest(1).port)
    host.control.settle()
    assert "tbf" not in host.run(["tc", "qdisc", "show", "dev", device]).stdout


def test_what_an_instance_sends_carries_its_mark(host: Host) -> None:
    guest = limited(dscp_mark=26, egress_kbps=100_000)
    guests = start(host, guest, B)
    table = "add table inet m; add chain inet m c { type filter hook input priority 0; }; "
    rules = "add rule inet m c ip dscp 26 counter; add rule inet m c ip6 dscp 26 counter"
    host.run(["nft", "-f", "-"], B.namespace, stdin=table + rules)
    assert guests.pings(guest, B.address)
    # Not before the kernels have made sure that their addresses are nobody else's.
    eventually(lambda: guests.pings(guest, link_local(B.mac), "-I", "eth0"), "IPv6 passes")
    counted = re.findall(r"packets (\d+)", host.run(["nft", "list", "ruleset"], B.namespace).stdout)
    assert [int(n) > 0 for n in counted] == [True, True], counted


def test_limits_are_there_again_after_the_switch_came_back(host: Host) -> None:
    guest = limited(egress_kbps=80, egress_burst_kbps=80)
    guests = start(host, guest, B)
    before = meters(host)
    host.kill_vswitchd()
    host.start_vswitchd()
    eventually(lambda: guests.pings(guest, B.address), "traffic is back", 10)
    assert meters(host) == before != []
    assert lost(host, guest, B.address) > 0
