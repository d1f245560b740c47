"""Hosts with real QEMU machines for tests: the instances driver of each, driven by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import uuid
from pathlib import Path

import msgspec

from tests.lib.guest import SerialConsole
from virga.agent.drivers.guest_kind import Outcome
from virga.agent.drivers.image_cache import ImageCache
from virga.agent.drivers.instances import InstancesDriver
from virga.agent.drivers.qemu_guests import QemuGuests, QemuOptions
from virga.agent.drivers.qemu_machine import running_machines
from virga.contract.items import Disk, ImageRef, Instance, Nic


class Rig:
    """A host's instances driver, driven by hand as the agent's loop drives it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.taps: list[str] = []
        self.ready: bool | None = True
        self._console: SerialConsole | None = None
        self.start_agent()

    def start_agent(self) -> None:
        """An agent that remembers nothing."""
        self._news = threading.Event()
        cache = ImageCache(self.root / "image-cache")
        self.guests = QemuGuests(self.root, cache, QemuOptions(shutdown_grace_s=30))
        self.driver = InstancesDriver(
            {"qemu": self.guests}, ports_ready=lambda ids: self.ready, wake=self._news.set, cache=cache
        )
        self.outcomes: dict[str, Outcome] = {}
        self.driver.resync()

    def stop_agent(self) -> None:
        self.guests.close()

    def nic(self) -> Nic:
        port = str(uuid.uuid4())
        tap = f"tap{port[:11]}"
        subprocess.run(["ip", "tuntap", "add", tap, "mode", "tap"], check=True)
        subprocess.run(["ip", "link", "set", tap, "up"], check=True)
        self.taps.append(tap)
        return Nic(port, "net", f"fa:16:3e:{port[:2]}:{port[2:4]}:{port[4:6]}", tap)

    def until(self, key: str, *statuses: str, limit_s: float = 120, **details: object) -> Outcome:
        """Go round until the instance is told to be so."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            self._news.clear()
            self.driver.apply()
            self.driver.prune()
            self.outcomes |= self.driver.outcomes()
            outcome = self.outcomes.get(key)
            if outcome and outcome.status in statuses and details.items() <= outcome.details.items():
                return outcome
            self._news.wait(1)
        raise AssertionError(f"waited in vain for {statuses} {details}: {self.outcomes.get(key)}")

    def be(self, item: Instance, status: str = "running", **details: object) -> Outcome:
        self.outcomes.pop(item.key, None)
        self.driver.want(item)
        return self.until(item.key, status, **details)

    def console(self, key: str) -> SerialConsole:
        """Somebody at the serial console; a console serves one at a time."""
        if self._console is not None:
            self._console.close()
        self._console = SerialConsole(self.guests.homes.of(key).path / "serial.sock")
        return self._console

    def close(self) -> None:
        if self._console is not None:
            self._console.close()
        for key in [item.key for item in self.driver.wanted()]:
            self.driver.unwant(key)
            self.until(key, "gone")
        left = list(running_machines(self.guests.homes.root))
        for _, pid in left:
            os.kill(pid, signal.SIGKILL)
        self.stop_agent()
        for tap in self.taps:
            subprocess.run(["ip", "link", "del", tap], check=True)
        assert not left, "machines were left behind"
        assert not list(self.guests.homes.ids()), "directories were left behind"


def tiny(guest: Path) -> ImageRef:
    path = guest / "tiny.qcow2"
    return ImageRef(id="tiny", path=str(path), disk_format="qcow2", size=path.stat().st_size)


def server(guest: Path, rig: Rig, **changes: object) -> Instance:
    item = Instance(
        key=str(uuid.uuid4()),
        name="vm1",
        hostname="vm1",
        memory_mb=128,
        root_gb=1,
        image=tiny(guest),
        nics=[rig.nic()],
        config_drive=True,
        config_drive_files={"openstack/latest/meta_data.json": "eyJob3N0bmFtZSI6ICJ2bTEifQ=="},
    )
    return msgspec.structs.replace(item, **changes)


def volume(rig: Rig, size_mb: int = 64) -> Disk:
    volume_id = str(uuid.uuid4())
    path = rig.root / f"volume-{volume_id}"
    with path.open("wb") as file:
        file.truncate(size_mb * 1024**2)
    return Disk(
        volume_id=volume_id,
        device="/dev/vdb",
        connection={"driver": "file", "path": str(path), "format": "raw"},
    )
