"""A cloud on one machine: started, stopped and forgotten as a whole.

    up:    checks -> choices -> server -> wires and hosts -> agents -> supervisor -> API answers -> hosts ready
    down:  supervisor -> server -> hosts -> wires -> the interface of the outside world

Every step of ``up`` completes what is missing and leaves what is there, so ``up`` also repairs a cloud of which a
part was killed. ``down`` needs nothing but the records on disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from virga.lab import checks, credentials, detect, guests, outside, process, underlay
from virga.lab.checks import CheckError
from virga.lab.detect import Detected
from virga.lab.holder import Holder
from virga.lab.host import Host
from virga.lab.program import Program, Programs, environment, python
from virga.lab.wire import WireError, request
from virga.lib.wait import wait_until
from virga.settings import SETTINGS, Settings

MACHINE_LOCK = Path("/run/lock/virga.lock")
REMEMBERED = ("port", "hosts", "dataplane", "outside_cidr", "guest_dir")
POWER_OFF_S = 15.0
SERVER = "server"
SUPERVISOR = "supervisor"


class StartError(Exception):
    """The cloud did not come up; one sentence says why and what to do."""


class ProvisionError(StartError):
    """The cloud runs, without all that a new one begins with."""


@dataclass(slots=True)
class Cloud:
    """The cloud in one state directory. ``say`` tells the person what takes its time now."""

    settings: Settings
    explicit: frozenset[str] = frozenset()
    """Settings that a person chose, so that they are not quietly changed."""
    say: Callable[[str], None] = print
    overrides: dict[str, object] = field(default_factory=dict)
    detected: Detected | None = None

    @property
    def directory(self) -> Path:
        return self.settings.state_dir

    @property
    def programs(self) -> Programs:
        return Programs(self.directory)

    @property
    def wires(self) -> Holder:
        return Holder("underlay", self.directory / "hosts" / "underlay")

    @property
    def outside_record(self) -> Path:
        return self.directory / "outside.json"

    @property
    def guest(self) -> Path:
        """Where the built guest images are."""
        return Path(self.settings.guest_dir or ".cache/guest").absolute()

    @property
    def is_fake(self) -> bool:
        return self.settings.dataplane == "fake"

    def hosts(self) -> list[Host]:
        """The hosts that are to be."""
        return [] if self.is_fake else [Host(n, self.programs) for n in range(1, self.settings.hosts + 1)]

    def existing_hosts(self) -> list[Host]:
        """The hosts that have left traces, in order."""
        numbers = [path.name.removeprefix("host") for path in (self.directory / "hosts").glob("host*")]
        return [
            Host(number, self.programs) for number in sorted(int(text) for text in numbers if text.isdigit())
        ]

    # Up

    def up(self) -> None:
        """Start what does not run, until the API answers. On failure nothing of this start stays."""
        checks.require(self.settings)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        with self.locked(), self._machine_locked():
            was_running = self.running
            try:
                self._start()
            except BaseException:
                if not was_running:
                    self.say("Cleaning up")
                    self._stop()
                raise

    def _start(self) -> None:
        if not self.running:
            self._stop()  # What a killed start or a reboot left behind.
            for old in (self.directory / "logs").glob("*.out"):
                old.unlink()
        self._choose()
        around = environment(self.settings)
        self.say(
            "Starting the API"
            + ("" if self.is_fake else f" and {_count(self.settings.hosts, 'simulated host')}")
        )
        argv = python("virga.server", "--state-dir", str(self.directory))
        self.programs.ensure(Program(name=SERVER, argv=argv, environment=around))
        if not self.is_fake:
            self._make_hosts(around)
        self._watch(around)
        self._wait_for_api()

    def _watch(self, around: dict[str, str]) -> None:
        """Have a supervisor that knows all programs. It is not on its own list."""
        if found := self.programs.living(SUPERVISOR):
            found.signal(1)
            return
        argv = python("virga.lab.supervisor", "--state-dir", str(self.directory))
        process.start(argv, self.programs.record(SUPERVISOR), self.programs.output(SUPERVISOR), around)

    def _choose(self) -> None:
        """Settle what the settings leave open, and remember it for the next start."""
        if not self.programs.living(SERVER):
            port = checks.choose_port(self.settings, "port" in self.explicit)
            self.settings = _with(self.settings, port=port)
        if not self.is_fake and outside.read(self.outside_record) is None:
            cidr = outside.free_range(self.settings.outside_cidr)
            self.settings = _with(self.settings, outside_cidr=cidr)
        if self.guest.is_dir():
            self.settings = _with(self.settings, guest_dir=str(self.guest))
        for name in ("admin_password", "demo_password"):
            if value := getattr(self.settings, name):
                _write_secret(self.directory / name, value)
        chosen = {
            name: getattr(self.settings, name) for name in (*REMEMBERED, *self.overrides) if name in SETTINGS
        }
        chosen = {name: value for name, value in chosen.items() if not isinstance(value, Path)}
        _write_secret(self.directory / "chosen.json", json.dumps(chosen, indent=1))

    def _make_hosts(self, around: dict[str, str]) -> None:
        self.detected = detect.detect(self.settings, self.directory / "detected.json")
        for lack in self.detected.lacks:
            if lack.essential or (lack.needed_for == "the hybrid plug" and self.settings.plug == "hybrid"):
                raise CheckError(
                    f"The kernel of this machine lacks {lack.name}, which is needed for {lack.needed_for}: "
                    "use a kernel that has it, or `virga up --dataplane fake`."
                )
        mtu = self.settings.physical_mtu
        for host in self.existing_hosts():
            if host.number > self.settings.hosts:
                host.end()
        self.wires.make(around)
        underlay.make_bridges(self.wires, mtu)
        found = outside.connect(self.wires, self.settings.outside_cidr, self.outside_record, mtu)
        if self.settings.nat:
            outside.forward(found, self.outside_record)
        detected = self.detected
        with ThreadPoolExecutor(max_workers=4) as pool:
            jobs = [
                pool.submit(host.make, self.wires, self.settings, detected, around) for host in self.hosts()
            ]
            for job in jobs:
                job.result()

    def _wait_for_api(self) -> None:
        """Until the API answers, or its process ended."""

        def answers_or_ended() -> str | None:
            try:
                request("GET", self.settings.endpoint + "/", timeout_s=5.0)
            except WireError as error:
                ended = error.status == 0 and not self.programs.living(SERVER)
                return "ended" if ended else None if error.status == 0 else "answers"
            return "answers"

        outcome = wait_until(answers_or_ended, self.settings.start_seconds)
        if outcome == "answers":
            return
        said = self._last_words(SERVER)
        why = "ended" if outcome else f"did not answer within {self.settings.start_seconds} s"
        raise StartError(f"The API server {why}: {said} (see `virga logs server`)")

    def wait_for_hosts(self) -> None:
        """Until every host's agent has made its bridges. Raises StartError; what runs stays."""
        left = {host.name: host for host in self.hosts()}

        def all_ready() -> bool:
            for name in [name for name, host in left.items() if host.ready()]:
                del left[name]
            return not left

        if not wait_until(all_ready, self.settings.start_seconds, 0.05):
            name = next(iter(left))
            raise StartError(
                f"The agent of {name} did not get ready within {self.settings.start_seconds} s: "
                f"{self._last_words('agent-' + name)} (see `virga logs {name}`)"
            )

    def _last_words(self, program: str) -> str:
        """What a program said last of what is wrong: on its standard error, else as an error in its log."""
        lines = _lines(self.programs.output(program))
        for text in reversed(_lines(self.directory / "logs" / f"{program}.log")):
            line = json.loads(text) if text.startswith("{") else {}
            if not lines and line.get("level") == "error" and "startup failed. Exiting" not in line["event"]:
                lines = str(line.get("traceback") or line.get("event")).strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    # Down

    @property
    def running(self) -> bool:
        """Anything of the cloud that a start would complete rather than replace."""
        return self.programs.living(SUPERVISOR) is not None or self.programs.living(SERVER) is not None

    def down(self, wipe: bool = False) -> None:
        """End all that is ours and nothing else; with ``wipe`` forget the cloud as well. Idempotent."""
        if not self.directory.exists():
            return
        with self.locked():
            self._stop(gently=not wipe)
            if wipe:
                self._forget()

    def _stop(self, gently: bool = False) -> None:
        names = [program.name for program in self.programs.listed()]
        if found := self.programs.living(SUPERVISOR):
            process.stop([found])
        hosts = self.existing_hosts()
        agents = [host.agent for host in hosts]
        process.stop([*self.programs.forget(SERVER, *agents), *self.programs.forget("finish")])
        self.programs.forget(*names)
        with ThreadPoolExecutor(max_workers=4) as pool:
            if gently:
                list(pool.map(lambda host: guests.power_off(host.directory, POWER_OFF_S), hosts))
            outside.disconnect(self.outside_record)
            list(pool.map(lambda host: host.end(), hosts))
        self.wires.end()
        for record in self.programs.directory.glob("*.pid.json"):
            record.unlink(missing_ok=True)
        (self.directory / "bus.sock").unlink(missing_ok=True)

    def _forget(self) -> None:
        """Remove what the cloud is made of. A configuration file that a person put there stays."""
        for entry in list(self.directory.iterdir()):
            if entry.name in ("virga.toml", "lock"):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        if not (self.directory / "virga.toml").exists():
            shutil.rmtree(self.directory, ignore_errors=True)

    # Around

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one command starts or stops this cloud at a time."""
        with _flock(self.directory / "lock", wait=False) as got:
            if not got:
                raise CheckError(
                    f"Another command is starting or stopping the cloud in {self.directory}: wait for it."
                )
            yield

    @contextlib.contextmanager
    def _machine_locked(self) -> Iterator[None]:
        """Two clouds that start at once must not choose the same port and range."""
        with _flock(MACHINE_LOCK, wait=True):
            yield

    def write_credentials(self) -> list[Path]:
        return credentials.write(self.settings)


@contextlib.contextmanager
def _flock(path: Path, wait: bool) -> Iterator[bool]:
    try:
        stream = path.open("a")
    except OSError:
        yield True  # No place for a lock: nobody else can have it either.
        return
    with stream:
        with contextlib.suppress(OSError):
            path.chmod(0o666 if path == MACHINE_LOCK else 0o600)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _with(settings: Settings, **values: object) -> Settings:
    import dataclasses

    return dataclasses.replace(settings, **values)  # type: ignore[arg-type]


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text + "\n")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return []


def detected_or_none(directory: Path) -> Detected | None:
    """What the last start found, for a page that must not look again."""
    try:
        return msgspec.json.decode((directory / "detected.json").read_bytes(), type=Detected)
    except (OSError, msgspec.DecodeError):
        return None
