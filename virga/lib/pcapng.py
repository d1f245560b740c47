"""Writes captures of several interfaces into one pcapng file, as Wireshark reads it. Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
ETHERNET = 1
NANOSECONDS = 9
_IF_NAME, _IF_TSRESOL, _APPLICATION = 2, 9, 4


def header(interfaces: Sequence[str], application: str, snaplen: int = 0) -> bytes:
    """The beginning of a file: one interface description each, numbered in this order."""
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _options((_APPLICATION, application.encode()))
    blocks = [_block(SECTION, section)]
    for name in interfaces:
        options = _options((_IF_NAME, name.encode()), (_IF_TSRESOL, bytes([NANOSECONDS])))
        blocks.append(_block(INTERFACE, struct.pack("<HHI", ETHERNET, 0, snaplen) + options))
    return b"".join(blocks)


def packet(interface: int, time_ns: int, length: int, data: bytes) -> bytes:
    """One frame of an interface; ``length`` is what it had on the wire."""
    fixed = struct.pack(
        "<IIIII", interface, time_ns >> 32, time_ns & 0xFFFFFFFF, len(data), max(length, len(data))
    )
    return _block(PACKET, fixed + _padded(data))


def _options(*options: tuple[int, bytes]) -> bytes:
    found = b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options)
    return found + struct.pack("<HH", 0, 0)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _block(kind: int, body: bytes) -> bytes:
    size = len(body) + 12
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size)
