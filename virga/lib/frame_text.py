"""A frame in one line of words, for people who watch a capture. Pure; what is cut or unknown is said as far as it goes."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

VLAN = (0x8100, 0x88A8)
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
ICMP_NAMES = {0: "echo reply", 3: "unreachable", 5: "redirect", 8: "echo request", 11: "time exceeded"}
ICMP6_NAMES = {
    1: "unreachable", 2: "packet too big", 3: "time exceeded", 128: "echo request", 129: "echo reply",
    133: "router solicitation", 134: "router advertisement", 135: "neighbour solicitation", 136: "neighbour advertisement",
}  # fmt: skip
UNREACHABLE = {0: "net", 1: "host", 2: "protocol", 3: "port", 4: "needs fragmentation", 13: "filtered"}
FLAGS = "FSRP.U"
EXTENSIONS = (0, 43, 44, 60)


def describe(frame: bytes, length: int) -> str:
    """Addresses, VLAN tag, protocol and what matters of it."""
    if len(frame) < 14:
        return f"cut frame of {length} bytes"
    ethertype, start, tags = int.from_bytes(frame[12:14], "big"), 14, ""
    while ethertype in VLAN and len(frame) >= start + 4:
        tag, ethertype = struct.unpack_from("!HH", frame, start)
        tags += f"vlan {tag & 0xFFF} "
        start += 4
    try:
        inner = _network(ethertype, frame[start:])
    except (struct.error, IndexError, ValueError):
        inner = "cut short"
    macs = f"{frame[6:12].hex(':')} > {frame[:6].hex(':')}"
    return f"{macs} {tags}{inner} ({length})"


def _network(ethertype: int, packet: bytes) -> str:
    if ethertype == ARP:
        return _arp(packet)
    if ethertype == IPV4:
        header = (packet[0] & 0xF) * 4
        source, destination = (str(IPv4Address(packet[at : at + 4])) for at in (12, 16))
        offset = int.from_bytes(packet[6:8], "big") & 0x1FFF
        if offset:
            return f"{source} > {destination} fragment at {offset * 8}"
        return _transport(packet[9], source, destination, packet[header:])
    if ethertype == IPV6:
        source, destination = (str(IPv6Address(packet[at : at + 16])) for at in (8, 24))
        protocol, rest = packet[6], packet[40:]
        while protocol in EXTENSIONS and len(rest) >= 8:
            protocol, rest = rest[0], rest[8 if protocol == 44 else (rest[1] + 1) * 8 :]
        return _transport(protocol, source, destination, rest)
    return f"ethertype {ethertype:#06x}"


def _arp(packet: bytes) -> str:
    operation = int.from_bytes(packet[6:8], "big")
    sender, target = IPv4Address(packet[14:18]), IPv4Address(packet[24:28])
    if operation == 1:
        return f"ARP who has {target}, tell {sender}"
    return f"ARP {sender} is at {packet[8:14].hex(':')}"


def _transport(protocol: int, source: str, destination: str, rest: bytes) -> str:
    if protocol in (ICMP, ICMP6):
        return f"{source} > {destination} {_icmp(protocol, rest)}"
    if protocol in (TCP, UDP):
        ports = struct.unpack_from("!HH", rest)
        ends = [
            f"[{a}]:{p}" if ":" in a else f"{a}:{p}"
            for a, p in zip((source, destination), ports, strict=True)
        ]
        return f"{ends[0]} > {ends[1]} {_tcp(rest) if protocol == TCP else _udp(ports)}"
    return f"{source} > {destination} protocol {protocol}"


def _icmp(protocol: int, rest: bytes) -> str:
    kind, code = rest[0], rest[1]
    name = (ICMP_NAMES if protocol == ICMP else ICMP6_NAMES).get(kind, f"type {kind}")
    word = "ICMP" if protocol == ICMP else "ICMPv6"
    if "echo" in name:
        number, sequence = struct.unpack_from("!HH", rest, 4)
        return f"{word} {name} id {number} seq {sequence}"
    if protocol == ICMP and kind == 3:
        return f"{word} {UNREACHABLE.get(code, f'code {code}')} {name}"
    return f"{word} {name}"


def _tcp(rest: bytes) -> str:
    sequence, acknowledged, offset, flags = struct.unpack_from("!IIBB", rest, 4)
    letters = "".join(letter for bit, letter in enumerate(FLAGS) if flags >> bit & 1)
    del offset
    return f"TCP [{letters or 'none'}] seq {sequence} ack {acknowledged}"


def _udp(ports: tuple[int, ...]) -> str:
    known = {53: "DNS", 67: "DHCP", 68: "DHCP", 546: "DHCPv6", 547: "DHCPv6", 4789: "VXLAN"}
    return next((f"UDP {known[port]}" for port in ports if port in known), "UDP")
