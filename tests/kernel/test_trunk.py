"""Trunks: frames that a guest tags belong to the network of the sub-port, untagged ones to the parent's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.lib import tagged
from tests.lib.host import Host
from tests.lib.l2_world import GROUP_ID, NETWORK, Guest, Guests, group, numbered, out_all, rule
from virga.contract.items import FixedIp, Network, Port, SubPort

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

SECOND = Network(key=numbered("d", 2), network_type="vlan", physical_network="physnet1", segmentation_id=200)
EVERYTHING = group(*out_all(), rule(3, "ingress"))
TRUNK_ID = numbered("f", 7)
NEIGHBOUR, FAR = Guest(2), Guest(3, network_id=SECOND.key)
SUB = Port(
    key=numbered("a", 50),
    network_id=SECOND.key,
    mac_address=Guest(1).mac,
    device_name="tapa0000032-aa",
    device_owner="trunk:subport",
    device_id=TRUNK_ID,
    fixed_ips=[FixedIp("s2", "10.10.10.50", 16)],
    security_group_ids=[GROUP_ID],
)
PLAIN = Guest(1)
PARENT = Guest(
    1, changes={"trunk_id": TRUNK_ID, "sub_ports": [SubPort(SUB.key, SECOND.key, 5, SUB.mac_address)]}
)


@pytest.fixture
def host() -> Iterator[Host]:
    with Host(bridge_mappings={"physnet1": "br-eth1"}) as host:
        host.start_agent()
        yield host


def asks(host: Host, vlan: int, own: str, address: str) -> bool:
    """Whether the address answers to a question in a frame with this tag."""
    listener = subprocess.Popen(
        host.inside(
            ["timeout", "4", "tcpdump", "-nnl", "-c", "1", f"vlan {vlan} and arp[6:2] = 2"],
            PARENT.namespace,
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert listener.stderr is not None
    while "listening on" not in listener.stderr.readline():
        assert listener.poll() is None
    script = str(Path(tagged.__file__).resolve())
    host.run([sys.executable, script, "eth0", PARENT.mac, str(vlan), own, address], PARENT.namespace)
    heard, _ = listener.communicate(timeout=10)
    return f"{address} is-at" in heard


def test_each_tag_meets_its_network(host: Host) -> None:
    host.control.put(NETWORK, SECOND, EVERYTHING, *PARENT.items, SUB, *NEIGHBOUR.items, *FAR.items)
    guests = Guests(host)
    guests.up(PARENT, NEIGHBOUR, FAR)
    host.control.wait_status(SUB, "ACTIVE")
    assert guests.pings(PARENT, NEIGHBOUR.address)
    assert not guests.pings(PARENT, FAR.address)
    assert asks(host, 5, "10.10.10.50", FAR.address)
    assert not asks(host, 6, "10.10.10.50", FAR.address)
    assert not asks(host, 5, "10.10.10.51", FAR.address)
    assert not asks(host, 5, "10.10.10.50", NEIGHBOUR.address)
    ports = host.vsctl("list-ports", f"tbr-{TRUNK_ID[:11]}").split()
    assert sorted(name[:4] for name in ports) == ["spt-", "tapa", "tpt-"]


def test_a_port_becomes_a_trunk_and_an_ordinary_port_again(host: Host) -> None:
    host.control.put(NETWORK, SECOND, EVERYTHING, *PLAIN.items, *NEIGHBOUR.items)
    guests = Guests(host)
    guests.up(PLAIN, NEIGHBOUR)
    assert guests.pings(PLAIN, NEIGHBOUR.address)
    host.control.put(PARENT.port, SUB)
    host.control.wait_status(SUB, "ACTIVE")
    host.control.settle()
    assert guests.pings(PLAIN, NEIGHBOUR.address)
    host.control.change(put=(PLAIN.port,), remove=(SUB,))
    host.control.settle()
    assert guests.pings(PLAIN, NEIGHBOUR.address)
    assert host.vsctl("list-br").split() == ["br-eth1", "br-int"]
    assert "spi-" not in host.vsctl("show")


def test_a_restarted_agent_leaves_a_trunk_alone(host: Host) -> None:
    items = [NETWORK, SECOND, EVERYTHING, *PARENT.items, SUB, *NEIGHBOUR.items]
    host.control.put(*items)
    guests = Guests(host)
    guests.up(PARENT, NEIGHBOUR)
    host.control.wait_status(SUB, "ACTIVE")
    before = sorted(host.flows()), host.vsctl("--columns=_uuid,name,tag", "list", "port")
    host.kill_agent()
    host.start_agent()
    host.control.settle()
    assert (sorted(host.flows()), host.vsctl("--columns=_uuid,name,tag", "list", "port")) == before
    assert bytes(host.control.call("agent.check", {}).result) == b"[]"


def test_sub_port_items_are_plain_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(PARENT.port), type=Port) == PARENT.port
