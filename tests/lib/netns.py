"""Named network namespaces for kernel tests: made, wired, used and always removed."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ECHO = Path(__file__).with_name("tcp_echo.py")


def sh(*argv: str, check: bool = True, timeout_s: float = 20.0) -> str:
    """Standard output of a command; the error tells what it said."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


@functools.cache
def private_mounts() -> None:
    """Give this process its own mounts, so that names of namespaces made here are seen nowhere else."""
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newns = 0x00020000
    if libc.unshare(clone_newns) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    sh("mount", "--make-rprivate", "/")
    Path("/run/netns").mkdir(parents=True, exist_ok=True)
    sh("mount", "-t", "tmpfs", "tmpfs", "/run/netns")


class Net:
    """The namespaces of one test."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.processes: list[subprocess.Popen[str]] = []

    def add(self, prefix: str) -> str:
        name = f"{prefix}-{uuid.uuid4()}"
        sh("ip", "netns", "add", name)
        self.names.append(name)
        sh("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def wire(self, one: tuple[str, str], other: tuple[str, str]) -> None:
        """A veth pair between two ``(namespace, device)``, up at both ends."""
        sh(
            *("ip", "link", "add", one[1], "netns", one[0], "type", "veth"),
            *("peer", "name", other[1], "netns", other[0]),
        )
        for namespace, device in (one, other):
            sh("ip", "-n", namespace, "link", "set", device, "up")

    def ip(self, namespace: str, *words: str) -> str:
        return sh("ip", "-n", namespace, *words)

    def run(self, namespace: str, *argv: str, check: bool = True, timeout_s: float = 20.0) -> str:
        return sh("ip", "netns", "exec", namespace, *argv, check=check, timeout_s=timeout_s)

    def spawn(self, namespace: str, *argv: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.processes.append(process)
        return process

    def serve(self, namespace: str, port: int) -> None:
        """A TCP server that tells each caller the address it came from, then echoes."""
        process = self.spawn(namespace, sys.executable, "-I", "-S", str(ECHO), "serve", str(port))
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    def seen_as(self, namespace: str, host: str, port: int) -> str:
        """The address that the server at ``host`` sees when asked from the namespace; empty when unreachable."""
        argv = (sys.executable, "-I", "-S", str(ECHO), "ask", host, str(port))
        return self.run(namespace, *argv, check=False).strip()

    def talk(self, namespace: str, host: str, port: int) -> subprocess.Popen[str]:
        """A connection that stays: each line written to its input comes back, or ``closed``."""
        process = self.spawn(namespace, sys.executable, "-I", "-S", str(ECHO), "talk", host, str(port))
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        return process

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()
        for name in self.names:
            for pid in sh("ip", "netns", "pids", name, check=False).split():
                subprocess.run(["kill", "-9", pid], check=False, capture_output=True)
            sh("ip", "netns", "del", name, check=False)


@contextmanager
def net() -> Iterator[Net]:
    private_mounts()
    made = Net()
    try:
        yield made
    finally:
        made.close()
