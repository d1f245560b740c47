"""Quotas of Block Storage: limits of projects and classes, what is used, and the check that never overshoots.

What is used is counted from the rows in the same transaction that adds to them; nothing is reserved or kept beside.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from virga.db.tx import Tx
from virga.services.block_storage.faults import OverQuota
from virga.services.block_storage.models import (
    volume,
    volume_backup,
    volume_quota,
    volume_snapshot,
    volume_type,
)

DEFAULTS = {
    "volumes": 10,
    "per_volume_gigabytes": -1,
    "snapshots": 10,
    "gigabytes": 1000,
    "backups": 10,
    "backup_gigabytes": 1000,
    "groups": 10,
}


def _rows(tx: Tx, scope: str, owner: str) -> dict[str, int]:
    found = tx.all(
        select(volume_quota.c.resource, volume_quota.c.hard_limit).where(
            volume_quota.c.scope == scope, volume_quota.c.owner == owner
        )
    )
    return {row.resource: row.hard_limit for row in found}


def resources(tx: Tx) -> dict[str, int]:
    """All resources with their built-in limits, those of each volume type included."""
    found = dict(DEFAULTS)
    for row in tx.all(select(volume_type.c.name).order_by(volume_type.c.number)):
        found |= {f"{kind}_{row.name}": -1 for kind in ("volumes", "gigabytes", "snapshots")}
    return found


def class_limits(tx: Tx, name: str = "default") -> dict[str, int]:
    return resources(tx) | _rows(tx, "class", name)


def limits(tx: Tx, project_id: str) -> dict[str, int]:
    """What holds for a project."""
    return class_limits(tx) | _rows(tx, "project", project_id)


def _count(tx: Tx, table: Any, project_id: str, *where: Any) -> tuple[int, int]:
    row = tx.first(
        select(func.count(), func.coalesce(func.sum(table.c.size), 0)).where(
            table.c.project_id == project_id, *where
        )
    )
    return (int(row[0]), int(row[1])) if row else (0, 0)


def usage(tx: Tx, project_id: str) -> dict[str, int]:
    """What a project uses, of every resource."""
    volumes, volume_gb = _count(tx, volume, project_id)
    snapshots, snapshot_gb = _count(tx, volume_snapshot, project_id)
    backups, backup_gb = _count(tx, volume_backup, project_id)
    found = dict.fromkeys(resources(tx), 0) | {
        "volumes": volumes,
        "snapshots": snapshots,
        "gigabytes": volume_gb + snapshot_gb,
        "backups": backups,
        "backup_gigabytes": backup_gb,
    }
    for kind in tx.all(select(volume_type.c.id, volume_type.c.name)):
        typed, typed_gb = _count(tx, volume, project_id, volume.c.volume_type_id == kind.id)
        taken, taken_gb = _count(tx, volume_snapshot, project_id, volume_snapshot.c.volume_type_id == kind.id)
        found[f"volumes_{kind.name}"] = typed
        found[f"snapshots_{kind.name}"] = taken
        found[f"gigabytes_{kind.name}"] = typed_gb + taken_gb
    return found


def check(tx: Tx, project_id: str, wanted: dict[str, int], type_id: str | None = None) -> None:
    """Refuse when ``wanted`` more is more than is left, in the order in which Cinder says so."""
    held, used = limits(tx, project_id), usage(tx, project_id)
    asked = dict(wanted)
    name = tx.scalar(select(volume_type.c.name).where(volume_type.c.id == type_id)) if type_id else None
    if name:
        asked |= {
            f"{kind}_{name}": wanted[kind] for kind in ("volumes", "gigabytes", "snapshots") if kind in wanted
        }
    over = [
        kind for kind, amount in asked.items() if amount > 0 and 0 <= held.get(kind, -1) < used[kind] + amount
    ]
    if not over:
        return
    for kind in sorted(over, key=lambda k: "gigabytes" not in k):
        raise _refusal(kind, asked[kind], used[kind], held[kind])


def check_single(tx: Tx, project_id: str, size: int) -> None:
    """No volume larger than the quota of one volume."""
    limit = limits(tx, project_id)["per_volume_gigabytes"]
    if 0 <= limit < size:
        raise OverQuota(
            f"Requested volume size {size}G is larger than maximum allowed limit {limit}G.",
            type="VolumeSizeExceedsLimit",
        )


def _refusal(kind: str, wanted: int, used: int, limit: int) -> OverQuota:
    if kind.startswith("backup_gigabytes"):
        return OverQuota(
            f"Requested backup exceeds allowed Backup gigabytes quota. Requested {wanted}G, quota is {limit}G and "
            f"{used}G has been consumed.",
            type="VolumeBackupSizeExceedsAvailableQuota",
        )
    if kind.startswith("gigabytes"):
        return OverQuota(
            f"Requested volume or snapshot exceeds allowed {kind} quota. Requested {wanted}G, quota is {limit}G and "
            f"{used}G has been consumed.",
            type="VolumeSizeExceedsAvailableQuota",
        )
    if kind.startswith("snapshots"):
        return OverQuota(
            f"Maximum number of snapshots allowed ({limit}) exceeded for quota '{kind}'.",
            type="SnapshotLimitExceeded",
        )
    if kind.startswith("backups"):
        return OverQuota(f"Maximum number of backups allowed ({limit}) exceeded", type="BackupLimitExceeded")
    return OverQuota(
        f"Maximum number of volumes allowed ({limit}) exceeded for quota '{kind}'.",
        type="VolumeLimitExceeded",
    )
