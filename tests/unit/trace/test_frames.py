"""Frames of the probe, read back by the very program that watches them."""

from __future__ import annotations

import pytest

from virga.agent.probe_program import read_frame
from virga.trace import frames
from virga.trace.model import ICMP, ICMP6, TCP, UDP, Flight

MAC, OTHER = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"


@pytest.mark.parametrize(
    ("flight", "kind"),
    [
        (Flight(4, ICMP, "10.1.0.3", "10.2.0.5"), "request"),
        (Flight(6, ICMP6, "fd00:1::3", "fd00:2::5"), "request"),
        (Flight(4, TCP, "10.1.0.3", "10.2.0.5", 40000, 22), "request"),
        (Flight(6, TCP, "fd00:1::3", "fd00:2::5", 40000, 22), "request"),
        (Flight(4, UDP, "10.1.0.3", "10.2.0.5", 40000, 53), "udp"),
    ],
)
@pytest.mark.parametrize("payload", [b"", b"12345678", b"odd"])
def test_an_opening_is_what_it_says_and_its_checksums_are_right(
    flight: Flight, kind: str, payload: bytes
) -> None:
    frame = frames.packet(MAC, OTHER, flight, payload, 77)
    read = read_frame(frame)
    assert (read["kind"], read["source"], read["destination"]) == (kind, flight.source, flight.destination)
    assert read["macs"] == [MAC, OTHER]
    assert payload in frame
    head, body = (frame[14:34], frame[34:]) if flight.version == 4 else (b"", frame[54:])
    assert not head or frames.checksum(head) == 0
    if flight.protocol == ICMP:
        assert frames.checksum(body) == 0
    else:
        size = 4 if flight.version == 4 else 16
        addresses = frame[54 - 2 * size : 54] if flight.version == 6 else frame[26:34]
        length = len(body).to_bytes(4) + bytes(3) + bytes([flight.protocol])
        pseudo = addresses + (
            length if flight.version == 6 else bytes([0, flight.protocol]) + len(body).to_bytes(2)
        )
        assert frames.checksum(pseudo + body) == 0


def test_questions_name_the_address_and_a_tag_is_read_back() -> None:
    asked = read_frame(frames.tagged(frames.arp_question(MAC, "0.0.0.0", "10.1.0.1"), 7))
    assert (asked["kind"], asked["destination"], asked["vlan"]) == ("who-has", "10.1.0.1", 7)
    six = read_frame(frames.neighbour_question(MAC, "fd00:1::3", "fd00:1::1"))
    assert (six["kind"], six["target"], six["destination"]) == ("who-has", "fd00:1::1", "ff02::1:ff00:1")


def test_a_discovery_is_a_broadcast_that_carries_its_transaction() -> None:
    frame = frames.discover(MAC, b"\xde\xad\xbe\xef")
    read = read_frame(frame)
    assert (read["source"], read["destination"], read["ports"]) == ("0.0.0.0", "255.255.255.255", [68, 67])
    assert b"\xde\xad\xbe\xef" in frame


def test_rubbish_is_read_without_complaint() -> None:
    assert read_frame(b"")["kind"] == "other"
    assert read_frame(bytes(12) + b"\x08\x00\x45")["kind"] == "other"
    assert read_frame(bytes(12) + b"\x86\xdd" + bytes(10))["kind"] == "other"
