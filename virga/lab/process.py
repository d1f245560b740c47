"""Processes that outlive their maker: started apart, recorded by id and start time, ended only when both still fit.

A record is a small JSON file. A process id alone names nobody: ids are used again. Together with the start
time and the boot it names one process for ever, so nothing that is not ours is ever signalled.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from virga.lib.wait import wait_until


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this boot of the machine."""

    pid: int
    started: int
    boot: str

    @property
    def alive(self) -> bool:
        """Running, and not a zombie."""
        return _identity(self.pid) == self

    def signal(self, number: int) -> None:
        """Send a signal if it is still the same process. Idempotent."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive:
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return
        finally:
            os.close(descriptor)

    def namespace(self, kind: str) -> str:
        """Which namespace of this kind (``net``, ``mnt``, ``uts``) it is in; empty when it is gone."""
        return namespace_of(self.pid, kind) if self.alive else ""

    def resident_kb(self) -> int:
        try:
            fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        except OSError:
            return 0
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _identity(pid: int) -> Process | None:
    try:
        # The name of the command may contain anything; what follows its last parenthesis may not.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]), _boot())


def identify(pid: int) -> Process | None:
    """The process that has this id now."""
    return _identity(pid)


def namespace_of(pid: int, kind: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except OSError:
        return ""


def everyone() -> list[int]:
    """Ids of all processes of the machine."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def write_record(path: Path, process: Process) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(asdict(process)))
    fresh.replace(path)


def read_record(path: Path) -> Process | None:
    """The recorded process, whether or not it still lives. None without a (whole) record."""
    try:
        return Process(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def living(path: Path) -> Process | None:
    """The recorded process, if it lives."""
    found = read_record(path)
    return found if found and found.alive else None


def start(argv: Sequence[str], record: Path, output: Path, environment: Mapping[str, str]) -> Process:
    """Start ``argv`` in a session of its own, its output appended to a file, and write its record."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("ab") as stream:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd="/",
            env=dict(environment),
            start_new_session=True,
        )
    process = _identity(child.pid)
    # It may be over already: then the record names a process that is not alive, which is what it is.
    process = process or Process(child.pid, 0, _boot())
    write_record(record, process)
    # The child is waited for by whoever reaps in the end; Popen must not complain that nobody did.
    child.returncode = 0
    return process


def reap() -> None:
    """Take note of children that ended, so that they do not stay behind as zombies."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def stop(processes: Iterable[Process], patience_s: float = 5.0) -> None:
    """Ask all of them to end, and end those that did not in time. Idempotent."""
    alive = [process for process in processes if process.alive]
    for process in alive:
        process.signal(signal.SIGTERM)

    def gone() -> bool:
        reap()
        return not any(process.alive for process in alive)

    if wait_until(gone, patience_s):
        return
    for process in alive:
        process.signal(signal.SIGKILL)
    wait_until(gone, patience_s)
