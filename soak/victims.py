"""Processes of one lab, found by that lab's own records, and their end."""

from __future__ import annotations

import contextlib
import json
import random
import signal
from pathlib import Path

from virga.lab.process import Process, identify, read_record

KINDS = ("server", "agent", "vswitchd", "ovsdb", "dnsmasq", "tgtd", "guest", "qemu")
HARMLESS = ("server", "agent")
"""Whose death costs no packet."""


def _recorded(state_dir: Path, words: str) -> list[Process]:
    records = [read_record(path) for path in sorted((state_dir / "run").glob(f"*{words}*.pid.json"))]
    return [record for record in records if record is not None and record.alive]


def _by_command(state_dir: Path, program: str) -> list[Process]:
    """Daemons that carry a path of this lab on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if program.encode() in words[0] and any(str(state_dir).encode() in word for word in words[1:]):
                process = identify(int(entry.name))
                if process is not None:
                    found.append(process)
    return found


def _inside(state_dir: Path, program: str) -> list[Process]:
    """Daemons whose only mark is the lab's host that they live in: its network namespace's holder."""
    spaces = set()
    for record in (state_dir / "hosts").glob("*/holder.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            spaces.add(str(Path(f"/proc/{json.loads(record.read_text())['pid']}/ns/mnt").readlink()))
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                name = (entry / "comm").read_text().strip()
                if name == program and str((entry / "ns" / "mnt").readlink()) in spaces:
                    process = identify(int(entry.name))
                    if process is not None:
                        found.append(process)
    return found


def _command_line(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def living(state_dir: Path, kind: str) -> list[Process]:
    """All processes of a kind that this lab has now."""
    if kind in ("server", "agent", "vswitchd", "ovsdb"):
        return _recorded(state_dir, kind)
    if kind == "dnsmasq":
        return _by_command(state_dir, "dnsmasq")
    if kind == "tgtd":
        return _inside(state_dir, "tgtd")
    return _by_command(state_dir, "qemu-system" if kind == "qemu" else "unshare")


def guests(state_dir: Path, kind: str, ident: str) -> list[Process]:
    """The processes of this guest."""
    return [p for p in living(state_dir, kind) if ident and ident.encode() in _command_line(p.pid)]


def runs(state_dir: Path, kind: str, ident: str) -> bool:
    return bool(guests(state_dir, kind, ident))


def kill(state_dir: Path, kind: str, rng: random.Random, guest: str) -> str:
    """Kill -9 one of a kind (of the guests, the one of this id). What was killed, for the record."""
    found = guests(state_dir, kind, guest) if kind in ("guest", "qemu") else living(state_dir, kind)
    found.sort(key=lambda process: process.pid)
    if not found:
        return ""
    process = rng.choice(found)
    process.signal(signal.SIGKILL)
    return f"{kind} {process.pid}"
