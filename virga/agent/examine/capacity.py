"""Is there room: disk, memory, processes, descriptors. Pure, but for what reads /proc."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from virga.contract.doctor import Finding

LEAST_DISK_MB = 200
LEAST_MEMORY_MB = 64
FULL = 0.9
"""Share of a limit from which on it is nearly reached."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """A limit and how much of it is used."""

    subject: str
    used: int
    limit: int
    consequence: str


def room(host: str, directory: Path, proc: Path = Path("/proc")) -> list[Finding]:
    """Disk and memory."""
    found = []
    free_mb = shutil.disk_usage(directory).free // 2**20
    if free_mb < LEAST_DISK_MB:
        sentence = f"Only {free_mb} MiB are free at {directory}: disks of instances and logs cannot grow."
        found.append(_finding(host, str(directory), sentence, f"df -h {directory}"))
    nodes = os.statvfs(directory)
    if nodes.f_files and nodes.f_favail / nodes.f_files < 1 - FULL:
        sentence = f"Only {nodes.f_favail} of {nodes.f_files} inodes are free at {directory}."
        found.append(_finding(host, str(directory), sentence, f"df -i {directory}"))
    memory = {
        line.split(":")[0]: int(line.split()[1]) for line in (proc / "meminfo").read_text().splitlines()
    }
    available_mb = memory.get("MemAvailable", 0) // 1024
    if available_mb < LEAST_MEMORY_MB:
        sentence = f"Only {available_mb} MiB of memory are available: the kernel may end instances."
        found.append(_finding(host, "memory", sentence, "free -m"))
    return found


def nearly_full(host: str, gauges: Sequence[Gauge]) -> list[Finding]:
    """Those limits that are nearly reached."""
    return [
        _finding(
            host,
            gauge.subject,
            f"{gauge.subject}: {gauge.used} of at most {gauge.limit}; {gauge.consequence}.",
            "ps -eLf",
        )
        for gauge in gauges
        if gauge.limit and gauge.used >= FULL * gauge.limit
    ]


def gauges(watched: dict[str, int], proc: Path = Path("/proc")) -> list[Gauge]:
    """Processes of the machine, and descriptors of the processes ``watched`` by name."""
    tasks = int((proc / "loadavg").read_text().split()[3].partition("/")[2])
    most = min(_number(proc / "sys/kernel/pid_max"), _number(proc / "sys/kernel/threads-max"))
    found = [Gauge("processes and threads", tasks, most, "nothing more can be started soon")]
    for name, pid in sorted(watched.items()):
        limit = _open_files_limit(proc / str(pid) / "limits")
        try:
            used = len(os.listdir(proc / str(pid) / "fd"))  # noqa: PTH208
        except OSError:
            continue
        found.append(Gauge(f"descriptors of {name}", used, limit, "it cannot open more soon"))
    return found


def _open_files_limit(limits: Path) -> int:
    try:
        lines = limits.read_text().splitlines()
    except OSError:
        return 0
    words = next((line.split() for line in lines if line.startswith("Max open files")), [])
    return int(words[3]) if len(words) > 3 and words[3].isdigit() else 0


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 2**31


def _finding(host: str, subject: str, sentence: str, mend: str) -> Finding:
    return Finding(
        check="capacity",
        host=host,
        subject=subject,
        sentence=sentence,
        mend=f"virga host exec {host} -- {mend}",
    )
