"""Listens for LLDP on the host's NICs, and remembers who introduced itself for as long as they said they may.

Nothing is sent. A neighbour that speaks no LLDP is not seen, and a Linux bridge passes no LLDP on.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from virga.agent.examine.wires import ETH_P_ALL, attach_ethertype_filter
from virga.contract.doctor import Neighbour

ETHERTYPE = 0x88CC
GROUPS = ("0180c200000e", "0180c2000003", "0180c2000000")
LOOK_AGAIN_S = 30.0
_CHASSIS, _PORT, _TTL, _NAME = 1, 2, 3, 5
_MAC_SUBTYPES = {_CHASSIS: 4, _PORT: 3}
_PACKET_ADD_MEMBERSHIP, _PACKET_MR_MULTICAST = 1, 0


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a frame says, and for how many seconds it is true."""

    neighbour: Neighbour
    seconds: int


def parse(nic: str, frame: bytes) -> Introduction | None:
    """The first four facts of an LLDP frame; None for one that is cut or lacks what it must have."""
    texts: dict[int, str] = {}
    seconds = 0
    rest = frame[14:]
    while len(rest) >= 2:
        head = int.from_bytes(rest[:2], "big")
        kind, length = head >> 9, head & 0x1FF
        value, rest = rest[2 : 2 + length], rest[2 + length :]
        if kind == 0 or len(value) < length:
            break
        if kind == _TTL and length >= 2:
            seconds = int.from_bytes(value[:2], "big")
        elif kind in _MAC_SUBTYPES and length > 1:
            is_mac = value[0] == _MAC_SUBTYPES[kind]
            texts[kind] = value[1:].hex(":") if is_mac else value[1:].decode(errors="replace")
        elif kind == _NAME:
            texts[kind] = value.decode(errors="replace")
    if _CHASSIS not in texts or _PORT not in texts:
        return None
    found = Neighbour(nic=nic, chassis=texts[_CHASSIS], port=texts[_PORT], name=texts.get(_NAME, ""))
    return Introduction(found, seconds)


class LldpEars:
    """A thread that listens on the NICs, also on those that come later."""

    def __init__(self, nics: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._nics = nics
        self._clock = clock
        self._known: dict[Neighbour, float] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        threading.Thread(target=self._run, name="lldp", daemon=True).start()

    def heard(self, nic: str, frame: bytes) -> None:
        found = parse(nic, frame)
        if found is None:
            return
        with self._lock:
            self._known.pop(found.neighbour, None)
            if found.seconds:
                self._known[found.neighbour] = self._clock() + found.seconds

    def neighbours(self) -> list[Neighbour]:
        now = self._clock()
        with self._lock:
            self._known = {neighbour: end for neighbour, end in self._known.items() if end > now}
            return sorted(self._known, key=lambda each: (each.nic, each.chassis, each.port))

    def _run(self) -> None:
        sockets: dict[str, socket.socket] = {}
        while True:
            for nic in self._nics:
                if nic not in sockets:
                    with contextlib.suppress(OSError):
                        sockets[nic] = _open(nic)
            ready = select.select(list(sockets.values()), [], [], LOOK_AGAIN_S)[0]
            for nic, sock in list(sockets.items()):
                if sock in ready:
                    try:
                        self.heard(nic, sock.recv(2048))
                    except OSError:
                        # The NIC went down or away; it is opened again when it is back.
                        sockets.pop(nic).close()


def _open(nic: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    attach_ethertype_filter(sock, ETHERTYPE)
    sock.bind((nic, ETH_P_ALL))
    number = socket.if_nametoindex(nic)
    for group in GROUPS:
        wish = struct.pack("IHH8s", number, _PACKET_MR_MULTICAST, 6, bytes.fromhex(group))
        sock.setsockopt(263, _PACKET_ADD_MEMBERSHIP, wish)
    return sock
