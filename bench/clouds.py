"""Clouds to measure: started for the purpose in a directory of their own, and gone afterwards."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.client import Client
from virga import settings as settings_module
from virga.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
VIRGA = (sys.executable, "-m", "virga.cli.main")

# One physical network has room for 4,094 VLANs; the longest list is longer.
MANY_NETWORKS = 'vlan_ranges = ["physnet1:1:4094", "physnet2:1:4094"]\n'


@dataclass
class Running:
    """A started cloud and how long its start took."""

    settings: Settings
    start_s: float

    def client(self) -> Client:
        password = (self.settings.state_dir / "admin_password").read_text().strip()
        return Client(self.settings.endpoint, password)

    def server_pid(self) -> int:
        return next(pid for pid, line in self.pids().items() if "virga.server" in line)

    def pids(self) -> dict[int, str]:
        """Our own processes of this cloud by pid: those with its directory on their command line."""
        wanted = str(self.settings.state_dir).encode()
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                if wanted in line and b"virga" in line and b"python" in line.split(b"\0")[0]:
                    found[int(entry.name)] = line.replace(b"\0", b" ").decode().strip()
        return found


def cpu_ms(pid: int) -> float:
    """Processor time that all threads of a process have had, in milliseconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e6


def resident_mb(pid: int) -> float:
    """Resident memory of a process, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextlib.contextmanager
def cloud(dataplane: str, hosts: int = 1, options: tuple[str, ...] = (), toml: str = "") -> Iterator[Running]:
    """A new cloud; wiped at the end."""
    directory = Path(tempfile.mkdtemp(prefix="virga-bench-"))
    (directory / "virga.toml").write_text(toml)
    where = ("--state-dir", str(directory))
    try:
        began = time.monotonic()
        subprocess.run(
            [*VIRGA, "up", *where, "--hosts", str(hosts), "--dataplane", dataplane, *options],
            check=True, cwd=ROOT, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        yield Running(settings_module.load(directory), round(time.monotonic() - began, 2))
    finally:
        subprocess.run([*VIRGA, "down", "--wipe", *where], check=False, cwd=ROOT, stdout=subprocess.DEVNULL)
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def server_alone(toml: str = "") -> Iterator[Running]:
    """The API server without hosts: what Neutron was when it was measured, no agent alive."""
    directory = Path(tempfile.mkdtemp(prefix="virga-bench-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (directory / "virga.toml").write_text(f"port = {port}\n{toml}")
    command = [sys.executable, "-m", "virga.server", "--state-dir", str(directory)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        began = time.monotonic()
        while not _listens(port):
            if process.poll() is not None:
                raise RuntimeError(f"the server ended; its log is in {directory}/logs")
            time.sleep(0.02)
        yield Running(settings_module.load(directory), round(time.monotonic() - began, 2))
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
