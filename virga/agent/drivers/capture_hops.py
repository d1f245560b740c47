"""Listens at several devices of this host at once, and inside of a bridge of Open vSwitch by a mirror of all its ports.

Patch ports have no device, and Open vSwitch selects them neither as source nor as destination of a mirror: so the whole
bridge is mirrored, which shows each frame once, with its local tag.

Marks, by which a fresh agent takes away what a former one left: the filter file below ``DIR/capture`` on the command
line of each tcpdump; ``external_ids:virga-capture`` on mirrors and ports of Open vSwitch; device names that begin with
``vcap``. Each tcpdump also ends by itself some seconds after its capture should have.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from virga.agent.drivers.daemons import strays
from virga.agent.drivers.ovsdb import CAPTURE_MARK
from virga.contract.capture import Hop
from virga.lib.log import log_for
from virga.lib.run import CommandError, Runner, in_namespace, run

log = log_for(__name__)

DEVICES = "vcap"
LISTENING = "listening on"
READY_S = 5.0
GRACE_S = 10
SYSCTL = Path("/proc/sys/net/ipv6/conf")
_FILE_HEADER, _RECORD_HEADER = 24, struct.Struct("<IIII")

Receive = Callable[[str, int, int, bytes], None]
"""Hop, time in nanoseconds, length on the wire, what was kept of the frame."""


class FilterError(Exception):
    """The filter is not one that libpcap understands; its own words."""


class HopError(Exception):
    """A place cannot be listened at."""


def whole_filter(expression: str) -> str:
    """The expression, tried on tagged frames too: libpcap looks behind a tag only where it is told."""
    wanted = expression.strip()
    if not wanted or "vlan" in wanted.split():
        return wanted
    return f"({wanted}) or (vlan and ({wanted}))"


def check_filter(expression: str, runner: Runner = run) -> str:
    """What to give to tcpdump. Raises FilterError in libpcap's words."""
    wanted = whole_filter(expression)
    if not wanted:
        return ""
    # Tried alone first, so that the complaint is about what was written.
    for each in (expression.strip(), wanted):
        try:
            runner(["tcpdump", "-d", "-y", "EN10MB", "--", each])
        except CommandError as error:
            lines = (error.completed.stderr.strip() or str(error)).splitlines()
            raise FilterError(lines[-1].removeprefix("tcpdump: ")) from error
    return wanted


@dataclass(slots=True)
class _Ear:
    """One tcpdump."""

    hop: Hop
    process: subprocess.Popen[bytes]
    ready: threading.Event
    said: list[str]


