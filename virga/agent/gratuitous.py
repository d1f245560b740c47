"""Tells neighbours that an address moved here: gratuitous ARP and unsolicited neighbour advertisements.

Run as a program of its own inside a namespace (``gratuitous.py DEVICE ADDRESS [DEVICE ADDRESS ...]``), so that
the agent never changes namespace. Standard library only: it starts in a few milliseconds without site packages.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
import threading

TIMES = 3
PAUSE_S = 1.0
ETH_ARP, ETH_IPV6 = 0x0806, 0x86DD
BROADCAST = b"\xff" * 6


def arp_frame(mac: bytes, address: str, operation: int) -> bytes:
    """``operation`` 1 is a request for oneself, 2 a reply that nobody asked for; some listen to one only."""
    ip = ipaddress.IPv4Address(address).packed
    target = BROADCAST if operation == 2 else b"\0" * 6
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return BROADCAST + mac + struct.pack("!H", ETH_ARP) + head + mac + ip + target + ip


def advertisement_frame(mac: bytes, address: str) -> bytes:
    """To all nodes: router and override flags set, target link-layer address option."""
    source = ipaddress.IPv6Address(address).packed
    destination = ipaddress.IPv6Address("ff02::1").packed
    body = struct.pack("!BBHI", 136, 0, 0, 0xA0000000) + source + struct.pack("!BB", 2, 1) + mac
    pseudo = source + destination + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + destination
    return b"\x33\x33\0\0\0\x01" + mac + struct.pack("!H", ETH_IPV6) + header + body


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frames(mac: bytes, address: str) -> list[bytes]:
    if ":" in address:
        return [advertisement_frame(mac, address)]
    return [arp_frame(mac, address, 1), arp_frame(mac, address, 2)]


def main(words: list[str]) -> int:
    """A device that went away meanwhile is no error: then there is nothing to announce."""
    for turn in range(TIMES):
        if turn:
            # Not waiting for anything: the repetition is for neighbours that lost a frame.
            threading.Event().wait(PAUSE_S)
        for device, address in zip(words[::2], words[1::2], strict=True):
            try:
                with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
                    raw.bind((device, 0))
                    for frame in frames(raw.getsockname()[4], address):
                        raw.send(frame)
            except OSError:
                continue
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
