"""Instances of kind ``namespace``: an init and an SSH server in namespaces of their own, up in a blink.

    keeper (sh, a daemon) -> launch (unshare, nsenter) -> init of the guest

The network namespace ``instance-<id>`` and its cards are made by whoever wires ports. Mark: the file
``namespace`` in the instance's directory; its keeper has the directory on its command line.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec

from virga.agent.drivers.guest_kind import Detail, GuestError, Outcome, PortsReady
from virga.agent.drivers.instance_home import InstanceHome, InstanceHomes, Record, Shape
from virga.agent.drivers.qemu_monitor import MonitorThread
from virga.contract.calls import Layout, Progress
from virga.contract.items import Disk, Instance
from virga.lib.log import log_for

log = log_for(__name__)

KEEPER = Path(__file__).with_name("namespace_keeper.sh")
SHUT_ITSELF_DOWN = 130
CONSOLE_BYTES = 102400


@dataclass(frozen=True, slots=True)
class NamespaceOptions:
    """Where the programs and the tree are that such an instance is made of."""

    launch: Path
    tree: Path
    netns_directory: Path = Path("/run/netns")
    shutdown_grace_s: float = 20.0


@dataclass(slots=True)
class Keeper:
    """A live keeper process."""

    pid: int
    gone: threading.Event = field(default_factory=threading.Event)
    expected_end: bool = False


class NamespaceGuests:
    """All namespace instances of this host."""

    def __init__(self, root: Path, options: NamespaceOptions, thread: MonitorThread | None = None) -> None:
        self.homes = InstanceHomes(root / "instances")
        self._options = options
        self._thread = thread or MonitorThread()
        self._keepers: dict[str, Keeper] = {}
        self._on_news: Callable[[str], None] = lambda instance_id: None
        self.actions = NamespaceActions(self)

    def close(self) -> None:
        """Let go of all instances without ending them."""
        self._thread.close()

    def adopt(self, on_news: Callable[[str], None]) -> Iterable[str]:
        self._on_news = on_news
        ours = [key for key in self.homes.ids() if (self.homes.of(key).path / "namespace").exists()]
        for key in ours:
            known = self._keepers.get(key)
            pid = _keeper_pid(self.homes.of(key).path)
            if pid is not None and (known is None or known.gone.is_set()):
                self._keepers[key] = self._watch(key, pid)
                log.info("instance adopted", instance_id=key, keeper_pid=pid)
        return ours

    def _watch(self, key: str, pid: int) -> Keeper:
        keeper = Keeper(pid)

        def exited() -> None:
            keeper.gone.set()
            if not keeper.expected_end:
                self._on_news(key)

        self._thread.watch_exit(pid, exited)
        return keeper

    def keeper(self, instance_id: str) -> Keeper | None:
        keeper = self._keepers.get(instance_id)
        return None if keeper is None or keeper.gone.is_set() else keeper

    # The walk

    def converge(self, item: Instance, ports_ready: PortsReady) -> Outcome:
        try:
            return self._walk(item, ports_ready)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise GuestError(f"the namespace instance {item.key} did not start: {error}") from error

    def _walk(self, item: Instance, ports_ready: PortsReady) -> Outcome:
        home = self.homes.of(item.key)
        record = self._note_end(home, home.read(), item)
        if item.disks and not record.build:
            raise GuestError("a namespace instance has no disks, so it cannot have volumes")
        if record.build != item.build:
            record = self._build(home, item)
        keeper = self.keeper(item.key)
        if item.power_state == "shutdown":
            self.stop(item.key, gently=True)
            (home.path / "end").unlink(missing_ok=True)
            record = home.write(Record(build=item.build, shape=_shape(item), nics=item.nics))
            return _outcome("shutdown", record, item)
        if keeper is None and record.ended:
            return _outcome(record.ended, record, item, record.ended_reason)
        if keeper is None:
            ports = [nic.port_id for nic in item.nics]
            ready = ports_ready(ports) if self._has_namespace(item) else None
            if ready is None:
                waiting = _outcome("building", record, item)
                return Outcome(
                    waiting.status,
                    details=waiting.details,
                    wait_for=lambda: self._has_namespace(item) and ports_ready(ports) is not None,
                )
            if ready is False:
                raise GuestError(f"a port of instance {item.key} could not be wired")
            self._start(home, item)
        if item.power_state in ("paused", "suspended"):
            self._signal_all(item.key, signal.SIGSTOP)
        elif record.suspended:
            self._signal_all(item.key, signal.SIGCONT)
        frozen = item.power_state in ("paused", "suspended")
        record = home.write(
            Record(build=item.build, shape=_shape(item), nics=item.nics, suspended=frozen, started=True)
        )
        problems = {f"volume_error:{d.volume_id}": "a namespace instance has no disks" for d in item.disks}
        outcome = _outcome(item.power_state, record, item, "; ".join(problems.values()))
        return Outcome(outcome.status, outcome.reason, {**outcome.details, **problems})

    def _has_namespace(self, item: Instance) -> bool:
        return not item.nics or (self._options.netns_directory / f"instance-{item.key}").exists()

    def _build(self, home: InstanceHome, item: Instance) -> Record:
        self.stop(item.key, gently=False)
        for name in ("state", "config"):
            shutil.rmtree(home.path / name, ignore_errors=True)
        home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home.path / "namespace").touch()
        (home.path / "state").mkdir(exist_ok=True)
        for name, content in item.config_drive_files.items() if item.config_drive else ():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"config drive file {name!r} would leave the drive")
            target = home.path / "config" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(base64.b64decode(content, validate=True))
        log.info("instance built", instance_id=item.key, build=item.build)
        return home.write(Record(build=item.build, shape=_shape(item)))

    def _start(self, home: InstanceHome, item: Instance) -> None:
        if not self._options.tree.is_dir():
            raise GuestError(f"the tree of the guest image is not at {self._options.tree}")
        name = f"instance-{item.key}"
        netns = str(self._options.netns_directory / name) if item.nics else "/proc/self/ns/net"
        launch = [
            str(self._options.launch),
            "--tree",
            str(self._options.tree),
            "--state",
            f"{home.path}/state",
        ]
        launch += ["--netns", netns, "--hostname", item.hostname or "tiny"]
        if item.config_drive:
            launch += ["--config", f"{home.path}/config"]
        for stale in ("keeper.pid", "end"):
            (home.path / stale).unlink(missing_ok=True)
        daemon = subprocess.Popen(
            ["sh", str(KEEPER), str(home.path), *launch],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Reaps the child while this agent lives; a later agent is not its parent and need not.
        threading.Thread(target=daemon.wait, name="keeper", daemon=True).start()
        self._keepers[item.key] = self._watch(item.key, daemon.pid)
        log.info("instance runs", instance_id=item.key, keeper_pid=daemon.pid)

    def _note_end(self, home: InstanceHome, record: Record, item: Instance) -> Record:
        """The keeper wrote down how the guest ended; without that word it was the whole host that ended."""
        key = item.key
        if record.ended and record.ended_starts != item.starts:
            (home.path / "end").unlink(missing_ok=True)
            return home.write(msgspec.structs.replace(record, ended="", ended_reason=""))
        if record.ended or not record.started or self.keeper(key) is not None:
            return record
        try:
            status = int((home.path / "end").read_text())
        except (FileNotFoundError, ValueError):
            known = self._keepers.get(key)
            if known is None or known.expected_end:
                return record
            status = -1
        if status == SHUT_ITSELF_DOWN:
            how, reason = "shutdown", "the guest shut itself down"
        else:
            how, reason = "crashed", "the processes of the instance ended unexpectedly"
        return home.write(
            msgspec.structs.replace(
                record, ended=how, ended_reason=reason, ended_starts=item.starts, started=False
            )
        )

    # Ending

    def stop(self, key: str, gently: bool) -> None:
        """Idempotent. The network namespace stays: it is not ours."""
        keeper = self.keeper(key)
        if keeper is None:
            return
        keeper.expected_end = True
        main = self._main_pid(key)
        if gently and main is not None:
            self._signal_all(key, signal.SIGCONT)
            for init in _children(main):
                _kill(init, signal.SIGUSR2)
            keeper.gone.wait(self._options.shutdown_grace_s)
        self.kill(key)
        if not keeper.gone.wait(10):
            raise GuestError(f"the processes of instance {key} do not end")

    def kill(self, key: str) -> None:
        """At once. The keeper first, so that it starts nothing again."""
        keeper = self.keeper(key)
        if keeper is not None:
            keeper.expected_end = True
            main = self._main_pid(key)
            _kill(keeper.pid, signal.SIGKILL)
            if main is not None:
                _kill(main, signal.SIGKILL)

    def _main_pid(self, key: str) -> int | None:
        """The process that ``launch`` became: a child of the keeper."""
        keeper = self.keeper(key)
        return next(iter(_children(keeper.pid)), None) if keeper else None

    def _signal_all(self, key: str, number: signal.Signals) -> None:
        """Every process of the guest's process namespace."""
        main = self._main_pid(key)
        inits = _children(main) if main is not None else []
        for init in inits:
            space = _pid_namespace(init)
            for entry in Path("/proc").iterdir():
                if space and entry.name.isdigit() and _pid_namespace(int(entry.name)) == space:
                    _kill(int(entry.name), number)

    def abandon(self, instance_id: str) -> None:
        self.kill(instance_id)

    def remove(self, instance_id: str) -> None:
        self.stop(instance_id, gently=False)
        self._keepers.pop(instance_id, None)
        self.homes.of(instance_id).remove()
        log.info("instance removed", instance_id=instance_id)

    def living(self) -> Mapping[str, str]:
        pids = {key: _keeper_pid(self.homes.of(key).path) for key in self.homes.ids()}
        return {key: f"keeper process {pid}" for key, pid in pids.items() if pid is not None}

    def trim_logs(self) -> None:
        for instance_id in self._keepers:
            self.homes.of(instance_id).trim_console()

    def images_in_use(self, instance_id: str) -> Collection[str]:
        return ()


