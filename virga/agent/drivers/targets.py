"""iSCSI targets of volumes: one target daemon of this host, one target with one account per exported volume.

Raw volumes are served as they are. For a volume that shares layers with others a small storage daemon
shows the whole of it as one file. Marks: the IQN prefix with the volume's id; the daemons' pid files.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from virga.agent.drivers.tgt_control import ActualTarget, TgtControl, TgtError
from virga.agent.drivers.volume_layers import resolve
from virga.agent.protocol import Difference, Failure
from virga.lib.log import log_for
from virga.lib.run import CommandError, run
from virga.lib.wait import wait_until

log = log_for(__name__)

PREFIX = "iqn.2010-10.org.openstack:volume-"
DAEMON = "targets"


@dataclass(frozen=True, slots=True)
class Export:
    """The wish: this volume is to be reached by iSCSI."""

    record: Path
    user: str
    password: str


@dataclass(frozen=True, slots=True)
class TargetOptions:
    portal_ip: str
    port: int = 3260
    run_directory: Path = Path("/run")
    """Where the control socket is, and the files that show layered volumes."""


class TargetsDriver:
    """Owns the target daemon of this host."""

    name = DAEMON

    def __init__(self, options: TargetOptions, wake: Callable[[], None] = lambda: None) -> None:
        self._options = options
        self._wake = wake
        self._watched = 0
        self._died = threading.Event()
        # Where tgtadm looks by itself, so that it works on the host without options.
        self._base = options.run_directory / "tgtd" / "socket"
        self._control = TgtControl(self._base.with_name("socket.0"))
        self._wanted: dict[str, Export] = {}
        self._stale: set[str] = set()
        self._actual: dict[str, ActualTarget] = {}
        self._reasons: dict[str, str] = {}

    # Wishes

    def want(self, volume_id: str, export: Export | None) -> None:
        """None: it is not to be exported any more."""
        if self._wanted.get(volume_id) != export:
            self._stale.add(volume_id)
        if export is None:
            self._wanted.pop(volume_id, None)
        else:
            self._wanted[volume_id] = export

    def is_exported(self, volume_id: str) -> bool:
        return PREFIX + volume_id in self._actual

    def settled(self, volume_id: str) -> bool:
        return volume_id not in self._stale

    def reason(self, volume_id: str) -> str:
        return self._reasons.get(volume_id, "")

    def exported(self) -> list[str]:
        return sorted(iqn.removeprefix(PREFIX) for iqn in self._actual)

    @property
    def portal(self) -> str:
        return f"{self._options.portal_ip}:{self._options.port}"

    # Driver

    def resync(self) -> None:
        """The daemon itself knows what it serves; passwords cannot be read back, so accounts are made anew."""
        self._died.clear()
        self._read()
        self._stale.update(self._wanted)
        self._watch()

    def _watch(self) -> None:
        """Notice when the daemon ends: its targets are to come back at once, initiators try again for a while."""
        try:
            pid = self._control.pid()
            descriptor = os.pidfd_open(pid)
        except OSError:
            return
        if pid == self._watched:
            os.close(descriptor)
            return
        self._watched = pid
        threading.Thread(target=self._until_ended, args=(descriptor,), name="tgtd", daemon=True).start()

    def _until_ended(self, descriptor: int) -> None:
        select.select([descriptor], [], [])
        os.close(descriptor)
        self._died.set()
        self._wake()

    def _read(self) -> None:
        try:
            found = self._control.targets()
        except TgtError:
            found = []
        self._actual = {target.iqn: target for target in found if target.iqn.startswith(PREFIX)}

    def apply(self) -> Sequence[Failure]:
        failures = []
        if self._died.is_set():
            log.warning("the target daemon ended")
            self.resync()
        wanted = sorted(key for key in self._stale if key in self._wanted)
        if wanted:
            try:
                self._ensure_daemon()
                self._watch()
                self._read()
            except (TgtError, CommandError, OSError) as error:
                self._reasons |= dict.fromkeys(wanted, str(error))
                return [Failure(self.name, key, str(error)) for key in wanted]
        for key in wanted:
            try:
                self._export(key, self._wanted[key])
            except (TgtError, CommandError, OSError) as error:
                self._reasons[key] = str(error)
                failures.append(Failure(self.name, key, str(error)))
            else:
                self._stale.discard(key)
                self._reasons.pop(key, None)
        return failures

    def prune(self) -> Sequence[Failure]:
        failures = []
        for iqn, target in list(self._actual.items()):
            key = iqn.removeprefix(PREFIX)
            if key in self._wanted:
                continue
            try:
                self._withdraw(key, target)
            except (TgtError, OSError) as error:
                failures.append(Failure(self.name, key, str(error)))
        self._stale &= set(self._wanted)
        return failures

    def check(self) -> Sequence[Difference]:
        try:
            there = {target.iqn.removeprefix(PREFIX): target for target in self._control.targets()}
        except TgtError as error:
            if self._wanted:
                return [Difference(self.name, key, "missing", actual=str(error)) for key in self._wanted]
            return []
        missing = [Difference(self.name, key, "missing") for key in self._wanted if key not in there]
        extra = [
            Difference(self.name, key, "extra" if target.iqn.startswith(PREFIX) else "foreign")
            for key, target in there.items()
            if key not in self._wanted
        ]
        differs = [
            Difference(self.name, key, "differs", *fault)
            for key, export in self._wanted.items()
            if key in there and (fault := self._fault(key, export, there[key]))
        ]
        return [*missing, *extra, *differs]

    def _fault(self, key: str, export: Export, target: ActualTarget) -> tuple[str, str] | None:
        """What is wanted and what is, when a target serves something else, or to somebody else."""
        path, disk_format = resolve(export.record)
        backing = str(path if disk_format == "raw" else self._options.run_directory / f"volume-{key}")
        if target.backing != backing:
            return backing, target.backing or "nothing"
        if target.accounts != (export.user,):
            return f"account {export.user}", f"accounts {', '.join(target.accounts) or 'none'}"
        if disk_format != "raw":
            pid_file = self._options.run_directory / f"volume-{key}.pid"
            if not _lives(pid_file, str(pid_file)):
                return "a storage daemon", "none"
        return None

    def end(self) -> None:
        """Withdraw everything and end the daemon. Idempotent."""
        self._wanted.clear()
        self._read()
        self.prune()
        if self._control.alive():
            descriptor = os.pidfd_open(self._control.pid())
            self._control.end()
            select.select([descriptor], [], [], 5)
            os.close(descriptor)

    # One export

    def _export(self, key: str, export: Export) -> None:
        iqn = PREFIX + key
        target = self._actual.get(iqn)
        backing = self._backing(key, export)
        if target is not None and (target.backing != str(backing) or target.accounts != (export.user,)):
            if target.connections and target.backing == str(backing):
                raise TgtError(f"change account of {iqn}", 19)
            self._control.delete_target(target)
            target = None
        if target is None:
            tid = max((each.tid for each in self._actual.values()), default=0) + 1
            self._control.new_target(tid, iqn)
            self._actual[iqn] = ActualTarget(tid, iqn)
            self._control.new_unit(tid, str(backing))
            self._control.new_account(export.user, export.password)
            self._control.bind_account(tid, export.user)
            self._control.open_to_all(tid)
            self._actual[iqn] = ActualTarget(tid, iqn, str(backing), (export.user,))
            log.info("volume exported", volume_id=key, iqn=iqn)

    def _backing(self, key: str, export: Export) -> Path:
        path, disk_format = resolve(export.record)
        if disk_format == "raw":
            return path
        return self._shown_whole(key, path, disk_format)

    def _shown_whole(self, key: str, path: Path, disk_format: str) -> Path:
        """A storage daemon shows the layered volume as one raw file (FUSE)."""
        file = self._options.run_directory / f"volume-{key}"
        pid_file = file.with_suffix(".pid")
        if _lives(pid_file, str(pid_file)):
            return file
        file.touch()
        node = f"driver={disk_format},node-name=volume,file.driver=file,file.filename={path},discard=unmap"
        run(
            [
                *("qemu-storage-daemon", "--daemonize", "--pidfile", str(pid_file)),
                *("--blockdev", node),
                *("--export", f"fuse,id=volume,node-name=volume,mountpoint={file},writable=on"),
            ]
        )
        return file

    def _withdraw(self, key: str, target: ActualTarget) -> None:
        current = {each.iqn: each for each in self._control.targets()}.get(target.iqn)
        if current is not None:
            self._control.delete_target(current)
            for account in current.accounts:
                self._control.delete_account(account)
        file = self._options.run_directory / f"volume-{key}"
        pid_file = file.with_suffix(".pid")
        pid = _lives(pid_file, str(pid_file))
        if pid:
            _end(pid)
        file.unlink(missing_ok=True)
        pid_file.unlink(missing_ok=True)
        del self._actual[target.iqn]
        log.info("volume not exported any more", volume_id=key)

    def _ensure_daemon(self) -> None:
        if self._control.alive():
            return
        # A socket that nobody answers at is left over from a killed daemon.
        self._base.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._base.with_name("socket.0").unlink(missing_ok=True)
        with (self._options.run_directory / "tgtd.log").open("ab") as output:
            subprocess.Popen(
                ["setsid", "--fork", "tgtd", "-f", "--iscsi", f"portal={self.portal}"],
                env={**os.environ, "TGT_IPC_SOCKET": str(self._base)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            ).wait()
        if not wait_until(self._control.alive, 5.0, 0.02):
            raise TgtError("start the target daemon", -1)


def _lives(pid_file: Path, mark: str) -> int:
    """The process of a pid file, if it is still the one that has the mark on its command line; else 0."""
    try:
        pid = int(pid_file.read_text())
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return 0
    return pid if os.fsencode(mark) in argv else 0


def _end(pid: int) -> None:
    """Ask it to end, and see it end: its file system goes with it."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        select.select([descriptor], [], [], 5)
    finally:
        os.close(descriptor)
