"""Daemons that outlive the agent: started in a namespace, found again by pid file and command line, watched.

Mark: a process is ours when its program is the right one and its command line names a file under our
own directory. An agent that starts anew adopts such processes; one in a namespace that was made
again, or with an outdated command line, is replaced.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from virga.agent.protocol import Difference
from virga.lib.run import CommandError, Runner, in_namespace, run

QUICK_RESTARTS = 3
QUICK_RESTARTS_WITHIN_S = 10.0
STOP_TIMEOUT_MS = 3000


class DaemonError(Exception):
    """A daemon could not be started, reloaded or stopped; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A process that shall run. ``mark`` is the part of its command line by which it is known."""

    namespace: str
    argv: tuple[str, ...]
    pid_file: Path
    mark: str

    @property
    def program(self) -> str:
        return Path(self.argv[0]).name


def command_line(pid: int) -> tuple[str, ...]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(raw.decode(errors="replace").rstrip("\0").split("\0")) if raw else ()


def find(program: str, mark: str, pid_file: Path) -> int | None:
    """The running process, by its pid file or, when that is lost, by looking at all processes."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text().split()[0])
        if _is(pid, program, mark):
            return pid
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is(int(entry.name), program, mark):
            return int(entry.name)
    return None


def _is(pid: int, program: str, mark: str) -> bool:
    argv = command_line(pid)
    return bool(argv) and Path(argv[0]).name == program and any(mark in word for word in argv[1:])


def strays(program: str, mark: str, wanted: set[str]) -> list[tuple[int, str]]:
    """Processes of the program that carry the mark of our directory and nobody wants: pid and command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is(int(entry.name), program, mark):
            line = " ".join(command_line(int(entry.name)))
            if line and not any(each in line for each in wanted):
                found.append((int(entry.name), line))
    return sorted(found)


def stop(pid: int) -> None:
    """TERM, and KILL when that is not heeded. Idempotent."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(descriptor, number)
            if _ended(descriptor, STOP_TIMEOUT_MS):
                return
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)
    raise DaemonError(f"process {pid} does not end")


def _ended(descriptor: int, timeout_ms: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_ms))


class ExitWatch:
    """One thread that waits for the end of any of our daemons, whoever their parent is."""

    def __init__(self, on_exit: Callable[[str], None]) -> None:
        self._on_exit = on_exit
        self._descriptors: dict[int, tuple[str, int]] = {}
        self._poll = select.epoll()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, key: str, pid: int) -> None:
        """Idempotent for the same process."""
        with self._lock:
            if (key, pid) in self._descriptors.values():
                return
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                self._on_exit(key)
                return
            self._descriptors[descriptor] = (key, pid)
            self._poll.register(descriptor, select.EPOLLIN)
            if self._thread is None:
                self._thread = threading.Thread(target=self._wait, name="exit-watch", daemon=True)
                self._thread.start()

    def _wait(self) -> None:
        while True:
            for descriptor, _ in self._poll.poll():
                with self._lock:
                    key, _pid = self._descriptors.pop(descriptor)
                    self._poll.unregister(descriptor)
                    os.close(descriptor)
                self._on_exit(key)


class Daemons:
    """Starts, adopts, reloads and stops daemons of one kind for its driver."""

    def __init__(
        self,
        wake: Callable[[], None] = lambda: None,
        runner: Runner = run,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wake = wake
        self._run = runner
        self._clock = clock
        self._ended: deque[str] = deque()
        self._starts: dict[str, deque[float]] = {}
        self._read_files: dict[str, int] = {}
        self._watch = ExitWatch(self._note_end)

    def _note_end(self, key: str) -> None:
        self._ended.append(key)
        self._wake()

    def ended(self) -> list[str]:
        """Keys whose process ended since the last call."""
        found = []
        while self._ended:
            found.append(self._ended.popleft())
        return found

    def running(self, daemon: Daemon) -> int | None:
        return find(daemon.program, daemon.mark, daemon.pid_file)

    def is_right(self, daemon: Daemon, pid: int) -> bool:
        """Whether the process has the wanted command line and lives in the namespace that now has the name."""
        try:
            same_namespace = Path(f"/proc/{pid}/ns/net").samefile(f"/run/netns/{daemon.namespace}")
        except OSError:
            return False
        return same_namespace and command_line(pid) == daemon.argv

    def ensure(self, key: str, daemon: Daemon) -> bool:
        """Adopt the running process or start one. True when it was started now, and so read its files."""
        pid = self.running(daemon)
        if pid is not None and self.is_right(daemon, pid):
            self._watch.watch(key, pid)
            return False
        if pid is not None:
            stop(pid)
        self._start(key, daemon)
        return True

    def _start(self, key: str, daemon: Daemon) -> None:
        starts = self._starts.setdefault(key, deque(maxlen=QUICK_RESTARTS))
        now = self._clock()
        if len(starts) == QUICK_RESTARTS and now - starts[0] < QUICK_RESTARTS_WITHIN_S:
            raise DaemonError(f"{daemon.program} in {daemon.namespace} ends again and again")
        daemon.pid_file.parent.mkdir(parents=True, exist_ok=True)
        daemon.pid_file.unlink(missing_ok=True)
        try:
            self._run(in_namespace(daemon.namespace, *daemon.argv))
        except CommandError as error:
            raise DaemonError(f"{daemon.program} in {daemon.namespace} does not start: {error}") from error
        starts.append(now)
        pid = self.running(daemon)
        if pid is None:
            raise DaemonError(f"{daemon.program} in {daemon.namespace} ended right after its start")
        self._read_files[key] = pid
        self._watch.watch(key, pid)

    def restart(self, key: str, daemon: Daemon) -> None:
        """A new process, for a change that the running one cannot read."""
        pid = self.running(daemon)
        if pid is not None:
            stop(pid)
        self._starts.pop(key, None)
        self._start(key, daemon)

    def reload(self, key: str, daemon: Daemon) -> None:
        """SIGHUP: read the files again."""
        pid = self.running(daemon)
        if pid is None:
            raise DaemonError(f"{daemon.program} in {daemon.namespace} is not running")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGHUP)
        self._read_files[key] = pid

    def has_read(self, key: str, daemon: Daemon) -> bool:
        """Whether this agent saw the process read its files: one that was adopted may have missed the last word."""
        return self._read_files.get(key) == self.running(daemon)

    def remove(self, key: str, program: str, mark: str, pid_file: Path) -> None:
        """Stop what carries the mark. Idempotent."""
        self._starts.pop(key, None)
        pid = find(program, mark, pid_file)
        if pid is not None:
            stop(pid)
        pid_file.unlink(missing_ok=True)


def write_if_different(path: Path, text: str) -> bool:
    """Replace the file atomically when its content differs. True when it did."""
    try:
        if path.read_text() == text:
            return False
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.replace(path)
    return True


def file_difference(driver: str, key: str, path: Path, text: str) -> Difference | None:
    """What of a file of ours is not as it must be: the lines only."""
    name = f"{key}/{path.name}"
    if not path.is_file():
        return Difference(driver, name, "missing", wanted=str(path))
    actual = path.read_text(errors="replace")
    if actual == text:
        return None
    there, must = actual.splitlines(), text.splitlines()
    return Difference(
        driver,
        name,
        "differs",
        wanted="\n".join(line for line in must if line not in there),
        actual="\n".join(line for line in there if line not in must),
    )
