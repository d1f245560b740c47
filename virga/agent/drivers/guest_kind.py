"""What every kind of instance (QEMU machine, namespace, in memory) promises to the instances driver."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from virga.contract.calls import Layout, Progress
from virga.contract.items import Disk, Instance

PortsReady = Callable[[Sequence[str]], bool | None]
"""True: all are wired and filtered. None: wait. False: one of them cannot be realised."""

Detail = str | int | float | bool | None


class GuestError(Exception):
    """Something about an instance could not be done. The text is for people; ``kind`` names the error class."""

    def __init__(self, message: str, kind: str = "InstanceError") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where an instance stands after one walk towards what is wanted."""

    status: str
    reason: str = ""
    details: dict[str, Detail] = field(default_factory=dict)
    wait_for: Callable[[], bool] | None = None
    """Not there yet: walk on as soon as this holds. Cheap, memory or one system call."""


class GuestKind(Protocol):
    """Converges one instance at a time; never called twice at once for one instance."""

    def adopt(self, on_news: Callable[[str], None]) -> Iterable[str]:
        """Find all instances of this kind that are ours. ``on_news(id)`` is called when a guest ends by itself."""

    def converge(self, item: Instance, ports_ready: PortsReady) -> Outcome:
        """Go as far as possible towards ``item``. Idempotent. Raises GuestError."""

    def abandon(self, instance_id: str) -> None:
        """The instance is to go: end it at once, so that nobody waits for it. Does not block."""

    def remove(self, instance_id: str) -> None:
        """Leave nothing of it. Idempotent."""

    def images_in_use(self, instance_id: str) -> Collection[str]: ...

    def living(self) -> Mapping[str, str]:
        """Instances whose process runs now, each with a word about it. Reads only, and the world, not memory."""

    def trim_logs(self) -> None:
        """Keep the end of console logs that have grown large: guests write to them without limit."""

    @property
    def actions(self) -> GuestActions: ...


class GuestActions(Protocol):
    """True actions on one instance of a kind. All raise GuestError."""

    def halt(self, item: Instance, soft: bool) -> None:
        """First half of a reboot: down it goes; the walk that follows brings it up again."""

    def console_output(self, instance_id: str) -> bytes:
        """The end of what the guest wrote to its console."""

    def console_target(self, instance_id: str, console_type: str) -> Path:
        """The unix socket of a console."""

    def snapshot(self, item: Instance, target: Path, disk_format: str) -> int:
        """Write the root disk, standalone and of one moment, to ``target``; returns its size. All or nothing."""

    def release_disk(self, item: Instance, target: Path) -> None:
        """Stop, write the root disk to ``target``, and stay down. The own disk stays until the instance goes."""

    def detach_disk(self, item: Instance, volume_id: str) -> None:
        """Wait until the guest let go. The volume is not plugged again, though the item still names it."""

    def resize_disk(self, item: Instance, disk: Disk, size_gb: int) -> None:
        """Show the guest the new size of a volume."""

    def copy_disk(self, item: Instance, volume_id: str, target: Path) -> int:
        """Write a volume of the running instance, of one moment, to ``target``; returns its size. All or nothing."""

    def held_volumes(self) -> list[tuple[str, str]]:
        """Instance and volume of each volume that is open now, in any instance of this kind."""

    def layout(self, item: Instance) -> Layout:
        """What another host must repeat to take it over while it runs. Refuses when it cannot move."""

    def migrate(self, item: Instance, memory: str, disks: str) -> None:
        """Send it to where it is waited for; stands still when done, goes on after an error."""

    def migrate_abort(self, instance_id: str) -> None:
        """Does not wait for a turn: ``migrate`` has it."""

    def migrate_force(self, instance_id: str) -> None:
        """Does not wait for a turn: ``migrate`` has it."""

    def migrate_progress(self, instance_id: str) -> Progress: ...

    def set_password(self, instance_id: str, password: str) -> None: ...

    def inject_nmi(self, instance_id: str) -> None: ...

    def diagnostics(self, instance_id: str) -> dict[str, Detail]:
        """Counters, flat, by the names that OpenStack's oldest format has."""
