"""Arguments and results of the calls, one struct each way, named after the method."""

from __future__ import annotations

import msgspec


class InstanceCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base: the instance that is meant."""

    instance_id: str


class Reboot(InstanceCall, frozen=True, kw_only=True):
    """``instance.reboot``: ``SOFT`` asks the guest by ACPI and turns to ``HARD`` after a while."""

    reboot_type: str = "SOFT"


class ConsoleOutput(InstanceCall, frozen=True, kw_only=True):
    """``instance.console_output``: result is a string, the last ``length`` lines or all."""

    length: int | None = None


class IsKnown(InstanceCall, frozen=True, kw_only=True):
    """``instance.is_known``: whether the host has the instance, or anything that is left of it. Result is a bool."""


class ConsoleTarget(InstanceCall, frozen=True, kw_only=True):
    """``instance.console_target``: result is ConsoleAddress."""

    console_type: str = "novnc"


class ConsoleAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A unix socket that speaks RFB (novnc) or raw bytes (serial)."""

    path: str


class Snapshot(InstanceCall, frozen=True, kw_only=True):
    """``instance.snapshot``: write the root disk, consistent and standalone, to ``path`` (qcow2). Result is SnapshotDone."""

    path: str
    disk_format: str = "qcow2"


class SnapshotDone(msgspec.Struct, frozen=True, kw_only=True):
    size: int


class DetachDisk(InstanceCall, frozen=True, kw_only=True):
    """``instance.detach_disk``: wait until the guest let go of the volume's disk."""

    volume_id: str


class ResizeDisk(InstanceCall, frozen=True, kw_only=True):
    """``instance.resize_disk``: tell the guest that a volume grew."""

    volume_id: str
    size_gb: int


class CopyDisk(InstanceCall, frozen=True, kw_only=True):
    """``instance.copy_disk``: write a volume of the running instance, of one moment and standalone, to ``path`` (qcow2).

    Result is SnapshotDone. The guest goes on meanwhile.
    """

    volume_id: str
    path: str


class SetPassword(InstanceCall, frozen=True, kw_only=True):
    """``instance.set_password``."""

    password: str


class InjectNmi(InstanceCall, frozen=True, kw_only=True):
    """``instance.trigger_crash_dump``."""


class Diagnostics(InstanceCall, frozen=True, kw_only=True):
    """``instance.diagnostics``: result is a flat mapping of counters."""


class ReleaseDisk(InstanceCall, frozen=True, kw_only=True):
    """``instance.release_disk``: stop, and hand the root disk over at ``path`` (cold migration, shelve)."""

    path: str


class MigrateCheck(InstanceCall, frozen=True, kw_only=True):
    """``instance.migrate_check``: may it move while it runs? Result is Layout, which the destination must build."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """What of a running machine another host must repeat exactly."""

    disks: dict[str, int] = {}
    """The instance's own disks by name, with their size in bytes."""
    slots: dict[str, int] = {}
    """Device id to the slot of the PCI bus that the guest knows it in."""


class Migrate(InstanceCall, frozen=True, kw_only=True):
    """``instance.migrate``: send disks and memory to the machine that waits on another host. Returns when all is
    there and the guest stands still here; after an error it goes on here. Asked again, it carries on or says done."""

    memory: str
    disks: str
    """Address that takes the own disks, ``host:port``; empty when there are none."""


class MigrateAbort(InstanceCall, frozen=True, kw_only=True):
    """``instance.migrate_abort``: give up what ``instance.migrate`` does."""


class MigrateForce(InstanceCall, frozen=True, kw_only=True):
    """``instance.migrate_force``: let the guest stand still, so that what is left to send grows no more."""


class MigrateProgress(InstanceCall, frozen=True, kw_only=True):
    """``instance.migrate_progress``: result is Progress."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a live migration."""

    memory_total: int = 0
    memory_processed: int = 0
    memory_remaining: int = 0
    disk_total: int = 0
    disk_processed: int = 0
    disk_remaining: int = 0


class MetadataRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``metadata.get``, from agent to control plane: what a guest asked at 169.254.169.254."""

    method: str
    path: str
    remote_address: str
    network_id: str = ""
    router_id: str = ""
    body: bytes = b""
    headers: dict[str, str] = {}


class MetadataAnswer(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    body: bytes
    content_type: str = "text/plain; charset=UTF-8"


class VolumeCall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    volume_id: str


class VolumeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a volume is on its host: result of ``volume.create``, ``volume.extend``, ``volume.revert_to_snapshot``
    and ``volume.show``. ``path`` stays the same for the life of the volume.
    """

    volume_id: str
    path: str
    size_gb: int


