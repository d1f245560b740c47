"""The calls on volumes (``volume.…`` of contract/calls.py), joined to the pool."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from virga.agent.calls import CallError, CallRegistry
from virga.agent.drivers.qemu_img import DiskError
from virga.agent.drivers.volume_pool import NoSuchVolume, Source
from virga.contract import calls
from virga.lib.wait import wait_until

A = TypeVar("A")
TARGET_GONE_S = 15.0


class Pool(Protocol):
    """What a pool can do; the real one and the one in memory offer it."""

    def create(self, wish: calls.VolumeCreate) -> calls.VolumeFacts: ...

    def facts(self, volume_id: str) -> calls.VolumeFacts: ...

    def pool(self) -> calls.PoolFacts: ...

    def delete(self, volume_id: str) -> None: ...

    def extend(self, volume_id: str, size_gb: int) -> calls.VolumeFacts: ...

    def create_snapshot(self, volume_id: str, snapshot_id: str, copy: Path | None = None) -> None: ...

    def delete_snapshot(self, snapshot_id: str) -> None: ...

    def revert(self, volume_id: str, snapshot_id: str) -> calls.VolumeFacts: ...

    def copy_out(self, source: Source, target: Path, disk_format: str) -> int: ...

    def back_up(self, source: Source, target: Path, parent: Path | None) -> int: ...

    def restore(self, volume_id: str, backup: Path) -> calls.VolumeFacts: ...

    def leave(self, kind: str, holder_id: str) -> None: ...

    def adopt(self, kind: str, source_id: str, new_id: str, volume_id: str = "") -> None: ...


class VolumeCallError(CallError):
    """An action on a volume that could not be done."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error_type = "VolumeNotFound" if isinstance(error, NoSuchVolume) else "VolumeError"


def _spoken(function: Callable[[A], Any]) -> Callable[[A], Any]:
    @wraps(function)
    def call(arguments: A) -> Any:
        try:
            return function(arguments)
        except (DiskError, OSError) as error:
            raise VolumeCallError(error) from error

    return call


def _source(call: calls.VolumeCopyOut | calls.VolumeBackUp) -> Source:
    return Source(call.volume_id, call.snapshot_id, Path(call.copy_path) if call.copy_path else None)


class VolumeCalls:
    """One method per call."""

    def __init__(self, pool: Pool, targets: Callable[[], list[str]] = list) -> None:
        self._pool = pool
        self._targets = targets

    def _once_free(self, volume_id: str) -> None:
        """Who asks knows that nobody has the volume any more; its target may still be on its way out."""
        wait_until(lambda: volume_id not in self._targets(), TARGET_GONE_S)

    def register(self, registry: CallRegistry) -> None:
        methods: list[tuple[str, type[Any], Callable[[Any], Any]]] = [
            ("volume.create", calls.VolumeCreate, self._pool.create),
            ("volume.show", calls.VolumeShow, lambda call: self._pool.facts(call.volume_id)),
            ("volume.pool", calls.PoolShow, self.pool),
            ("volume.delete", calls.VolumeDelete, self.delete),
            ("volume.extend", calls.VolumeExtend, self.extend),
            ("volume.create_snapshot", calls.SnapshotCreate, self.create_snapshot),
            ("volume.delete_snapshot", calls.SnapshotDelete, self.delete_snapshot),
            ("volume.revert_to_snapshot", calls.SnapshotRevert, self.revert),
            ("volume.copy_out", calls.VolumeCopyOut, self.copy_out),
            ("volume.back_up", calls.VolumeBackUp, self.back_up),
            ("volume.restore", calls.VolumeRestore, self.restore),
            ("volume.leave", calls.VolumeLeave, self.leave),
            ("volume.adopt", calls.VolumeAdopt, self.adopt),
            ("volume.leave_snapshot", calls.SnapshotLeave, self.leave_snapshot),
            ("volume.adopt_snapshot", calls.SnapshotAdopt, self.adopt_snapshot),
        ]
        for method, arguments, function in methods:
            registry.register(method, arguments, _spoken(function))

    def pool(self, call: calls.PoolShow) -> calls.PoolFacts:
        return msgspec.structs.replace(self._pool.pool(), targets=self._targets())

    def delete(self, call: calls.VolumeDelete) -> None:
        self._once_free(call.volume_id)
        self._pool.delete(call.volume_id)

    def extend(self, call: calls.VolumeExtend) -> calls.VolumeFacts:
        self._once_free(call.volume_id)
        return self._pool.extend(call.volume_id, call.size_gb)

    def create_snapshot(self, call: calls.SnapshotCreate) -> None:
        copy = Path(call.copy_path) if call.copy_path else None
        self._pool.create_snapshot(call.volume_id, call.snapshot_id, copy)

    def delete_snapshot(self, call: calls.SnapshotDelete) -> None:
        self._pool.delete_snapshot(call.snapshot_id)

    def revert(self, call: calls.SnapshotRevert) -> calls.VolumeFacts:
        self._once_free(call.volume_id)
        return self._pool.revert(call.volume_id, call.snapshot_id)

    def copy_out(self, call: calls.VolumeCopyOut) -> calls.CopyDone:
        size = self._pool.copy_out(_source(call), Path(call.path), call.disk_format)
        return calls.CopyDone(size=size)

    def back_up(self, call: calls.VolumeBackUp) -> calls.CopyDone:
        parent = Path(call.parent_path) if call.parent_path else None
        size = self._pool.back_up(_source(call), Path(call.path), parent)
        return calls.CopyDone(size=size)

    def restore(self, call: calls.VolumeRestore) -> calls.VolumeFacts:
        self._once_free(call.volume_id)
        return self._pool.restore(call.volume_id, Path(call.backup_path))

    def leave(self, call: calls.VolumeLeave) -> None:
        self._once_free(call.volume_id)
        self._pool.leave("volume", call.volume_id)

    def adopt(self, call: calls.VolumeAdopt) -> calls.VolumeFacts:
        self._pool.adopt("volume", call.source_id, call.volume_id)
        return self._pool.facts(call.volume_id)

    def leave_snapshot(self, call: calls.SnapshotLeave) -> None:
        self._pool.leave("snapshot", call.snapshot_id)

    def adopt_snapshot(self, call: calls.SnapshotAdopt) -> None:
        self._pool.adopt("snapshot", call.source_id, call.snapshot_id, call.volume_id)
