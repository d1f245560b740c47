"""A program of a cloud: what is to run, written down so that the supervisor can start it again.

Under ``run/``: ``NAME.program.json`` says how it is started, ``NAME.pid.json`` which process it is now.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

import virga
from virga.lab import process
from virga.lab.holder import MARK
from virga.lab.process import Process
from virga.settings import SETTINGS, Settings

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE")
SECRET_SETTINGS = ("admin_password", "demo_password", "state_dir")


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """One long-running program. ``host`` is where it runs; empty: beside the hosts, on the machine itself."""

    name: str
    argv: list[str]
    environment: dict[str, str]
    host: str = ""


@dataclass(frozen=True, slots=True)
class Programs:
    """All programs of the cloud in ``state_dir``."""

    state_dir: Path

    @property
    def directory(self) -> Path:
        return self.state_dir / "run"

    def record(self, name: str) -> Path:
        return self.directory / f"{name}.pid.json"

    def output(self, name: str) -> Path:
        """Where its standard output and error go: tracebacks, and what daemons say before they log."""
        return self.state_dir / "logs" / f"{name}.out"

    def living(self, name: str) -> Process | None:
        return process.living(self.record(name))

    def listed(self) -> list[Program]:
        """What is to run, whether or not it does."""
        found = []
        for path in sorted(self.directory.glob("*.program.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Program))
            except (FileNotFoundError, msgspec.DecodeError):
                continue
        return found

    def ensure(self, program: Program) -> Process:
        """It is to run from now on, and runs. Idempotent."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"{program.name}.program.json"
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(msgspec.json.encode(program))
        fresh.replace(path)
        return self.start(program)

    def start(self, program: Program) -> Process:
        """Start it unless it runs. A command and the supervisor may want to at once: one of them does."""
        with (self.directory / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return self.living(program.name) or process.start(
                program.argv, self.record(program.name), self.output(program.name), program.environment
            )

    def forget(self, *names: str) -> list[Process]:
        """They are not to run any more; returns those that still do. The records go when the processes went."""
        found = []
        for name in names:
            (self.directory / f"{name}.program.json").unlink(missing_ok=True)
            if one := self.living(name):
                found.append(one)
        return found


def python(*arguments: str) -> list[str]:
    """The command that runs a module of ours by the Python that runs now."""
    return [sys.executable, "-m", *arguments]


def environment(settings: Settings) -> dict[str, str]:
    """What the programs of a cloud see: little of the caller's environment, and the settings in force.

    Passwords are not among them: they stay in the file of chosen values that only its owner can read.
    """
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    source = str(Path(virga.__file__).parents[1])
    path = [kept.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"]
    kept |= {"PATH": ":".join(part for part in path if part), "PYTHONPATH": source, "PYTHONUNBUFFERED": "1"}
    for name, setting in SETTINGS.items():
        value = getattr(settings, name)
        if value != setting.default and name not in SECRET_SETTINGS:
            kept[setting.variable] = ",".join(value) if isinstance(value, tuple) else str(value)
    return kept


def marked(environment: Mapping[str, str], directory: Path) -> dict[str, str]:
    """The environment of what runs inside a host, with the mark by which it is found again."""
    return dict(environment) | {MARK: str(directory)}
