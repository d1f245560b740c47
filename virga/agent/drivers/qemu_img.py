"""Disk files by ``qemu-img``: inspect what others made with limits on time and memory, make and copy ours."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GIB = 1024**3
_FLOCK = struct.Struct("hh4xqqi4x")
_F_OFD_GETLK = 36
_WRITE_PERMISSION_BYTE = 101
LIMITS = ("prlimit", "--as=1073741824", "--cpu=30", "--")


class DiskError(Exception):
    """A disk file could not be made or is not acceptable. The text is for people."""


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """What ``qemu-img info`` says."""

    disk_format: str
    virtual_size: int
    actual_size: int
    backing: str = ""
    data_file: str = ""
    encrypted: bool = False


def _run(argv: Sequence[str], timeout_s: float = 1800) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DiskError(f"{argv[0]} did not finish: {error}") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise DiskError(said[-1] if said else f"{' '.join(argv[:3])} ended with status {done.returncode}")
    return done.stdout


def inspect(path: Path, disk_format: str) -> DiskFacts:
    """Never guesses the format: what the guest wrote must not decide how the host reads it."""
    info = json.loads(
        _run([*LIMITS, "qemu-img", "info", "-U", "--output=json", "-f", disk_format, str(path)], timeout_s=60)
    )
    specific = info.get("format-specific", {}).get("data", {})
    return DiskFacts(
        disk_format=info["format"],
        virtual_size=info["virtual-size"],
        actual_size=info.get("actual-size", 0),
        backing=info.get("full-backing-filename") or info.get("backing-filename", ""),
        data_file=specific.get("data-file", ""),
        encrypted=bool(info.get("encrypted", False)),
    )


def is_locked(path: Path) -> bool:
    """Some QEMU has it open for writing: it holds a lock on the byte that says so in QEMU's own convention."""
    with path.open("rb") as file:
        query = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _WRITE_PERMISSION_BYTE, 1, 0)
        answer = _FLOCK.unpack(fcntl.fcntl(file, _F_OFD_GETLK, query))
    return bool(answer[0] != fcntl.F_UNLCK)


def create(path: Path, size: int, disk_format: str = "qcow2") -> None:
    """An empty disk. All or nothing."""
    part = path.with_name(path.name + ".part")
    _run(["qemu-img", "create", "-q", "-f", disk_format, str(part), str(size)])
    part.rename(path)


def create_overlay(path: Path, backing: Path, backing_format: str, size: int) -> None:
    """A qcow2 that starts as ``backing`` and keeps the differences. All or nothing."""
    part = path.with_name(path.name + ".part")
    _run(
        [
            *("qemu-img", "create", "-q", "-f", "qcow2"),
            *("-F", backing_format, "-b", str(backing), str(part), str(size)),
        ]
    )
    part.rename(path)


def grow(path: Path, size: int, disk_format: str = "qcow2") -> None:
    """Idempotent; never shrinks."""
    if inspect(path, disk_format).virtual_size < size:
        _run(["qemu-img", "resize", "-q", "-f", disk_format, str(path), str(size)])


def copy(source: Path, source_format: str, target: Path, target_format: str) -> None:
    """A standalone copy, holes kept. All or nothing. The source must not be written meanwhile."""
    part = target.with_name(target.name + ".part")
    _run(
        [
            *("qemu-img", "convert", "-U", "-q", "-f", source_format),
            *("-O", target_format, str(source), str(part)),
        ]
    )
    part.rename(target)
