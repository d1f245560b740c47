"""Captures on a real host: frames at a tap, inside br-int and in a router's namespace; nothing is left, whoever ends it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec
import pytest

from tests.lib.l3_world import GROUP, Lan, Machine, Site, network_node, router
from tests.lib.waiting import eventually
from virga.agent.drivers.daemons import strays
from virga.contract.capture import CapturedFrames, CaptureStarted, Hop, ReadCapture, StartCapture, StopCapture

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

ONE = Lan(1)
A = Machine(ONE, 5)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with network_node() as site:
        site.be(GROUP, ONE.items, A.items, router(ONE))
        site.lease(A)
        yield site


def hops(site: Site) -> list[Hop]:
    port = ONE.router_port.device_name
    return [
        Hop(name="tap", host="h", kind="tap", device=A.tap),
        Hop(name="br-int", host="h", kind="br-int", device="br-int", mirror="br-int"),
        Hop(name="qr", host="h", kind="qr", device=port, namespace=site.qrouter),
        Hop(name="nowhere", host="h", kind="tap", device="tap-none"),
    ]


def start(site: Site, number: int, seconds: float = 60.0) -> CaptureStarted:
    wish = StartCapture(id=f"{number:032x}", hops=hops(site), filter="icmp", seconds=seconds)
    return msgspec.json.decode(site.host.control.call("capture.start", wish).result, type=CaptureStarted)


def left(site: Site) -> list[str]:
    """What a capture leaves: devices, mirrors, ports, processes."""
    host = site.host
    devices = [line for line in host.sh("ip -br link").splitlines() if line.startswith("vcap")]
    mirrors = host.vsctl("--columns=name", "list", "mirror").split()
    ports = [name for name in host.vsctl("list-ports", "br-int").split() if name.startswith("vcap")]
    return [*devices, *mirrors, *ports, *(line for _, line in strays("tcpdump", f"{host.directory}/", set()))]


def test_frames_are_seen_at_every_hop_and_nothing_is_left(site: Site) -> None:
    started = start(site, 1)
    assert sorted(started.hops) == ["br-int", "qr", "tap"]
    assert "tap-none" in started.refused["nowhere"]
    seen: dict[str, bytes] = {}

    def all_seen() -> bool:
        assert site.pings(A.namespace, "10.10.10.1")
        wish = ReadCapture(id=f"{1:032x}")
        read = msgspec.json.decode(site.host.control.call("capture.read", wish).result, type=CapturedFrames)
        seen.update({frame.hop: frame.data for frame in read.frames})
        return len(seen) == 3

    eventually(all_seen, "frames at every hop")
    assert b"\x81\x00" in seen["br-int"][12:14]
    assert b"\x08\x00" in seen["tap"][12:14]
    assert bytes(site.host.control.call("agent.check", {}).result) == b"[]"
    site.host.control.call("capture.stop", StopCapture(id=f"{1:032x}"))
    assert left(site) == []


def test_it_ends_by_itself(site: Site) -> None:
    start(site, 2, seconds=0.5)
    eventually(lambda: not left(site), "nothing is left")


def test_a_fresh_agent_takes_away_what_a_killed_one_left(site: Site) -> None:
    start(site, 3)
    assert left(site)
    site.host.kill_agent()
    site.host.start_agent()
    site.host.control.settle()
    eventually(lambda: not left(site), "nothing is left")
