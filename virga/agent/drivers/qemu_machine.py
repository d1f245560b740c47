"""One running QEMU process: start it, find it again, drive it, and see it end.

Mark: the command line holds ``-pidfile HOME/qemu.pid``. The process is a daemon of its own session,
so it outlives the agent that started it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from virga.agent.drivers.instance_home import InstanceHome
from virga.agent.drivers.qemu_command import MachinePlan, render
from virga.agent.drivers.qemu_monitor import Event, Monitor, MonitorError, MonitorThread

EventHandler = Callable[["Machine", Event], None]
ExitHandler = Callable[["Machine"], None]

START_S = 60.0


class MachineError(Exception):
    """QEMU did not do what was asked. The text is for people."""


class Machine:
    """A live QEMU process and its monitor."""

    def __init__(self, home: InstanceHome, pid: int, thread: MonitorThread, monitor: Monitor) -> None:
        self.home = home
        self.pid = pid
        self.monitor = monitor
        self._thread = thread
        self.gone = threading.Event()
        self.expected_end = False
        """Set before we end it ourselves, so that the end is no news."""

    @classmethod
    def start(
        cls,
        home: InstanceHome,
        plan: MachinePlan,
        thread: MonitorThread,
        on_event: EventHandler,
        on_exit: ExitHandler,
    ) -> Machine:
        """Start paused. Returns when QEMU has opened everything, or raises with what QEMU said."""
        for name in ("qmp.sock", "serial.sock", "vnc.sock", "qemu.pid"):
            (home.path / name).unlink(missing_ok=True)
        _spawn(home, plan)
        try:
            monitor = Monitor.open(thread, home.path, START_S)
        except MonitorError as error:
            said = _tail(home.path / "qemu.log").splitlines()
            raise MachineError(f"QEMU did not start: {said[-1] if said else error}") from error
        pid = int((home.path / "qemu.pid").read_text())
        return cls(home, pid, thread, monitor)._watch(on_event, on_exit)

    @classmethod
    def adopt(
        cls, home: InstanceHome, pid: int, thread: MonitorThread, on_event: EventHandler, on_exit: ExitHandler
    ) -> Machine:
        """Take over a process that an earlier agent started."""
        return cls(home, pid, thread, Monitor.open(thread, home.path))._watch(on_event, on_exit)

    def _watch(self, on_event: EventHandler, on_exit: ExitHandler) -> Machine:
        def exited() -> None:
            self.gone.set()
            self.monitor.lost()
            on_exit(self)

        self._thread.watch_exit(self.pid, exited)
        self.monitor.subscribe(lambda event: on_event(self, event))
        return self

    def execute(self, command: str, timeout_s: float = 30, **arguments: Any) -> Any:
        try:
            return self.monitor.execute(command, arguments or None, timeout_s)
        except MonitorError as error:
            raise MachineError(str(error)) from error

    def run_state(self) -> str:
        """QEMU's own word: ``running``, ``paused``, ``prelaunch``, ``shutdown``, ``guest-panicked``, ..."""
        return str(self.execute("query-status")["status"])

    def resume(self) -> None:
        """Let the guest run, also after its memory has been read back."""
        with self.monitor.listen() as events:
            self.execute("cont")
            if self.run_state() == "inmigrate" and events.wait("RESUME", 120) is None:
                raise MachineError("the saved memory of the instance could not be read back")

    def pause(self) -> None:
        self.execute("stop")

    def power_down(self, grace_s: float, again_s: float = 2) -> bool:
        """Press the power button, again and again while a guest still boots. True: it went down in time."""
        if self.run_state() != "running":
            return False
        with self.monitor.listen() as events:
            waited = 0.0
            while waited < grace_s and not self.gone.is_set():
                self.execute("system_powerdown")
                step = min(again_s, grace_s - waited)
                if events.wait("SHUTDOWN", step) is not None:
                    return True
                waited += step
        return self.gone.is_set()

    def quit(self, timeout_s: float = 15) -> None:
        """End the process; what the guest has written is kept. Idempotent."""
        self.expected_end = True
        if not self.gone.is_set():
            try:
                self.execute("quit", timeout_s=5)
            except MachineError:
                self.kill()
        if not self.gone.wait(timeout_s):
            self.kill()
            self.gone.wait(timeout_s)
        self.close()

    def kill(self) -> None:
        """End the process at once. Idempotent."""
        self.expected_end = True
        if not self.gone.is_set():
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def close(self) -> None:
        """Let go of the monitor; the process goes on if it still runs."""
        self.monitor.close()

    def save_memory(self, path: Path) -> None:
        """Write memory and devices of the paused guest to ``path``. All or nothing."""
        part = path.with_name(path.name + ".part")
        capability = {"capability": "events", "state": True}
        self.execute("migrate-set-capabilities", capabilities=[capability])
        self.execute("migrate-set-parameters", **{"max-bandwidth": 10 * 1024**3})
        with part.open("wb") as file, self.monitor.listen() as events:
            os.fchmod(file.fileno(), 0o600)
            self.monitor.send_file("memory", file.fileno())
            self.execute("migrate", uri="fd:memory")
            while True:
                event = events.wait("MIGRATION", 600)
                if event is None or event["data"]["status"] == "failed":
                    raise MachineError("the memory of the instance could not be saved")
                if event["data"]["status"] == "completed":
                    break
        part.rename(path)


def _spawn(home: InstanceHome, plan: MachinePlan) -> None:
    """Start QEMU as a daemon. It inherits the monitor's listening socket, so connecting needs no waiting
    for a file to appear, and the connection ends when QEMU gives up.
    """
    keep = () if plan.incoming_fd is None else (plan.incoming_fd,)
    directory = os.open(home.path, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as listener, (home.path / "qemu.log").open("wb") as log:
            listener.bind(f"/proc/self/fd/{directory}/qmp.sock")
            listener.listen(1)
            subprocess.run(
                ["setsid", "--fork", *render(plan, listener.fileno())],
                cwd=home.path,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(listener.fileno(), *keep),
                check=True,
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise MachineError(f"QEMU did not start: {error}") from error
    finally:
        os.close(directory)


def running_machines(homes: Path) -> Iterator[tuple[str, int]]:
    """Instance id and process id of every QEMU process whose home is below ``homes``."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            argv = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"-pidfile" not in argv:
            continue
        pid_file = Path(os.fsdecode(argv[argv.index(b"-pidfile") + 1]))
        if pid_file.name == "qemu.pid" and pid_file.parent.parent == homes:
            yield pid_file.parent.name, int(entry.name)


def _tail(path: Path, size: int = 2000) -> str:
    try:
        return path.read_text(errors="replace")[-size:].strip()
    except FileNotFoundError:
        return ""
