"""Compares what the rows say of volumes with what the hosts really have. Pure.

    rows        volumes, snapshots, backups, attachments, devices of servers, jobs that wait
    pools       records and layers of each pool, targets of each host
    machines    volumes that running machines have open
    store       files of backups

Each difference is ``lost`` (a row without its thing), ``leaked`` (a thing without its row), ``doubled`` (one thing
used twice), ``differs``, or ``stuck`` (a row between two states that nothing works on any more).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from virga.contract.calls import HeldDisk, PoolFacts

BETWEEN = frozenset(
    (
        *(
            "creating",
            "downloading",
            "deleting",
            "extending",
            "attaching",
            "detaching",
            "reserved",
            "reverting",
        ),
        *("managing", "unmanaging", "retyping", "uploading", "backing-up", "restoring-backup", "restoring"),
    )
)
"""Statuses that end by themselves, as long as somebody works on the row."""
UNMADE = frozenset({"creating", "downloading", "error", "managing", "error_managing", "deleting"})
"""A row of such a status may or may not have bytes."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be, and what can be done."""

    kind: str
    what: str
    id: str
    text: str


@dataclass(frozen=True)
class Rows:
    """What the database says, read in one moment."""

    volumes: Sequence[Any] = ()
    snapshots: Sequence[Any] = ()
    backups: Sequence[Any] = ()
    attachments: Sequence[Any] = ()
    devices: Sequence[Any] = ()
    servers: Mapping[str, Any] = field(default_factory=dict)
    """By id; the deleted ones are not among them."""
    worked_on: frozenset[str] = frozenset()
    """Volumes, snapshots, backups and servers that a job is about."""


@dataclass(frozen=True)
class Seen:
    """What is really there."""

    pools: Mapping[str, PoolFacts]
    """By host; a host that did not answer is not in it."""
    machines: Mapping[str, Sequence[HeldDisk]]
    files: frozenset[str] | None = None
    """Names in the store of backups."""


def compare(rows: Rows, seen: Seen) -> list[Finding]:
    """Everything that is lost, leaked, doubled, different or stuck."""
    return [
        *_pools(rows, seen),
        *_snapshots(rows, seen),
        *_targets(rows, seen),
        *_attachments(rows),
        *_machines(rows, seen),
        *_backups(rows, seen),
        *_stuck(rows),
    ]


def _busy(rows: Rows, *ids: str | None) -> bool:
    return any(one in rows.worked_on for one in ids)


def _pools(rows: Rows, seen: Seen) -> Iterator[Finding]:
    known = {row.id: row for row in rows.volumes}
    for host, pool in seen.pools.items():
        for problem in pool.problems:
            yield Finding("differs", "pool", host, f"Pool of {host}: {problem}.")
        for volume_id in sorted(set(pool.volumes) - known.keys() - set(pool.unmanaged)):
            if not _busy(rows, volume_id):
                yield Finding(
                    "leaked", "volume", volume_id, f"The pool of {host} holds it, and no row knows it."
                )
        for row in rows.volumes:
            yield from _one_volume(rows, row, host, pool)
    places = Counter(one for pool in seen.pools.values() for one in pool.volumes)
    for volume_id, count in places.items():
        if count > 1:
            yield Finding("doubled", "volume", volume_id, f"{count} pools hold it.")


def _one_volume(rows: Rows, row: Any, host: str, pool: PoolFacts) -> Iterator[Finding]:
    if row.host != host or _busy(rows, row.id):
        return
    if row.id not in pool.volumes:
        if row.status not in UNMADE:
            yield Finding(
                "lost",
                "volume",
                row.id,
                f"Its row says {row.status}, and the pool of {host} has no such volume.",
            )
    elif (
        row.status not in UNMADE | {"extending", "error_extending"}
        and pool.sizes.get(row.id, row.size) != row.size
    ):
        size = pool.sizes[row.id]
        yield Finding("differs", "volume", row.id, f"Its row says {row.size} GB, the pool {size} GB.")


def _snapshots(rows: Rows, seen: Seen) -> Iterator[Finding]:
    known = {row.id for row in rows.snapshots}
    hosts = {row.id: row.host for row in rows.volumes}
    for host, pool in seen.pools.items():
        for ident in sorted(set(pool.snapshots) - known - set(pool.unmanaged)):
            if not _busy(rows, ident, pool.snapshot_of.get(ident)):
                yield Finding(
                    "leaked", "snapshot", ident, f"The pool of {host} holds it, and no row knows it."
                )
        for row in rows.snapshots:
            here = hosts.get(row.volume_id) == host and row.status not in UNMADE
            if here and row.id not in pool.snapshots and not _busy(rows, row.id, row.volume_id):
                text = f"Its row says {row.status}, and the pool of {host} has none."
                yield Finding("lost", "snapshot", row.id, text)