class VolumeShow(VolumeCall, frozen=True, kw_only=True):
    """``volume.show``."""


class PoolShow(msgspec.Struct, frozen=True):
    """``volume.pool``: result is PoolFacts."""


class PoolFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The pool of a host: its room, and the ids of all that is in it, for a check against the rows."""

    total_gb: float
    free_gb: float
    volumes: list[str]
    snapshots: list[str]
    targets: list[str]
    sizes: dict[str, int] = {}
    """GiB of each volume."""
    snapshot_of: dict[str, str] = {}
    """Snapshot to the volume that it is of."""
    unmanaged: list[str] = []
    """Volumes and snapshots that were let go on purpose, and wait to be taken in."""
    problems: list[str] = []
    """What is wrong inside the pool itself: layers that are missing, shared by two volumes, or reached by nobody."""


class HeldDisks(msgspec.Struct, frozen=True):
    """``instance.disks``: result is a list of HeldDisk: what the running machines of the host really have open."""


class HeldDisk(msgspec.Struct, frozen=True, kw_only=True):
    instance_id: str
    volume_id: str


class VolumeCreate(VolumeCall, frozen=True, kw_only=True):
    """``volume.create``: empty, or a copy of exactly one source. Done also when it is there already."""

    size_gb: int
    source_volume_id: str | None = None
    source_copy_path: str | None = None
    """Of a source in use: a copy of one moment, made by whoever has it open. It is taken over."""
    source_snapshot_id: str | None = None
    image_path: str | None = None
    image_format: str | None = None
    backup_path: str | None = None


class VolumeDelete(VolumeCall, frozen=True, kw_only=True):
    """``volume.delete``: done also when it is not there."""


class VolumeExtend(VolumeCall, frozen=True, kw_only=True):
    """``volume.extend``. An attached one: this first, then ``instance.resize_disk`` where the instance runs."""

    size_gb: int


class SnapshotCreate(VolumeCall, frozen=True, kw_only=True):
    """``volume.create_snapshot``."""

    snapshot_id: str
    copy_path: str | None = None
    """Of a volume in use: a copy of one moment, made by whoever has it open. It is taken over."""


class SnapshotDelete(VolumeCall, frozen=True, kw_only=True):
    """``volume.delete_snapshot``: done also when it is not there."""

    snapshot_id: str


class VolumeCopyOut(VolumeCall, frozen=True, kw_only=True):
    """``volume.copy_out``: write the volume (or a snapshot of it) to ``path`` (an image or a backup). Result: CopyDone."""

    snapshot_id: str | None = None
    copy_path: str | None = None
    """Of a volume in use: a copy of one moment, made by whoever has it open. It is taken over."""

    path: str
    disk_format: str = "raw"


class CopyDone(msgspec.Struct, frozen=True, kw_only=True):
    size: int


class VolumeBackUp(VolumeCall, frozen=True, kw_only=True):
    """``volume.back_up``: the volume (or a snapshot of it) into the backup at ``path``; of what ``parent_path``
    has, only the differences. Result: CopyDone, ``size`` is what was written.
    """

    snapshot_id: str | None = None
    copy_path: str | None = None
    """Of a volume in use: a copy of one moment, made by whoever has it open. It is taken over."""

    path: str
    parent_path: str | None = None


class VolumeRestore(VolumeCall, frozen=True, kw_only=True):
    """``volume.restore``: the volume's content becomes that of the backup, at one moment. Result: VolumeFacts."""

    backup_path: str


class VolumeAdopt(VolumeCall, frozen=True, kw_only=True):
    """``volume.adopt``: a volume of the pool that no row knows gets this id. Result: VolumeFacts."""

    source_id: str


class VolumeLeave(VolumeCall, frozen=True, kw_only=True):
    """``volume.leave``: no row will know the volume any more; its bytes stay in the pool."""


class SnapshotAdopt(VolumeCall, frozen=True, kw_only=True):
    """``volume.adopt_snapshot``: a snapshot of the volume that no row knows gets this id."""

    snapshot_id: str
    source_id: str


class SnapshotLeave(VolumeCall, frozen=True, kw_only=True):
    """``volume.leave_snapshot``."""

    snapshot_id: str


class SnapshotRevert(VolumeCall, frozen=True, kw_only=True):
    """``volume.revert_to_snapshot``."""

    snapshot_id: str


class CheckHost(msgspec.Struct, frozen=True):
    """``agent.check``: result is a list of HostDifference, empty when the host is as it must be. Changes nothing."""


class HostDifference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is ``missing``, ``extra``, ``differs``, ``foreign`` or ``unreadable``, and of which driver."""

    driver: str
    key: str
    kind: str
    wanted: str = ""
    actual: str = ""
