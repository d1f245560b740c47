"""A volume pool and iSCSI targets in memory, for the fake data plane."""

from __future__ import annotations

from pathlib import Path

from virga.agent.drivers.fake.keyed import KeyedWorld
from virga.agent.drivers.qemu_img import DiskError
from virga.agent.drivers.targets import Export
from virga.agent.drivers.volume_pool import NoSuchVolume, Source
from virga.contract.calls import PoolFacts, VolumeCreate, VolumeFacts


class FakePool:
    """Remembers sizes, and counts every volume as full."""

    def __init__(self, size_gb: int = 0) -> None:
        self._total_gb = float(size_gb or 100_000)
        self.volumes: dict[str, int] = {}
        self.snapshots: dict[str, tuple[str, int]] = {}
        self.unmanaged: set[str] = set()

    def facts(self, volume_id: str) -> VolumeFacts:
        if volume_id not in self.volumes:
            raise NoSuchVolume(f"volume {volume_id} is not in the pool in memory")
        return VolumeFacts(
            volume_id=volume_id, path=f"/memory/volume-{volume_id}.json", size_gb=self.volumes[volume_id]
        )

    def pool(self) -> PoolFacts:
        return PoolFacts(
            total_gb=self.room()[0],
            free_gb=self.room()[1],
            volumes=sorted(self.volumes),
            snapshots=sorted(self.snapshots),
            targets=[],
            sizes=dict(self.volumes),
            snapshot_of={name: of for name, (of, _) in self.snapshots.items()},
            unmanaged=sorted(self.unmanaged),
        )

    def room(self) -> tuple[float, float]:
        return self._total_gb, max(0.0, self._total_gb - sum(list(self.volumes.values())))

    def create(self, wish: VolumeCreate) -> VolumeFacts:
        if wish.source_volume_id:
            self.facts(wish.source_volume_id)
        if wish.source_snapshot_id and wish.source_snapshot_id not in self.snapshots:
            raise NoSuchVolume(f"snapshot {wish.source_snapshot_id} is not in the pool in memory")
        self.volumes.setdefault(wish.volume_id, wish.size_gb)
        return self.facts(wish.volume_id)

    def delete(self, volume_id: str) -> None:
        self.volumes.pop(volume_id, None)

    def extend(self, volume_id: str, size_gb: int) -> VolumeFacts:
        self.volumes[volume_id] = max(self.facts(volume_id).size_gb, size_gb)
        return self.facts(volume_id)

    def create_snapshot(self, volume_id: str, snapshot_id: str, copy: Path | None = None) -> None:
        self.snapshots.setdefault(snapshot_id, (volume_id, self.facts(volume_id).size_gb))

    def delete_snapshot(self, snapshot_id: str) -> None:
        self.snapshots.pop(snapshot_id, None)

    def revert(self, volume_id: str, snapshot_id: str) -> VolumeFacts:
        if snapshot_id not in self.snapshots:
            raise NoSuchVolume(f"snapshot {snapshot_id} is not in the pool in memory")
        return self.facts(volume_id)

    def copy_out(self, source: Source, target: Path, disk_format: str) -> int:
        self.facts(source.volume_id)
        try:
            target.write_bytes(b"\0" * 1024 * 1024)
        except OSError as error:
            raise DiskError(f"{target}: {error.strerror}") from error
        return 1024 * 1024

    def back_up(self, source: Source, target: Path, parent: Path | None) -> int:
        return self.copy_out(source, target, "raw")

    def restore(self, volume_id: str, backup: Path) -> VolumeFacts:
        if not backup.exists():
            raise DiskError(f"{backup}: there is no such backup")
        return self.facts(volume_id)

    def leave(self, kind: str, holder_id: str) -> None:
        self._held(kind, holder_id)
        self.unmanaged.add(holder_id)

    def adopt(self, kind: str, source_id: str, new_id: str, volume_id: str = "") -> None:
        self._held(kind, source_id)
        self.unmanaged.discard(source_id)
        if kind == "volume":
            self.volumes[new_id] = self.volumes.pop(source_id)
        else:
            self.snapshots[new_id] = (volume_id, self.snapshots.pop(source_id)[1])

    def _held(self, kind: str, holder_id: str) -> None:
        if holder_id not in (self.volumes if kind == "volume" else self.snapshots):
            raise NoSuchVolume(f"{kind} {holder_id} is not in the pool in memory")


class FakeTargets(KeyedWorld):
    """Targets that nobody can log in to."""

    portal = "127.0.0.1:3260"

    def __init__(self) -> None:
        super().__init__("targets")

    def want(self, volume_id: str, export: Export | None) -> None:
        self.wishes.want(volume_id, export)

    def settled(self, volume_id: str) -> bool:
        return self.wishes.outcome(volume_id).settled

    def reason(self, volume_id: str) -> str:
        return self.wishes.outcome(volume_id).reason

    def exported(self) -> list[str]:
        return sorted(self.world)
