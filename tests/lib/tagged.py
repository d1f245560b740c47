"""Run inside a namespace: ask, in a frame with an 802.1Q tag, who has an address. No VLAN device is needed.

python tagged.py DEVICE MAC VLAN OWN_ADDRESS ADDRESS
"""

from __future__ import annotations

import socket
import struct
import sys


def main(device: str, mac: str, vlan: str, own: str, asked: str) -> None:
    source = bytes.fromhex(mac.replace(":", ""))
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    arp += source + socket.inet_aton(own) + bytes(6) + socket.inet_aton(asked)
    frame = b"\xff" * 6 + source + struct.pack("!HHH", 0x8100, int(vlan), 0x0806) + arp
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((device, 0))
        sock.send(frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
