"""Frames of the probe as bytes: ARP and neighbour questions, echoes, TCP openings, datagrams, DHCP and DNS questions. Pure."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address, ip_address

from virga.trace.model import ICMP, ICMP6, TCP, UDP, Flight

TTL = 64
SMALL = 32
"""Bytes of payload of the small probe: the mark and some more."""
_BROADCAST = "ff:ff:ff:ff:ff:ff"


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def tagged(frame: bytes, vlan: int | None) -> bytes:
    return frame if vlan is None else frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:]


def arp_question(mac: str, source: str, target: str, destination_mac: str = _BROADCAST) -> bytes:
    """``source`` 0.0.0.0 asks without telling who asks."""
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac_bytes(mac) + ip_address(source).packed
    body += bytes(6) + ip_address(target).packed
    return mac_bytes(destination_mac) + mac_bytes(mac) + b"\x08\x06" + body


def neighbour_question(mac: str, source: str, target: str, destination_mac: str = "") -> bytes:
    """Neighbour solicitation to the solicited-node address."""
    wanted = IPv6Address(target).packed
    group = IPv6Address("ff02::1:ff00:0").packed[:13] + wanted[13:]
    body = struct.pack("!BBHI", 135, 0, 0, 0) + wanted
    if source != "::":
        body += b"\x01\x01" + mac_bytes(mac)
    return _ipv6(mac, destination_mac or _group_mac(group), IPv6Address(source).packed, group, 58, body, 255)


def _group_mac(group: bytes) -> str:
    return "33:33:" + ":".join(f"{byte:02x}" for byte in group[12:])


def _ipv6(
    mac: str, to_mac: str, source: bytes, destination: bytes, protocol: int, body: bytes, hops: int
) -> bytes:
    body = _with_checksum(body, source, destination, protocol)
    header = struct.pack("!IHBB", 6 << 28, len(body), protocol, hops) + source + destination
    return mac_bytes(to_mac) + mac_bytes(mac) + b"\x86\xdd" + header + body


def _ipv4(mac: str, to_mac: str, flight: Flight, body: bytes, *, fragment: bool) -> bytes:
    source, destination = ip_address(flight.source).packed, ip_address(flight.destination).packed
    body = _with_checksum(body, source, destination, flight.protocol)
    flags = 0 if fragment else 0x4000
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, flags, TTL, flight.protocol, 0)
    whole = head + source + destination
    whole = whole[:10] + struct.pack("!H", checksum(whole)) + whole[12:]
    return mac_bytes(to_mac) + mac_bytes(mac) + b"\x08\x00" + whole + body


_CHECKSUM_AT = {ICMP: 2, ICMP6: 2, TCP: 16, UDP: 6}


def _with_checksum(body: bytes, source: bytes, destination: bytes, protocol: int) -> bytes:
    at = _CHECKSUM_AT.get(protocol)
    if at is None:
        return body
    pseudo = b""
    if protocol != ICMP:
        length = struct.pack("!I", len(body)) if len(source) == 16 else struct.pack("!H", len(body))
        pseudo = source + destination
        pseudo += (
            length + bytes(3) + bytes([protocol]) if len(source) == 16 else bytes([0, protocol]) + length
        )
    value = checksum(pseudo + body) or (0xFFFF if protocol == UDP else 0)
    return body[:at] + struct.pack("!H", value) + body[at + 2 :]


def header_size(flight: Flight) -> int:
    upper = {TCP: 20, UDP: 8}.get(flight.protocol, 8)
    return (40 if flight.version == 6 else 20) + upper


def packet(mac: str, to_mac: str, flight: Flight, payload: bytes, number: int) -> bytes:
    """An opening of this flight: an echo request, a SYN or a datagram. ``number`` is its identifier or sequence."""
    if flight.protocol in (ICMP, ICMP6):
        kind = 128 if flight.version == 6 else 8
        body = struct.pack("!BBHHH", kind, 0, 0, number & 0xFFFF, 1) + payload
    elif flight.protocol == TCP:
        head = (flight.source_port, flight.destination_port, number & 0xFFFFFFFF, 0, 0x50, 0x02, 64240, 0, 0)
        body = struct.pack("!HHIIBBHHH", *head) + payload
    elif flight.protocol == UDP:
        body = (
            struct.pack("!HHHH", flight.source_port, flight.destination_port, 8 + len(payload), 0) + payload
        )
    else:
        body = payload
    if flight.version == 4:
        return _ipv4(mac, to_mac, flight, body, fragment=False)
    source, destination = ip_address(flight.source).packed, ip_address(flight.destination).packed
    return _ipv6(mac, to_mac, source, destination, flight.protocol, body, TTL)


def discover(mac: str, transaction: bytes) -> bytes:
    """What a machine asks first: a DHCP server that would give it an address. No lease comes of it."""
    head = struct.pack("!BBBB4sHH", 1, 1, 6, 0, transaction, 0, 0x8000) + bytes(16)
    body = head + mac_bytes(mac) + bytes(10 + 64 + 128) + b"\x63\x82\x53\x63"
    body += b"\x35\x01\x01" + b"\x37\x04\x01\x03\x06\x1a" + b"\xff"
    flight = Flight(4, UDP, "0.0.0.0", "255.255.255.255", 68, 67)
    return packet(mac, _BROADCAST, flight, body, 0)


def name_question(name: str, number: int, version: int) -> bytes:
    """A DNS question for an address record, as the payload of a datagram."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    return (
        struct.pack("!HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 0)
        + labels
        + b"\0"
        + struct.pack("!HH", 28 if version == 6 else 1, 1)
    )
