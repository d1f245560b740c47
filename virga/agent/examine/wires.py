"""Tries the wires to other hosts: a tagged frame by every VLAN, small and full-size, and who is heard. Leaves nothing.

The frames have an ethertype for local experiments and go to the other NIC's own address: a switch on the way that
does not know it sends them on to no port of an instance.
"""

from __future__ import annotations

import contextlib
import ctypes
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from virga.contract.doctor import Heard, ProbeWires, WiresProbed
from virga.lib.run import CommandError, Runner, run

ETHERTYPE = 0x88B5
MAGIC = b"virga wire probe "
ETH_P_ALL = 3
SMALL = 60
SAY_AGAIN_S = 0.25
_SO_ATTACH_FILTER = 26
_ETHERNET, _TAG = 14, 4


@dataclass(frozen=True, slots=True)
class Hello:
    """What a frame of the probe says."""

    probe: str
    host: str
    vlan: int
    large: bool

    def frame(self, source: bytes, destination: bytes, mtu: int) -> bytes:
        """As it goes onto the wire; ``large`` fills the MTU."""
        tag = struct.pack("!HH", 0x8100, self.vlan) if self.vlan else b""
        words = "\n".join((self.probe, self.host, str(self.vlan), "large" if self.large else "small"))
        payload = MAGIC + words.encode() + b"\n"
        size = mtu if self.large else SMALL - _ETHERNET
        return destination + source + tag + struct.pack("!H", ETHERTYPE) + payload.ljust(size, b"\0")


def understand(frame: bytes, probe: str) -> Hello | None:
    """A frame of this probe; the tag may have been taken off by the kernel, so the frame itself says its VLAN."""
    start = frame.find(MAGIC)
    if start < 0:
        return None
    words = frame[start + len(MAGIC) :].split(b"\n", 4)
    if len(words) < 5 or words[0].decode(errors="replace") != probe or not words[2].isdigit():
        return None
    return Hello(probe, words[1].decode(errors="replace"), int(words[2]), words[3] == b"large")


def probe(wish: ProbeWires, host: str, macs: Mapping[str, str], mtus: Mapping[str, int]) -> WiresProbed:
    """Speak and listen at once, for as long as was asked. Needs no mark: sockets end with the call."""
    names = sorted({target.nic for target in wish.targets})
    heard: dict[Heard, None] = {}
    with contextlib.ExitStack() as stack:
        sockets = {name: stack.enter_context(_open(name)) for name in names}

        def say() -> None:
            for nic, frame in _frames(wish, host, macs, mtus):
                # A NIC that is down or too small says so elsewhere: here its frames are simply not heard.
                with contextlib.suppress(OSError):
                    sockets[nic].send(frame)

        for name, frame in _listen(sockets, wish.seconds, say):
            hello = understand(frame, wish.id)
            if hello is not None and hello.host != host:
                heard[Heard(host=hello.host, nic=name, vlan=hello.vlan, large=hello.large)] = None
    return WiresProbed(heard=list(heard), silent=silent(wish.pings))


def _frames(
    wish: ProbeWires, host: str, macs: Mapping[str, str], mtus: Mapping[str, int]
) -> Iterator[tuple[str, bytes]]:
    for target in wish.targets:
        source, destination = (bytes.fromhex(m.replace(":", "")) for m in (macs[target.nic], target.mac))
        for vlan in target.vlans:
            for large in (False, True):
                hello = Hello(wish.id, host, vlan, large)
                yield target.nic, hello.frame(source, destination, mtus[target.nic])


def _listen(
    sockets: Mapping[str, socket.socket], seconds: float, say: Callable[[], None]
) -> Iterator[tuple[str, bytes]]:
    end = time.monotonic() + seconds
    by_number = {sock.fileno(): name for name, sock in sockets.items()}
    next_word = time.monotonic()
    while (now := time.monotonic()) < end:
        if now >= next_word:
            say()
            next_word = now + SAY_AGAIN_S
        for number in select.select(list(by_number), [], [], max(0.0, min(end, next_word) - now))[0]:
            name = by_number[number]
            yield name, sockets[name].recv(65536)


def _open(nic: str) -> socket.socket:
    """Sees every frame with our ethertype, before anything else of the kernel drops it."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    attach_ethertype_filter(sock, ETHERTYPE)
    sock.bind((nic, ETH_P_ALL))
    return sock


def attach_ethertype_filter(sock: socket.socket, ethertype: int) -> None:
    """Let the kernel hand over frames of this type alone, tagged ones too."""
    accept, deny = (0x06, 0, 0, 0x40000), (0x06, 0, 0, 0)
    program = (
        (0x28, 0, 0, 12),
        (0x15, 3, 0, ethertype),
        (0x15, 0, 3, 0x8100),
        (0x28, 0, 0, 16),
        (0x15, 0, 1, ethertype),
        accept,
        deny,
    )
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code)
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(buffer))
    )


def silent(pings: Mapping[str, str], runner: Runner = run) -> dict[str, str]:
    """Names whose address does not answer, neither at the first nor at the second time."""
    found = {}
    for name, address in sorted(pings.items()):
        try:
            done = runner(["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", address], check=False)
        except CommandError as error:
            found[name] = str(error)
            continue
        if done.returncode:
            lines: Sequence[str] = (done.stdout + done.stderr).strip().splitlines()
            found[name] = next((line for line in lines if "packet" in line), "no answer")
    return found
