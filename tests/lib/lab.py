"""A whole cloud on this machine for tests: started once, spoken to by the official clients, gone at the end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")


def wait_for(what: str, question: Callable[[], T], limit_s: float = 90) -> T:
    """Ask until the answer is true and give it back; fail with ``what`` after ``limit_s``."""
    deadline = time.monotonic() + limit_s
    answer = question()
    while not answer:
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s:.0f} s in vain: {what}")
        # Nothing tells us when the world has changed, so we look again; the pause only saves processor time.
        time.sleep(0.2)
        answer = question()
    return answer


@dataclass
class Lab:
    """A running cloud and the ways to look at it."""

    state_dir: Path

    def virga(
        self, *words: str, check: bool = True, limit_s: float = 180
    ) -> subprocess.CompletedProcess[str]:
        """The ``virga`` command for this cloud."""
        command = [
            sys.executable,
            "-m",
            "virga.cli.main",
            *words[:1],
            "--state-dir",
            str(self.state_dir),
            *words[1:],
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False)
        if check and done.returncode:
            raise AssertionError(f"virga {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def _on(self, host: str, command: str) -> list[str]:
        return [
            sys.executable, "-m", "virga.cli.main", "host", "exec", "--state-dir", str(self.state_dir), host,
            "--", "sh", "-c", command,
        ]  # fmt: skip

    def start_on(self, host: str, command: str) -> subprocess.Popen[str]:
        """Start a command on a host; its standard output can be read."""
        return subprocess.Popen(self._on(host, command), cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def on(self, host: str, command: str, check: bool = True) -> str:
        """What ``virga host exec HOST -- sh -c COMMAND`` prints."""
        done = subprocess.run(
            self._on(host, command), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"on {host}: {command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    @property
    def clouds_yaml(self) -> Path:
        return self.state_dir / "clouds.yaml"

    def environment(self, cloud: str = "virga") -> dict[str, str]:
        """For the official clients."""
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("OS_")},
            "OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml),
            "OS_CLOUD": cloud,
        }

    def openstack(self, command: str, cloud: str = "virga") -> Any:
        """The official client; its answer decoded from JSON where it has one."""
        said = self.openstack_says(f"{command} -f json", cloud)
        return json.loads(said) if said.strip() else None

    def openstack_says(self, command: str, cloud: str = "virga") -> str:
        """What the official client prints, also of commands that have no answer to decode."""
        words = [str(Path(sys.executable).with_name("openstack")), *command.split()]
        done = subprocess.run(
            words, env=self.environment(cloud), capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise AssertionError(f"openstack {command}: {done.stdout}\n{done.stderr}")
        return done.stdout


@contextlib.contextmanager
def running_lab(hosts: int = 1, toml: str = "", options: tuple[str, ...] = ()) -> Iterator[Lab]:
    """A new lab; nothing of it is left afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="virga-lab-"))
    (directory / "virga.toml").write_text(toml)
    lab = Lab(directory)
    try:
        lab.virga("up", "--hosts", str(hosts), *options, limit_s=300)
        yield lab
    finally:
        lab.virga("down", "--wipe", check=False)
        shutil.rmtree(directory, ignore_errors=True)


def ssh(address: str, command: str, key: Path, limit_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run ``command`` in the guest at ``address``, as the user of the image."""
    return subprocess.run(
        [
            "ssh", "-i", str(key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5",
            f"cirros@{address}", command,
        ],
        capture_output=True, text=True, timeout=limit_s, check=False,
    )  # fmt: skip


def answers_on(address: str, port: int, timeout_s: float = 2) -> bool:
    """True when a TCP connection to ``address`` is accepted."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def pings(address: str, count: int = 1) -> bool:
    """True when the machine gets an echo from ``address``."""
    done = subprocess.run(["ping", "-c", str(count), "-W", "1", address], capture_output=True, check=False)
    return done.returncode == 0
