"""Frames in a pcapng file, and in words."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest

from virga.lib import pcapng
from virga.lib.frame_text import describe

MACS = bytes(range(6)) + bytes(range(6, 12))


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """Type and body of each block, whose two lengths must agree."""
    found = []
    while data:
        kind, size = struct.unpack_from("<II", data)
        assert size % 4 == 0 and struct.unpack_from("<I", data, size - 4)[0] == size
        found.append((kind, data[8 : size - 4]))
        data = data[size:]
    return found


def test_a_file_has_a_section_its_interfaces_and_its_frames() -> None:
    text = pcapng.header(["host1:tap1", "host2:eth1"], "virga") + pcapng.packet(1, 2**33 + 5, 99, b"abcde")
    (section, body), first, second, (packet, frame) = blocks(text)
    assert (section, body[:4]) == (pcapng.SECTION, b"\x4d\x3c\x2b\x1a")
    assert b"host1:tap1" in first[1] and b"host2:eth1" in second[1]
    assert struct.unpack_from("<IIIII", frame) == (1, 2, 5, 5, 99)
    assert (packet, frame[20:]) == (pcapng.PACKET, b"abcde\0\0\0")


def ip4(protocol: int, rest: bytes, fragment: int = 0) -> bytes:
    ends = IPv4Address("10.0.0.1").packed + IPv4Address("10.0.0.2").packed
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(rest), 1, fragment, 64, protocol, 0) + ends + rest


def ip6(protocol: int, rest: bytes) -> bytes:
    return (
        struct.pack("!IHBB", 6 << 28, len(rest), protocol, 64)
        + IPv6Address("::1").packed
        + IPv6Address("::2").packed
        + rest
    )


def frame(ethertype: int, packet: bytes, tag: int = 0) -> bytes:
    vlan = struct.pack("!HH", 0x8100, tag) if tag else b""
    return MACS + vlan + struct.pack("!H", ethertype) + packet


ARP = (
    struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    + MACS[:6]
    + bytes([10, 0, 0, 1])
    + MACS[:6]
    + bytes([10, 0, 0, 2])
)
TCP = struct.pack("!HHIIBBHHH", 1234, 22, 7, 8, 0x50, 0x12, 0, 0, 0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            frame(0x0800, ip4(1, b"\x08\0\0\0\0\x05\0\x01"), 1001),
            "vlan 1001 10.0.0.1 > 10.0.0.2 ICMP echo request id 5 seq 1",
        ),
        (frame(0x0800, ip4(6, TCP)), "10.0.0.1:1234 > 10.0.0.2:22 TCP [S.] seq 7 ack 8"),
        (frame(0x0800, ip4(17, struct.pack("!HHHH", 68, 67, 8, 0))), "10.0.0.1:68 > 10.0.0.2:67 UDP DHCP"),
        (frame(0x0800, ip4(1, b"\x03\x04" + b"\0" * 6)), "ICMP needs fragmentation unreachable"),
        (frame(0x0800, ip4(17, b"", 0x10)), "fragment at 128"),
        (frame(0x0806, ARP), "ARP who has 10.0.0.2, tell 10.0.0.1"),
        (frame(0x86DD, ip6(58, b"\x87" + b"\0" * 7)), "::1 > ::2 ICMPv6 neighbour solicitation"),
        (
            frame(0x86DD, ip6(0, b"\x3a\0" + b"\0" * 6 + b"\x80\0\0\0\0\x01\0\x02")),
            "ICMPv6 echo request id 1 seq 2",
        ),
        (frame(0x88CC, b""), "ethertype 0x88cc"),
        (frame(0x0800, ip4(6, TCP)[:30]), "cut short"),
        (b"abc", "cut frame"),
    ],
    ids=lambda value: value if isinstance(value, str) else "frame",
)
def test_a_frame_in_words(data: bytes, words: str) -> None:
    text = describe(data, 60)
    assert words in text and "60" in text