def _targets(rows: Rows, seen: Seen) -> Iterator[Finding]:
    wanted = {row.id: row for row in rows.volumes if row.export}
    for host, pool in seen.pools.items():
        for volume_id in sorted(set(pool.targets) - wanted.keys()):
            yield Finding("leaked", "target", volume_id, f"{host} exports it, and nobody is to reach it.")
        for volume_id, row in wanted.items():
            if row.host == host and row.exported and volume_id not in pool.targets:
                yield Finding(
                    "lost", "target", volume_id, f"It is to be exported, and {host} has no target for it."
                )


def _attachments(rows: Rows) -> Iterator[Finding]:
    volumes = {row.id: row for row in rows.volumes}
    devices = {row.attachment_id: row for row in rows.devices if row.attachment_id}
    held: Counter[str] = Counter()
    for row in rows.attachments:
        held[row.volume_id] += 1
        if _busy(rows, row.volume_id, row.server_id):
            continue
        if row.volume_id not in volumes:
            yield Finding("leaked", "attachment", row.id, f"Its volume {row.volume_id} is gone.")
        elif row.id in devices and row.server_id not in rows.servers:
            yield Finding("leaked", "attachment", row.id, f"Its server {row.server_id} is gone.")
    known = {row.id for row in rows.attachments}
    for attachment_id, device in devices.items():
        if (
            attachment_id not in known
            and device.server_id in rows.servers
            and not _busy(rows, device.server_id)
        ):
            yield Finding(
                "lost", "attachment", attachment_id, f"Server {device.server_id} has a device of it."
            )
    for volume_id, count in held.items():
        volume = volumes.get(volume_id)
        if volume is not None and count > 1 and not volume.multiattach:
            yield Finding("doubled", "attachment", volume_id, f"{count} attachments hold one volume.")
    for volume in rows.volumes:
        if volume.status == "in-use" and not held[volume.id] and not _busy(rows, volume.id):
            yield Finding("differs", "volume", volume.id, "Its row says in-use, and nothing is attached.")
        if volume.status == "available" and held[volume.id] and not _busy(rows, volume.id):
            yield Finding(
                "differs", "volume", volume.id, "Its row says available, and an attachment holds it."
            )


def _machines(rows: Rows, seen: Seen) -> Iterator[Finding]:
    wanted = {
        (row.server_id, row.volume_id)
        for row in rows.devices
        if row.volume_id and row.attached and row.server_id in rows.servers
    }
    holders: Counter[str] = Counter()
    multi = {row.id for row in rows.volumes if row.multiattach}
    for host, held in seen.machines.items():
        for disk in held:
            holders[disk.volume_id] += 1
            pair = (disk.instance_id, disk.volume_id)
            if pair not in wanted and not _busy(rows, *pair):
                text = f"Machine {disk.instance_id} on {host} has it open, and it is not to."
                yield Finding("leaked", "disk", disk.volume_id, text)
        yield from _missing_disks(rows, host, held)
    for volume_id, count in holders.items():
        if count > 1 and volume_id not in multi:
            yield Finding("doubled", "disk", volume_id, f"{count} machines have it open.")


def _missing_disks(rows: Rows, host: str, held: Iterable[HeldDisk]) -> Iterator[Finding]:
    there = {(disk.instance_id, disk.volume_id) for disk in held}
    complete = {row.id for row in rows.attachments if row.status == "attached"}
    for device in rows.devices:
        server = rows.servers.get(device.server_id)
        if server is None or server.host != host or server.vm_state not in ("active", "paused"):
            continue
        if _busy(rows, device.volume_id, device.server_id) or device.attachment_id not in complete:
            continue
        if (device.server_id, device.volume_id) not in there:
            text = f"Server {device.server_id} is to have it, and its machine on {host} has not."
            yield Finding("lost", "disk", device.volume_id, text)


def _backups(rows: Rows, seen: Seen) -> Iterator[Finding]:
    if seen.files is None:
        return
    known = {row.id for row in rows.backups}
    for name in sorted(seen.files):
        ident = name.partition(".")[0]
        if ident not in known and not _busy(rows, ident):
            yield Finding("leaked", "backup", ident, f"The store holds the file {name}, and no row knows it.")
    for row in rows.backups:
        if row.status in ("available", "restoring") and row.id not in seen.files:
            yield Finding("lost", "backup", row.id, "The store has no file of it.")


def _stuck(rows: Rows) -> Iterator[Finding]:
    attached = {row.volume_id: row.server_id for row in rows.attachments}
    for what, many in (("volume", rows.volumes), ("snapshot", rows.snapshots), ("backup", rows.backups)):
        for row in many:
            parent = getattr(row, "volume_id", None)
            if row.status not in BETWEEN or _busy(rows, row.id, parent, attached.get(row.id)):
                continue
            if what == "volume" and row.status in ("reserved", "attaching") and row.id in attached:
                server = rows.servers.get(attached[row.id] or "")
                # Reserved by a client, or by a server that is off or still built: that is a state to stay in.
                if server is None or server.vm_state != "active":
                    continue
            text = f"Its status is {row.status}, and nothing works on it. `openstack {what} set --state` ends that."
            yield Finding("stuck", what, row.id, text)
