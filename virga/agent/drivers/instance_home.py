"""One directory per instance: where its disks, sockets and logs are, and what was realised of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from virga.contract.items import Disk, Nic

LARGEST_LOG = 4 * 1024 * 1024
KEPT_LOG = 1024 * 1024


class Shape(msgspec.Struct, frozen=True):
    """What a guest cannot change while it runs. Another shape wanted means: stop and start again."""

    vcpus: int = 0
    memory_mb: int = 0
    root_gb: int = 0
    rescue_image: str = ""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was realised, for an agent that comes later and remembers nothing."""

    build: int = 0
    shape: Shape = Shape()
    nics: list[Nic] = []
    disks: list[Disk] = []
    images: list[str] = []
    """Ids of the cached images that the disks of this instance stand on."""
    ended: str = ""
    """How the guest ended by itself (``shutdown`` or ``crashed``); it is not started again unasked."""
    ended_reason: str = ""
    ended_starts: int = 0
    """``starts`` of the wish under which it ended; a wish with another number starts it again."""
    suspended: bool = False
    started: bool = False
    """The guest was let run once since its process was started."""
    slots: dict[str, int] = {}
    """Where on the PCI bus the devices were that saved memory knows."""
    arriving: dict[str, str] = {}
    """Addresses (``memory``, ``disks``) at which this machine takes what another host sends."""


@dataclass(frozen=True, slots=True)
class InstanceHome:
    """``DIR/instances/<server id>``. The directory itself is the mark that an instance is ours."""

    path: Path

    @property
    def disk(self) -> Path:
        return self.path / "disk"

    @property
    def rescue_disk(self) -> Path:
        return self.path / "disk.rescue"

    @property
    def ephemeral_disk(self) -> Path:
        return self.path / "disk.eph0"

    @property
    def swap_disk(self) -> Path:
        return self.path / "disk.swap"

    @property
    def config_drive(self) -> Path:
        return self.path / "disk.config"

    @property
    def memory(self) -> Path:
        """The guest's memory and devices while it is suspended."""
        return self.path / "suspended"

    @property
    def console_log(self) -> Path:
        return self.path / "console.log"

    def trim_console(self) -> None:
        """In place: the writer appends to the file that it has open."""
        try:
            with self.console_log.open("r+b") as file:
                if file.seek(0, os.SEEK_END) > LARGEST_LOG:
                    file.seek(-KEPT_LOG, os.SEEK_END)
                    end = file.read()
                    file.truncate(0)
                    file.seek(0)
                    file.write(end)
        except FileNotFoundError:
            return

    def read(self) -> Record:
        """An unreadable record counts as none: the instance is built again from what is wanted."""
        try:
            return msgspec.json.decode((self.path / "instance.json").read_bytes(), type=Record)
        except (FileNotFoundError, msgspec.DecodeError):
            return Record()

    def write(self, record: Record) -> Record:
        """All or nothing, by rename."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self.path / "instance.json.part"
        with part.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(msgspec.json.encode(record))
        part.rename(self.path / "instance.json")
        return record

    def remove(self) -> None:
        """Idempotent. The record goes first, so that a half removed instance is never taken for a whole one."""
        (self.path / "instance.json").unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class InstanceHomes:
    """All instances of a host."""

    root: Path

    def of(self, instance_id: str) -> InstanceHome:
        return InstanceHome(self.root / instance_id)

    def ids(self) -> Iterator[str]:
        if self.root.is_dir():
            yield from sorted(entry.name for entry in self.root.iterdir() if entry.is_dir())