class CaptureHops:
    """Makes and removes what captures need on this host."""

    def __init__(self, directory: Path, ovsdb_socket: Path, runner: Runner = run) -> None:
        self._directory = directory / "capture"
        self._ovsdb = ovsdb_socket
        self._run = runner

    def sweep(self) -> None:
        """Take away what a former agent left. Idempotent."""
        for pid, _ in strays("tcpdump", f"{self._directory}/", set()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(CommandError, OSError):
            self._remove_mirrors("")
        if self._directory.is_dir():
            for path in self._directory.iterdir():
                path.unlink(missing_ok=True)

    def open(self, capture_id: str, wish: CaptureWish, receive: Receive) -> tuple[list[_Ear], dict[str, str]]:
        """Listen at all hops; returns those that work, and the others' names with the reason. Raises FilterError."""
        expression = check_filter(wish.filter, self._run)
        self._directory.mkdir(parents=True, exist_ok=True)
        file = self._directory / f"{capture_id}.filter"
        file.write_text(expression)
        ears: list[_Ear] = []
        refused: dict[str, str] = {}
        for number, hop in enumerate(wish.hops):
            try:
                device = self._mirror(capture_id, number, hop) if hop.mirror else hop.device
                ears.append(_listen(hop, device, file, wish, receive))
            except (CommandError, OSError, HopError) as error:
                refused[hop.name] = str(error)
        for ear in list(ears):
            if not ear.ready.wait(READY_S) or ear.process.poll() is not None:
                refused[ear.hop.name] = " ".join(ear.said[-2:]) if ear.said else "tcpdump does not start"
                _end(ear.process)
                ears.remove(ear)
        return ears, refused

    def close(self, capture_id: str, ears: Sequence[_Ear]) -> None:
        """Nothing of the capture is left. Idempotent."""
        for ear in ears:
            _end(ear.process)
        with contextlib.suppress(CommandError):
            self._remove_mirrors(capture_id)
        (self._directory / f"{capture_id}.filter").unlink(missing_ok=True)

    # -- inside of a bridge ----------------------------------------------------------------------

    def _mirror(self, capture_id: str, number: int, hop: Hop) -> str:
        """A pair of devices: Open vSwitch sends copies into one end, where they are listened at. Mark: see above."""
        name = f"{DEVICES}{capture_id[:6]}{number:02d}"
        other = f"{name}x"
        self._run(["ip", "link", "add", name, "type", "veth", "peer", "name", other])
        for end in (name, other):
            switch = SYSCTL / end / "disable_ipv6"
            if switch.exists():
                switch.write_text("1")
            self._run(["ip", "link", "set", "dev", end, "arp", "off", "up"])
        mark = f"external_ids:{CAPTURE_MARK}={capture_id}"
        self._vsctl(
            *("--", "add-port", hop.mirror, name, "--", "set", "port", name, mark),
            *("--", "--id=@out", "get", "port", name, "--", "--id=@mirror", "create", "mirror"),
            *(f"name={name}", "select-all=true", "output-port=@out", mark),
            *("--", "add", "bridge", hop.mirror, "mirrors", "@mirror"),
        )
        return name

    def _remove_mirrors(self, capture_id: str) -> None:
        """Mirrors, ports and devices of one capture, or of all that ever were."""
        for bridge, mirror in self._marked_mirrors(capture_id):
            self._vsctl("--if-exists", "remove", "bridge", bridge, "mirrors", mirror)
        for name in self._found("port", capture_id):
            self._vsctl("--if-exists", "del-port", name)
        links = json.loads(self._run(["ip", "-j", "link", "show"]).stdout or "[]")
        prefix = DEVICES + capture_id[:6]
        for name in sorted(link["ifname"] for link in links if link["ifname"].startswith(prefix)):
            if not name.endswith("x"):
                self._run(["ip", "link", "del", "dev", name], check=False)

    def _marked_mirrors(self, capture_id: str) -> list[tuple[str, str]]:
        marked = set(self._found("mirror", capture_id, column="_uuid"))
        if not marked:
            return []
        text = self._vsctl("--format=json", "--columns=name,mirrors", "list", "bridge")
        found = []
        for name, mirrors in json.loads(text)["data"]:
            ids = [mirrors] if mirrors[0] == "uuid" else mirrors[1]
            found += [(name, each[1]) for each in ids if each[1] in marked]
        return found

    def _found(self, table: str, capture_id: str, column: str = "name") -> list[str]:
        text = self._vsctl("--format=json", f"--columns={column},external_ids", "list", table)
        found = []
        for value, (_, ids) in json.loads(text)["data"]:
            mark = dict(ids).get(CAPTURE_MARK)
            if mark is not None and capture_id in ("", mark):
                found.append(value[1] if isinstance(value, list) else value)
        return found

    def _vsctl(self, *words: str) -> str:
        return self._run(["ovs-vsctl", "--timeout=5", f"--db=unix:{self._ovsdb}", *words]).stdout


@dataclass(frozen=True, slots=True)
class CaptureWish:
    """What to listen for, where and how long."""

    hops: Sequence[Hop]
    filter: str
    seconds: float
    snaplen: int


def _listen(hop: Hop, device: str, file: Path, wish: CaptureWish, receive: Receive) -> _Ear:
    """A tcpdump whose frames are handed over as they come. Mark: the file on its command line."""
    limit = str(int(wish.seconds) + GRACE_S)
    argv = in_namespace(
        hop.namespace,
        *("timeout", "-k", "1", limit),
        *("tcpdump", "-i", device, "-n", "-U", "-w", "-", "-s", str(wish.snaplen)),
        *("--immediate-mode", "--time-stamp-precision=nano", "-F", str(file)),
    )
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    ear = _Ear(hop, process, threading.Event(), [])
    assert process.stdout is not None and process.stderr is not None
    out, words = process.stdout, process.stderr
    threading.Thread(target=_read_frames, args=(out, hop.name, receive), name="capture", daemon=True).start()
    threading.Thread(target=_read_words, args=(words, ear), name="capture-words", daemon=True).start()
    return ear


def _read_words(stream: IO[bytes], ear: _Ear) -> None:
    with stream:
        for line in stream:
            text = line.decode(errors="replace").strip().removeprefix("tcpdump: ")
            if LISTENING in text:
                ear.ready.set()
            elif text:
                ear.said.append(text)
    ear.ready.set()


def _read_frames(stream: IO[bytes], hop: str, receive: Receive) -> None:
    """Records of a pcap stream with nanoseconds, until it ends."""
    with stream:
        if len(stream.read(_FILE_HEADER)) < _FILE_HEADER:
            return
        while len(head := stream.read(_RECORD_HEADER.size)) == _RECORD_HEADER.size:
            seconds, nanoseconds, kept, length = _RECORD_HEADER.unpack(head)
            data = stream.read(kept)
            if len(data) < kept:
                return
            receive(hop, seconds * 1_000_000_000 + nanoseconds, length, data)


def _end(process: subprocess.Popen[bytes]) -> None:
    """TERM, which ``timeout`` passes on; KILL for the whole session when that is not heeded."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(3)
