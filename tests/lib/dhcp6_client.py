"""A DHCPv6 client of one exchange, for tests inside namespaces: ``DEVICE MAC [information]`` prints what it was given."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator

SOLICIT, INFORMATION = 1, 11
CLIENT_ID, IA_NA, IA_ADDR, REQUESTED, RAPID_COMMIT, DNS = 1, 3, 5, 6, 14, 23


def option(code: int, data: bytes) -> bytes:
    return struct.pack("!HH", code, len(data)) + data


def options(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        code, length = struct.unpack("!HH", data[:4])
        yield code, data[4 : 4 + length]
        data = data[4 + length :]


def main(device: str, mac: str, information: bool) -> None:
    kind = INFORMATION if information else SOLICIT
    message = struct.pack("!I", kind << 24 | 0x123456)
    message += option(CLIENT_ID, struct.pack("!HH", 3, 1) + bytes.fromhex(mac.replace(":", "")))
    message += option(REQUESTED, struct.pack("!H", DNS))
    if not information:
        message += option(RAPID_COMMIT, b"") + option(IA_NA, struct.pack("!III", 1, 0, 0))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        client.bind(("::", 546))
        client.settimeout(1.0)
        for _ in range(5):
            client.sendto(message, ("ff02::1:2", 547, 0, socket.if_nametoindex(device)))
            try:
                answer = client.recv(2048)
            except TimeoutError:
                continue
            report(answer)
            return


def report(answer: bytes) -> None:
    for code, data in options(answer[4:]):
        if code == IA_NA:
            for inner, value in options(data[12:]):
                if inner == IA_ADDR:
                    print(f"address={ipaddress.ip_address(value[:16])}")
        elif code == DNS:
            for start in range(0, len(data), 16):
                print(f"dns={ipaddress.ip_address(data[start : start + 16])}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "information" in sys.argv[3:])