class NamespaceActions:
    """What can be asked of a namespace instance; it has neither disk nor screen."""

    def __init__(self, guests: NamespaceGuests) -> None:
        self._guests = guests

    def halt(self, item: Instance, soft: bool) -> None:
        self._guests.stop(item.key, gently=soft)
        home = self._guests.homes.of(item.key)
        (home.path / "end").unlink(missing_ok=True)
        home.write(msgspec.structs.replace(home.read(), ended="", ended_reason="", started=False))

    def console_output(self, instance_id: str) -> bytes:
        try:
            with self._guests.homes.of(instance_id).console_log.open("rb") as file:
                file.seek(max(file.seek(0, 2) - CONSOLE_BYTES, 0))
                return file.read()
        except FileNotFoundError:
            return b""

    def console_target(self, instance_id: str, console_type: str) -> Path:
        raise GuestError("a namespace instance has no console to connect to", "ConsoleTypeUnavailable")

    def snapshot(self, item: Instance, target: Path, disk_format: str) -> int:
        raise GuestError("a namespace instance has no disk to take a snapshot of", "NoRootDisk")

    def release_disk(self, item: Instance, target: Path) -> None:
        raise GuestError("a namespace instance has no disk to hand over", "NoRootDisk")

    def detach_disk(self, item: Instance, volume_id: str) -> None:
        return

    def resize_disk(self, item: Instance, disk: Disk, size_gb: int) -> None:
        raise GuestError("a namespace instance has no disks", "OnlineExtendUnsupported")

    def copy_disk(self, item: Instance, volume_id: str, target: Path) -> int:
        raise GuestError("a namespace instance has no disks", "DiskNotFound")

    def held_volumes(self) -> list[tuple[str, str]]:
        return []

    def layout(self, item: Instance) -> Layout:
        raise GuestError("a namespace instance cannot be moved while it runs", "MigrationUnsupported")

    def migrate(self, item: Instance, memory: str, disks: str) -> None:
        raise GuestError("a namespace instance cannot be moved while it runs", "MigrationUnsupported")

    def migrate_abort(self, instance_id: str) -> None:
        raise GuestError("a namespace instance cannot be moved while it runs", "MigrationUnsupported")

    def migrate_force(self, instance_id: str) -> None:
        raise GuestError("a namespace instance cannot be moved while it runs", "MigrationUnsupported")

    def migrate_progress(self, instance_id: str) -> Progress:
        return Progress()

    def set_password(self, instance_id: str, password: str) -> None:
        raise GuestError("QEMU guest agent is not enabled", "QemuGuestAgentNotEnabled")

    def inject_nmi(self, instance_id: str) -> None:
        raise GuestError("a namespace instance has no interrupts", "NotSupported")

    def diagnostics(self, instance_id: str) -> dict[str, Detail]:
        if self._guests.keeper(instance_id) is None:
            raise GuestError(f"instance {instance_id} is not running", "InstanceNotRunning")
        return {"memory": self._guests.homes.of(instance_id).read().shape.memory_mb * 1024}


def _shape(item: Instance) -> Shape:
    return Shape(vcpus=item.vcpus, memory_mb=item.memory_mb, root_gb=item.root_gb)


def _outcome(status: str, record: Record, item: Instance, reason: str = "") -> Outcome:
    details: dict[str, Detail] = {
        "build": record.build,
        "vcpus": record.shape.vcpus,
        "memory_mb": record.shape.memory_mb,
        "rescue": False,
        "ports": ",".join(sorted(nic.port_id for nic in item.nics)),
        "volumes": "",
    }
    return Outcome(status, reason, details)


def _keeper_pid(home: Path) -> int | None:
    try:
        pid = int((home / "keeper.pid").read_text())
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(home) in argv else None


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _pid_namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
