"""What an agent says of its own host: wires, neighbours, NICs, room. With values only."""

from __future__ import annotations

from pathlib import Path

from virga.agent.config import AgentConfig
from virga.agent.examine import capacity, interfaces, lldp
from virga.agent.examine.wires import Hello, understand
from virga.contract.doctor import Neighbour

UP = ["UP", "LOWER_UP"]
CONFIG = AgentConfig(
    host="h",
    directory="/tmp",
    bus="x",
    bridge_mappings={"physnet1": "br-eth1"},
    bridge_nics={"br-eth1": ["eth1"]},
)
LINKS = {"eth1": {"address": "02:00:00:00:00:01", "mtu": 1500, "flags": UP}}


def test_a_hello_is_understood_with_or_without_its_tag_and_only_by_its_own_probe() -> None:
    hello = Hello("p1", "host1", 1000, True)
    frame = hello.frame(b"\2" * 6, b"\4" * 6, 1500)
    assert len(frame) == 1500 + 18
    assert understand(frame, "p1") == hello
    assert understand(frame[:12] + frame[16:], "p1") == hello
    assert understand(frame, "p2") is None
    assert understand(b"\0" * 60, "p1") is None
    assert understand(frame[:40], "p1") is None


def test_nics_that_are_down_missing_unplugged_or_small_are_found() -> None:
    def sentences(links: dict[str, dict[str, object]], mtu: int = 1500) -> list[str]:
        return [each.sentence for each in interfaces.nics("h", interfaces.uplinks(CONFIG, links), links, mtu)]

    assert sentences(LINKS) == []
    assert "is down" in sentences({"eth1": {**LINKS["eth1"], "flags": []}})[0]
    assert "no carrier" in sentences({"eth1": {**LINKS["eth1"], "flags": ["UP"]}})[0]
    assert "MTU 1500" in sentences(LINKS, 9000)[0]
    assert "does not exist" in sentences({}, 0)[0]


def test_a_lost_address_is_found() -> None:
    links = {"eth0": {"flags": UP, "addr_info": [{"local": "192.0.2.11"}]}}
    assert interfaces.addresses("h", {"tunnel": "192.0.2.11"}, links) == []
    (found,) = interfaces.addresses("h", {"storage": "198.51.100.11"}, links)
    assert "has lost its storage address" in found.sentence


def test_only_limits_that_are_nearly_reached_are_told() -> None:
    gauges = [
        capacity.Gauge("a", 89, 100, "x"),
        capacity.Gauge("b", 90, 100, "x"),
        capacity.Gauge("c", 5, 0, "x"),
    ]
    assert [each.subject for each in capacity.nearly_full("h", gauges)] == ["b"]


def test_this_machine_has_room_and_limits_that_can_be_read() -> None:
    assert capacity.gauges({"me": 0}, Path("/proc"))[0].limit > 0


def tlv(kind: int, value: bytes) -> bytes:
    return (kind << 9 | len(value)).to_bytes(2, "big") + value


def test_neighbours_are_remembered_as_long_as_they_said() -> None:
    now = [0.0]
    ears = lldp.LldpEars(["eth1"], clock=lambda: now[0])
    body = tlv(1, b"\x04\x02\0\0\0\0\x01") + tlv(2, b"\x05Ethernet7") + tlv(3, b"\0\x78") + tlv(5, b"leaf1")
    frame = b"\0" * 12 + b"\x88\xcc" + body + tlv(0, b"")
    ears.heard("eth1", frame)
    assert ears.neighbours() == [
        Neighbour(nic="eth1", chassis="02:00:00:00:00:01", port="Ethernet7", name="leaf1")
    ]
    now[0] = 121.0
    assert ears.neighbours() == []
    ears.heard("eth1", frame[:20])
    ears.heard("eth1", b"")
    assert ears.neighbours() == []
    ears.heard("eth1", frame)
    ears.heard("eth1", frame.replace(b"\0\x78", b"\0\0"))
    assert ears.neighbours() == []
