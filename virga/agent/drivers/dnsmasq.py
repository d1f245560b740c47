"""One dnsmasq a network: files replaced and re-read by SIGHUP, leases given back, restarts only where needed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from virga.agent.drivers.daemons import (
    Daemon,
    DaemonError,
    Daemons,
    command_line,
    file_difference,
    strays,
    write_if_different,
)
from virga.agent.drivers.presence import Presence
from virga.agent.protocol import Difference, Failure
from virga.agent.render import leases
from virga.agent.render.dnsmasq import DnsmasqFiles
from virga.agent.wishes import Outcome, Wishes
from virga.lib.run import CommandError, Runner, in_namespace, run


@dataclass(frozen=True, slots=True)
class Dnsmasq:
    """A dnsmasq that shall run in ``namespace`` and answer on ``device``."""

    namespace: str
    device: str
    files: DnsmasqFiles


class DnsmasqDriver:
    """Idempotent; files first, then the process. Mark: ``STATE/dhcp/<network id>/`` in the command line."""

    name = "dnsmasq"

    def __init__(
        self,
        state: Path,
        wake: Callable[[], None] = lambda: None,
        runner: Runner = run,
        on_exit: Callable[[], None] | None = None,
    ) -> None:
        self._root = state / "dhcp"
        self._run = runner
        self._wake = wake
        self._daemons = Daemons(on_exit or wake, runner)
        self._wishes: Wishes[Dnsmasq] = Wishes(self.name)
        self._presence = Presence()
        self._present: set[str] = set()
        self._unread: set[str] = set()
        """Networks whose files changed since their dnsmasq read them."""
        self._outdated: set[str] = set()
        """Networks whose device was made again: a dnsmasq that saw the old one does not answer on the new one."""

    def directory(self, network_id: str) -> str:
        return str(self._root / network_id)

    def want(self, network_id: str, dnsmasq: Dnsmasq | None) -> None:
        self._wishes.want(network_id, dnsmasq)

    def outcome(self, network_id: str) -> Outcome:
        return self._wishes.outcome(network_id)

    def resync(self) -> None:
        if self._root.is_dir():
            self._present.update(entry.name for entry in self._root.iterdir() if entry.is_dir())
        self._wishes.doubt()

    def apply(self) -> Sequence[Failure]:
        self._wishes.mark_stale(self._daemons.ended())
        places = {key: (wish.namespace, (wish.device,)) for key, wish in self._wishes.wanted.items()}
        self._outdated.update(again := self._presence.made_again(places))
        self._wishes.mark_stale(again)
        failures = self._wishes.settle(self._realise, (DaemonError, OSError))
        if self._wishes.in_doubt:
            self._wake()
        return failures

    def prune(self) -> Sequence[Failure]:
        failures = []
        for key in sorted(self._present - self._wishes.wanted.keys()):
            try:
                self._daemons.remove(key, "dnsmasq", f"{self._root / key}/", self._root / key / "pid")
                shutil.rmtree(self._root / key, ignore_errors=True)
                self._present.discard(key)
            except (DaemonError, OSError) as error:
                failures.append(Failure(self.name, key, str(error)))
        return failures

    def check(self) -> Sequence[Difference]:
        there = {entry.name for entry in self._root.iterdir()} if self._root.is_dir() else set()
        found = [
            Difference(self.name, key, "extra", actual=str(self._root / key))
            for key in sorted(there - self._wishes.wanted.keys())
        ]
        wanted = {f"{self._root / key}/" for key in self._wishes.wanted}
        found += [
            Difference(self.name, f"process {pid}", "extra", actual=line)
            for pid, line in strays("dnsmasq", f"{self._root}/", wanted)
        ]
        for key, wish in sorted(self._wishes.wanted.items()):
            pid = self._daemons.running(self._daemon(key, wish))
            if pid is None:
                found.append(Difference(self.name, key, "missing", wanted=" ".join(wish.files.argv)))
            elif not self._daemons.is_right(self._daemon(key, wish), pid):
                line = " ".join(command_line(pid))
                found.append(Difference(self.name, key, "differs", " ".join(wish.files.argv), line))
            for path, text in self._texts(key, wish):
                if difference := file_difference(self.name, key, path, text):
                    found.append(difference)
        return found

    def _daemon(self, key: str, wish: Dnsmasq) -> Daemon:
        directory = self._root / key
        return Daemon(wish.namespace, wish.files.argv, directory / "pid", f"{directory}/")

    def _texts(self, key: str, wish: Dnsmasq) -> list[tuple[Path, str]]:
        directory = self._root / key
        return [
            (directory / "host", wish.files.host),
            (directory / "opts", wish.files.opts),
            (directory / "addn_hosts", wish.files.addn_hosts),
        ]

    def _realise(self, key: str, wish: Dnsmasq) -> None:
        self._present.add(key)
        changed = [write_if_different(path, text) for path, text in self._texts(key, wish)]
        if any(changed):
            self._unread.add(key)
        write_if_different(self._root / key / "interface", wish.device)
        daemon = self._daemon(key, wish)
        stale = self._stale_leases(key, wish)
        if self._daemons.running(daemon) is None:
            self._forget(key, stale)
            stale = []
        if self._daemons.ensure(key, daemon):
            self._unread.discard(key)
        elif key in self._outdated:
            self._daemons.restart(key, daemon)
        self._outdated.discard(key)
        if key in self._unread or not self._daemons.has_read(key, daemon):
            self._daemons.reload(key, daemon)
        self._unread.discard(key)
        self._release(wish, stale)

    def _stale_leases(self, key: str, wish: Dnsmasq) -> list[leases.Lease]:
        try:
            text = (self._root / key / "leases").read_text(errors="replace")
        except FileNotFoundError:
            return []
        return leases.unjustified(leases.parse(text), wish.files.host)

    def _forget(self, key: str, gone: list[leases.Lease]) -> None:
        path = self._root / key / "leases"
        if gone:
            write_if_different(path, leases.without(path.read_text(errors="replace"), gone))

    def _release(self, wish: Dnsmasq, gone: list[leases.Lease]) -> None:
        """A lease that is not given back keeps its address from the next owner; the next resync tries again."""
        for lease in gone:
            with contextlib.suppress(CommandError):
                self._run(in_namespace(wish.namespace, *leases.release_command(wish.device, lease)))
