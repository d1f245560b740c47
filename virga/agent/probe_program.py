"""Watches frames at many devices at once and sends a few: the observing part of an explanation.

Run as a program of its own (standard library only, so that it starts quickly): the agent never changes
namespace. It speaks lines of JSON: the task comes first, ``ready`` goes out when every socket listens; then
``send`` tasks and at last ``end``, which is answered by all sightings. Its sockets go with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from typing import Any

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING = 263, 8, 4
TP_STATUS_VLAN_VALID = 1 << 4
CLONE_NEWNET = 0x40000000
STDIN = 0
LINGER_S = 0.03
SIGHTINGS_MAX = 400
Json = dict[str, Any]


def enter(namespace: str, home: int) -> None:
    """Move this process, which has no other thread, to a namespace; ``home`` is the host's own."""
    path = f"/run/netns/{namespace}" if namespace else f"/proc/self/fd/{home}"
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"entering {namespace or 'the host'}")
    finally:
        os.close(descriptor)


def listen(device: str) -> socket.socket:
    """A socket that sees all frames of a device."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.setblocking(False)
    sock.bind((device, ETH_P_ALL))
    return sock


class Probe:
    """The sockets of one watch, and what they saw."""

    def __init__(self, task: Json, home: int) -> None:
        self.home = home
        self.marks = [
            (m["key"], bytes.fromhex(m.get("bytes_hex", "")), set(m.get("acknowledges", ())))
            for m in task["marks"]
        ]
        self.asked = {m["key"]: m.get("port", 0) for m in task["marks"]}
        self.addresses = {pack(a) for a in task.get("addresses", ())}
        self.sockets: dict[socket.socket, str] = {}
        self.sightings: list[Json] = []
        self.problems: list[str] = []
        for point in task["points"]:
            try:
                enter(point.get("namespace", ""), home)
                self.sockets[listen(point["device"])] = point["key"]
            except OSError as error:
                self.problems.append(f"{point['key']}: {error}")

    def drain(self, sock: socket.socket) -> None:
        """All frames that wait at one socket."""
        while True:
            try:
                data, ancillary, _, address = sock.recvmsg(65600, socket.CMSG_SPACE(20))
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.sockets.pop(sock, None)
                return
            way = "out" if address[2] == PACKET_OUTGOING else "in"
            self.note(self.sockets[sock], way, data, ancillary)

    def note(self, point: str, way: str, data: bytes, ancillary: list[Any]) -> None:
        """Keep the frame if it is one of ours."""
        mark = next((key for key, needle, _ in self.marks if needle and needle in data), "")
        frame = read_frame(data)
        if not mark and frame.get("ack") is not None:
            mark = next((key for key, _, acks in self.marks if frame["ack"] in acks), "")
        if not mark and not self.addresses & set(frame.pop("neighbours", ())):
            return
        for word in ("neighbours", "ack"):
            frame.pop(word, None)
        ports = frame.pop("ports", None)
        if ports and mark:
            frame["kind"] = "request" if ports[1] == self.asked[mark] else "reply"
        if len(self.sightings) < SIGHTINGS_MAX:
            vlan = frame.pop("vlan", None) if "vlan" in frame else tag_of(ancillary)
            self.sightings.append(
                {
                    "point": point,
                    "at": time.time(),
                    "way": way,
                    "mark": mark,
                    "vlan": vlan,
                    "length": len(data),
                    **frame,
                }
            )

    def seen(self) -> set[str]:
        """``mark@point@way``; ARP and neighbour discovery go by their kind. An error from the way is no answer."""
        told = (s for s in self.sightings if s["kind"] != "error")
        return {f"{s['mark'] or s['kind']}@{s['point']}@{s['way']}" for s in told}


def tag_of(ancillary: list[Any]) -> int | None:
    """The VLAN tag that the kernel took off the frame."""
    for level, kind, data in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA and len(data) >= 20:
            status, _, _, _, _, tci, _ = struct.unpack("=IIIHHHH", data[:20])
            if status & TP_STATUS_VLAN_VALID:
                return int(tci & 0xFFF)
    return None


def pack(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def text_of(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6 if len(address) == 16 else socket.AF_INET, address)


def mac_of(data: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in data)


def read_frame(data: bytes) -> Json:
    """What the frame is, in the words of a Sighting."""
    found: Json = {"kind": "other", "macs": [mac_of(data[6:12]), mac_of(data[:6])]}
    if len(data) < 14:
        return found
    kind, rest = struct.unpack("!H", data[12:14])[0], data[14:]
    if kind == 0x8100 and len(rest) >= 4:
        found["vlan"] = struct.unpack("!H", rest[:2])[0] & 0xFFF
        kind, rest = struct.unpack("!H", rest[2:4])[0], rest[4:]
    with contextlib.suppress(struct.error, IndexError, ValueError):
        if kind == 0x0806:
            read_arp(rest, found)
        elif kind == 0x0800:
            size = (rest[0] & 15) * 4
            found |= {"source": text_of(rest[12:16]), "destination": text_of(rest[16:20])}
            read_upper(rest[9], rest[size:], found)
        elif kind == 0x86DD:
            found |= {"source": text_of(rest[8:24]), "destination": text_of(rest[24:40])}
            read_upper(rest[6], rest[40:], found)
    return found


def read_arp(rest: bytes, found: Json) -> None:
    operation = struct.unpack("!H", rest[6:8])[0]
    sender, target = rest[14:18], rest[24:28]
    found["kind"] = "who-has" if operation == 1 else "is-at"
    found["source"], found["destination"] = text_of(sender), text_of(target)
    found["neighbours"] = [sender, target]
    who = mac_of(rest[8:14])
    found["text"] = (
        f"who has {text_of(target)}, tell {text_of(sender)} ({who})"
        if operation == 1
        else f"{text_of(sender)} is at {who}"
    )


def read_upper(protocol: int, rest: bytes, found: Json) -> None:
    if protocol == 1:
        found["kind"] = {8: "request", 0: "reply"}.get(rest[0], "error")
        found["text"] = f"icmp type {rest[0]} code {rest[1]}"
    elif protocol == 58:
        read_icmp6(rest, found)
    elif protocol == 6:
        source, destination, _, ack = struct.unpack("!HHII", rest[:12])
        flags = rest[13]
        found["text"] = f"tcp {source} > {destination} " + "".join(
            n for b, n in ((2, "S"), (16, "A"), (4, "R"), (1, "F")) if flags & b
        )
        if flags & 16:
            found["ack"] = ack
        found["kind"] = (
            "refusal" if flags & 4 else "reply" if flags & 18 == 18 else "request" if flags & 2 else "other"
        )
    elif protocol == 17:
        source, destination = struct.unpack("!HH", rest[:4])
        found["text"] = f"udp {source} > {destination}"
        found["kind"] = "udp"
        found["ports"] = [source, destination]


def read_icmp6(rest: bytes, found: Json) -> None:
    kind = rest[0]
    found["text"] = f"icmp6 type {kind} code {rest[1]}"
    if kind in (135, 136):
        target = rest[8:24]
        found["neighbours"] = [target]
        found["kind"] = "who-has" if kind == 135 else "is-at"
        found["text"] = f"{'who has' if kind == 135 else 'advertised:'} {text_of(target)}"
        found["target"] = text_of(target)
    else:
        found["kind"] = {128: "request", 129: "reply"}.get(kind, "error")


def shoot(shot: Json, home: int) -> None:
    """Send one frame. OSError or CalledProcessError when that cannot be."""
    frame = bytes.fromhex(shot["frame"])
    if shot.get("bridge"):
        number = shot["ofport"]
        how = (
            f"in_port=CONTROLLER packet={shot['frame']} actions=output:{number}"
            if shot.get("output")
            else f"in_port={number} packet={shot['frame']} actions=table"
        )
        command = ["ovs-ofctl", "-O", "OpenFlow15", "--timeout=2", "packet-out", shot["bridge"], how]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        return
    enter(shot.get("namespace", ""), home)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((shot["device"], 0))
        sock.send(frame)


class Session:
    """Obeys lines until ``end`` or the time is over."""

    def __init__(self, probe: Probe, longest_s: float) -> None:
        self.probe = probe
        self.deadline = time.monotonic() + longest_s
        self.wanted: set[str] | None = None
        self.until = 0.0
        self.lingering = False
        self.pending = b""

    def run(self) -> None:
        while time.monotonic() < self.deadline and self.turn():
            pass

    def turn(self) -> bool:
        """False at the end."""
        now = time.monotonic()
        if self.wanted is not None and (self.wanted <= self.probe.seen() or now >= self.until):
            complete = self.wanted <= self.probe.seen()
            if complete and not self.lingering:
                # A second answer to one question comes a moment after the first.
                self.lingering, self.until = True, now + LINGER_S
                self.wanted = {"never"}
                return True
            say({"complete": complete or self.lingering})
            self.wanted, self.lingering = None, False
        end = self.deadline if self.wanted is None else min(self.deadline, self.until)
        watched: list[Any] = [STDIN, *self.probe.sockets]
        ready = select.select(watched, [], [], max(end - now, 0.0))[0]
        for sock in ready:
            if isinstance(sock, socket.socket):
                self.probe.drain(sock)
        return self.read_lines() if STDIN in ready else True

    def read_lines(self) -> bool:
        data = os.read(STDIN, 1 << 20)
        self.pending += data
        while b"\n" in self.pending:
            line, _, self.pending = self.pending.partition(b"\n")
            if not self.obey(json.loads(line)):
                return False
        return bool(data)

    def obey(self, task: Json) -> bool:
        if task.get("end"):
            for sock in list(self.probe.sockets):
                self.probe.drain(sock)
            say({"sightings": self.probe.sightings, "problems": self.probe.problems})
            return False
        for shot in task["shots"]:
            try:
                shoot(shot, self.probe.home)
            except (OSError, subprocess.CalledProcessError) as error:
                self.probe.problems.append(f"{shot['key']}: {error}")
        self.wanted, self.until = set(task.get("until", ())), time.monotonic() + task.get("wait_s", 1.0)
        return True


def say(message: Json) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> int:
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    task = json.loads(sys.stdin.buffer.readline())
    probe = Probe(task, home)
    say({"ready": True, "problems": probe.problems})
    Session(probe, float(task.get("longest_s", 5.0))).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
