"""Finds the daemons and guests of this host among all processes, for an explanation. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from virga.contract.trace import ProcessReading

DHCP_FILES = ("host", "opts", "addn_hosts", "leases")
_KEY = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_KINDS = {"dnsmasq": "dnsmasq", "haproxy": "haproxy", "radvd": "radvd"}


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    argv: tuple[str, ...]

    @property
    def program(self) -> str:
        return Path(self.argv[0]).name


def read_processes(
    directory: Path, keys: Collection[str], proc: Path = Path("/proc")
) -> list[ProcessReading]:
    """Those that have a file below ``directory`` on their command line and concern one of the keys."""
    found = []
    for process in _processes(directory, proc):
        kind = _kind(process)
        text = " ".join(process.argv)
        key = next((match for match in _KEY.findall(text.replace(str(directory), "")) if match in keys), "")
        if kind and key:
            state = _state(proc, process.pid)
            found.append(ProcessReading(kind=kind, key=key, pid=process.pid, state=state, detail=text[:200]))
    return found


def _processes(directory: Path, proc: Path) -> Iterator[_Process]:
    mark = str(directory).encode()
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            raw = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if mark in raw:
            words = raw.decode(errors="replace").rstrip("\0").split("\0")
            yield _Process(int(entry.name), tuple(words))


def _kind(process: _Process) -> str:
    program = process.program
    if program.startswith("qemu-system"):
        return "qemu"
    if any(word.endswith("namespace_keeper.sh") for word in process.argv):
        return "namespace"
    return _KINDS.get(program, "")


def _state(proc: Path, pid: int) -> str:
    """The kernel's letter: R, S, D, T (stopped), Z; empty when it ended meanwhile."""
    try:
        text = (proc / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]


def read_dhcp_files(directory: Path, networks: Collection[str]) -> dict[str, str]:
    """``NETWORK/name`` -> content, of the files that dnsmasq serves from."""
    found = {}
    for network_id in networks:
        for name in DHCP_FILES:
            path = directory / "dhcp" / network_id / name
            try:
                found[f"{network_id}/{name}"] = path.read_text(errors="replace")[:100_000]
            except OSError:
                continue
    return found
