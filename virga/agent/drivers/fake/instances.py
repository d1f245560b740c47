"""Instances in memory, for the fake data plane: same statuses, same transitions, no latency."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from virga.agent.drivers.guest_kind import Detail, GuestError, Outcome, PortsReady
from virga.contract.calls import Layout, Progress
from virga.contract.items import Disk, Instance

BOOT = "".join(f"[    0.{step:03}] fake guest: step {step} of 20\n" for step in range(1, 21))
CONSOLE = BOOT + "fake guest {name} runs\n"


@dataclass(slots=True)
class FakeGuest:
    """What a pretended hypervisor remembers of one guest."""

    item: Instance
    state: str = "off"
    """``off``, ``on``, ``paused``, ``saved``, ``awaited`` (it runs elsewhere and comes here), ``sent``."""
    build: int = 0
    ended: str = ""
    ended_starts: int = 0
    console: str = ""
    detached: set[str] = field(default_factory=set)


class FakeGuests:
    """A GuestKind whose world is a dictionary. Tests may change ``guests`` and fill ``failing``."""

    def __init__(self) -> None:
        self.guests: dict[str, FakeGuest] = {}
        self.failing: dict[str, str] = {}
        self._on_news: Callable[[str], None] = lambda instance_id: None
        self.actions = FakeActions(self)

    def adopt(self, on_news: Callable[[str], None]) -> Iterable[str]:
        self._on_news = on_news
        return list(self.guests)

    def end(self, instance_id: str, how: str) -> None:
        """The guest ends by itself: ``shutdown`` or ``crashed``."""
        self.guests[instance_id].state = "off"
        self.guests[instance_id].ended = how
        self.guests[instance_id].ended_starts = self.guests[instance_id].item.starts
        self._on_news(instance_id)

    def converge(self, item: Instance, ports_ready: PortsReady) -> Outcome:
        if item.key in self.failing:
            raise GuestError(self.failing[item.key])
        guest = self.guests.setdefault(item.key, FakeGuest(item))
        if guest.build != item.build:
            guest.build, guest.state, guest.ended, guest.console = item.build, "off", "", ""
        guest.item = item
        if guest.ended and guest.ended_starts != item.starts:
            guest.ended = ""
        if item.arrival is not None:
            guest.state = "awaited"
            details: dict[str, Detail] = {"memory": "memory", "disks": ""}
            return Outcome("awaited", details=details)
        if guest.state == "sent" and item.departing:
            return self._outcome(guest, "sent")
        guest.detached &= {disk.volume_id for disk in item.disks}
        if item.power_state == "shutdown":
            guest.state, guest.ended = "off", ""
            return self._outcome(guest, "shutdown")
        if guest.ended:
            return self._outcome(guest, guest.ended, "the guest ended by itself")
        if item.power_state == "suspended":
            guest.state = "saved"
            return self._outcome(guest, "suspended")
        ports = [nic.port_id for nic in item.nics]
        if guest.state in ("off", "awaited"):
            ready = ports_ready(ports)
            if ready is None:
                return Outcome("building", wait_for=lambda: ports_ready(ports) is not None)
            if ready is False:
                raise GuestError(f"a port of instance {item.key} could not be wired")
            guest.console += CONSOLE.format(name=item.name)
        guest.state = "paused" if item.power_state == "paused" else "on"
        return self._outcome(guest, "paused" if guest.state == "paused" else "running")

    def _outcome(self, guest: FakeGuest, status: str, reason: str = "") -> Outcome:
        item = guest.item
        volumes = sorted(d.volume_id for d in item.disks if d.volume_id not in guest.detached)
        details: dict[str, Detail] = {
            "build": guest.build,
            "vcpus": item.vcpus,
            "memory_mb": item.memory_mb,
            "rescue": item.rescue_image is not None,
            "ports": ",".join(sorted(nic.port_id for nic in item.nics)),
            "volumes": ",".join(volumes),
        }
        return Outcome(status, reason, details)

    def abandon(self, instance_id: str) -> None:
        return

    def remove(self, instance_id: str) -> None:
        self.guests.pop(instance_id, None)

    def trim_logs(self) -> None:
        return

    def living(self) -> Mapping[str, str]:
        return {key: guest.state for key, guest in self.guests.items() if guest.state in ("on", "paused")}

    def images_in_use(self, instance_id: str) -> Collection[str]:
        return ()


class FakeActions:
    """The actions, as far as memory can do them."""

    def __init__(self, kind: FakeGuests) -> None:
        self._kind = kind

    def _running(self, instance_id: str) -> FakeGuest:
        guest = self._kind.guests.get(instance_id)
        if guest is None or guest.state not in ("on", "paused"):
            raise GuestError(f"instance {instance_id} is not running", "InstanceNotRunning")
        return guest

    def halt(self, item: Instance, soft: bool) -> None:
        guest = self._kind.guests[item.key]
        guest.state, guest.ended = "off", ""

    def console_output(self, instance_id: str) -> bytes:
        guest = self._kind.guests.get(instance_id)
        return guest.console.encode() if guest else b""

    def console_target(self, instance_id: str, console_type: str) -> Path:
        raise GuestError("instances in memory have no console to connect to", "ConsoleTypeUnavailable")

    def snapshot(self, item: Instance, target: Path, disk_format: str) -> int:
        """A small file stands for the disk: an empty qcow2 of 1 MiB."""
        header = struct.pack(
            ">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, 1 << 20, 0, 1, 196608, 65536, 1, 0, 0
        )
        content = header.ljust(262144, b"\0") if disk_format == "qcow2" else bytes(1 << 20)
        target.write_bytes(content)
        return len(content)

    def release_disk(self, item: Instance, target: Path) -> None:
        guest = self._kind.guests[item.key]
        guest.state, guest.ended = "off", "shutdown"
        target.write_bytes(b"")

    def detach_disk(self, item: Instance, volume_id: str) -> None:
        self._kind.guests[item.key].detached.add(volume_id)

    def resize_disk(self, item: Instance, disk: Disk, size_gb: int) -> None:
        return

    def copy_disk(self, item: Instance, volume_id: str, target: Path) -> int:
        self._running(item.key)
        return 0

    def held_volumes(self) -> list[tuple[str, str]]:
        return [
            (key, disk.volume_id)
            for key, guest in list(self._kind.guests.items())
            for disk in guest.item.disks
            if guest.state in ("on", "paused") and disk.volume_id not in guest.detached
        ]

    def layout(self, item: Instance) -> Layout:
        self._running(item.key)
        return Layout()

    def migrate(self, item: Instance, memory: str, disks: str) -> None:
        self._kind.guests[item.key].state = "sent"

    def migrate_abort(self, instance_id: str) -> None:
        raise GuestError("in memory a guest has moved before anybody can stop it", "MigrationUnsupported")

    def migrate_force(self, instance_id: str) -> None:
        self._running(instance_id)

    def migrate_progress(self, instance_id: str) -> Progress:
        return Progress()

    def set_password(self, instance_id: str, password: str) -> None:
        raise GuestError("QEMU guest agent is not enabled", "QemuGuestAgentNotEnabled")

    def inject_nmi(self, instance_id: str) -> None:
        self._running(instance_id)

    def diagnostics(self, instance_id: str) -> dict[str, Detail]:
        guest = self._running(instance_id)
        return {"memory": guest.item.memory_mb * 1024, "cpu0_time": 0}
