"""Daemons that have one configuration file each: the part that the radvd and haproxy drivers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from virga.agent.drivers.daemons import (
    Daemon,
    DaemonError,
    Daemons,
    file_difference,
    strays,
    write_if_different,
)
from virga.agent.drivers.presence import Presence
from virga.agent.protocol import Difference, Failure
from virga.agent.wishes import Outcome, Wishes
from virga.lib.run import Runner, run


@dataclass(frozen=True, slots=True)
class Configured:
    """A daemon that shall run in ``namespace`` with this configuration."""

    namespace: str
    text: str
    device: str = ""
    """A device that the daemon is bound to, and so has to be started anew with."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What tells one kind of daemon from another."""

    name: str
    program: str
    directory: Path
    suffix: str
    """Of the configuration files; what stands before it is the key."""
    pids: Path
    arguments: Callable[[str, str], tuple[str, ...]]
    """Configuration file and pid file to arguments."""
    reloads: bool
    """Whether SIGHUP makes it read its configuration again; else it is started anew."""

    def config_file(self, key: str) -> Path:
        return self.directory / f"{key}{self.suffix}"

    def pid_file(self, key: str) -> Path:
        return self.pids / f"{key}.pid.{self.name}"

    def daemon(self, key: str, namespace: str) -> Daemon:
        config, pid_file = str(self.config_file(key)), self.pid_file(key)
        return Daemon(namespace, (self.program, *self.arguments(config, str(pid_file))), pid_file, config)


class ConfiguredDaemonDriver:
    """Idempotent; the file first, then the process. Mark: the configuration file in the command line."""

    def __init__(
        self,
        kind: Kind,
        wake: Callable[[], None] = lambda: None,
        runner: Runner = run,
        on_exit: Callable[[], None] | None = None,
    ) -> None:
        self.name = kind.name
        self.kind = kind
        self._wake = wake
        self._daemons = Daemons(on_exit or wake, runner)
        self._wishes: Wishes[Configured] = Wishes(kind.name)
        self._presence = Presence()
        self._present: set[str] = set()
        self._unread: set[str] = set()
        self._outdated: set[str] = set()

    def want(self, key: str, configured: Configured | None) -> None:
        self._wishes.want(key, configured)

    def pid_file(self, key: str) -> str:
        return str(self.kind.pid_file(key))

    def outcome(self, key: str) -> Outcome:
        return self._wishes.outcome(key)

    def resync(self) -> None:
        if self.kind.directory.is_dir():
            suffix = self.kind.suffix
            names = [p.name for p in self.kind.directory.iterdir()]
            self._present.update(name.removesuffix(suffix) for name in names if name.endswith(suffix))
        self._wishes.doubt()

    def apply(self) -> Sequence[Failure]:
        self._wishes.mark_stale(self._daemons.ended())
        wanted = self._wishes.wanted.items()
        places = {key: (wish.namespace, (wish.device,) if wish.device else ()) for key, wish in wanted}
        self._outdated.update(again := self._presence.made_again(places))
        self._wishes.mark_stale(again)
        failures = self._wishes.settle(self._realise, (DaemonError, OSError))
        if self._wishes.in_doubt:
            self._wake()
        return failures

    def prune(self) -> Sequence[Failure]:
        failures = []
        for key in sorted(self._present - self._wishes.wanted.keys()):
            config = self.kind.config_file(key)
            try:
                self._daemons.remove(key, self.kind.program, str(config), self.kind.pid_file(key))
                config.unlink(missing_ok=True)
                self._present.discard(key)
            except (DaemonError, OSError) as error:
                failures.append(Failure(self.name, key, str(error)))
        return failures

    def check(self) -> Sequence[Difference]:
        directory, suffix = self.kind.directory, self.kind.suffix
        names = [p.name for p in directory.iterdir()] if directory.is_dir() else []
        there = {name.removesuffix(suffix) for name in names if name.endswith(suffix)}
        found = [
            Difference(self.name, key, "extra", actual=str(self.kind.config_file(key)))
            for key in sorted(there - self._wishes.wanted.keys())
        ]
        wanted = {str(self.kind.config_file(key)) for key in self._wishes.wanted}
        found += [
            Difference(self.name, f"process {pid}", "extra", actual=line)
            for pid, line in strays(self.kind.program, f"{directory}/", wanted)
        ]
        for key, wish in sorted(self._wishes.wanted.items()):
            daemon = self.kind.daemon(key, wish.namespace)
            pid = self._daemons.running(daemon)
            if pid is None:
                found.append(Difference(self.name, key, "missing", wanted=" ".join(daemon.argv)))
            elif not self._daemons.is_right(daemon, pid):
                found.append(Difference(self.name, key, "differs", wanted=" ".join(daemon.argv)))
            path = self.kind.config_file(key)
            if difference := file_difference(self.name, key, path, wish.text):
                found.append(difference)
        return found

    def _realise(self, key: str, wish: Configured) -> None:
        self._present.add(key)
        if write_if_different(self.kind.config_file(key), wish.text):
            self._unread.add(key)
        daemon = self.kind.daemon(key, wish.namespace)
        bound_anew = key in self._outdated and bool(wish.device)
        if not self._daemons.ensure(key, daemon):
            if bound_anew or (key in self._unread and not self.kind.reloads):
                self._daemons.restart(key, daemon)
            elif key in self._unread:
                self._daemons.reload(key, daemon)
        self._unread.discard(key)
        self._outdated.discard(key)
