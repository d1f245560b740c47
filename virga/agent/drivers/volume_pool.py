"""The volume pool of a host: sparse files, instant copies, growth. Every verb is all or nothing and idempotent.

Where the file system copies by reference, a copy is a file of its own at once; elsewhere copies share
layers that are not written any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from virga.agent.drivers import qemu_img
from virga.agent.drivers.qemu_img import GIB, DiskError
from virga.agent.drivers.volume_layers import Holder, Layer, LayerStore
from virga.contract.calls import PoolFacts, VolumeCreate, VolumeFacts

_FICLONE = 0x40049409


class NoSuchVolume(DiskError):
    """A volume or snapshot that is not in this pool."""


class VolumePool:
    """``DIR/volumes``. Actions take turns."""

    def __init__(self, root: Path, is_exported: Callable[[str], bool] = lambda volume_id: False) -> None:
        self.root = root
        self.is_exported = is_exported
        self._store = LayerStore(root)
        self._turn = threading.RLock()

    def open(self) -> None:
        """Make the pool, and sweep what an earlier agent left half made."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._turn:
            self._store.sweep()

    # Reading

    def facts(self, volume_id: str) -> VolumeFacts:
        holder = self._need("volume", volume_id)
        return VolumeFacts(
            volume_id=volume_id,
            path=str(self.root / f"volume-{volume_id}.json"),
            size_gb=holder.size_gb,
        )

    def pool(self) -> PoolFacts:
        room = os.statvfs(self.root)
        return PoolFacts(
            total_gb=round(room.f_blocks * room.f_frsize / GIB, 2),
            free_gb=round(room.f_bavail * room.f_frsize / GIB, 2),
            volumes=[holder.id for holder in self._store.holders("volume")],
            snapshots=[holder.id for holder in self._store.holders("snapshot")],
            targets=[],
        )

    def is_open(self, volume_id: str) -> bool:
        """Somebody writes to it now: an instance, or whoever is behind its target."""
        holder = self._need("volume", volume_id)
        return self.is_exported(volume_id) or qemu_img.is_locked(self._store.path(holder.layer))

    # Volumes

    def create(self, wish: VolumeCreate) -> VolumeFacts:
        """Empty or from one source. An action that was cut short is simply asked again."""
        with self._turn:
            if self._store.holder("volume", wish.volume_id) is None:
                layer = self._content(wish)
                self._store.hold("volume", Holder(wish.volume_id, layer.name, wish.size_gb))
            return self.facts(wish.volume_id)

    def _content(self, wish: VolumeCreate) -> Layer:
        size = wish.size_gb * GIB
        if wish.source_snapshot_id:
            return self._copy_of(self._need("snapshot", wish.source_snapshot_id).layer, size)
        if wish.source_volume_id:
            return self._copy_of(self._frozen(wish.source_volume_id), size)
        if wish.image_path:
            return self._from_image(Path(wish.image_path), wish.image_format or "raw", size)
        layer = self._store.new("raw")
        qemu_img.create(self._store.path(layer.name), size, "raw")
        if wish.backup_path:
            self._store.path(layer.name).unlink()
            _copy_bytes(Path(wish.backup_path), self._store.path(layer.name))
            qemu_img.grow(self._store.path(layer.name), size, "raw")
        self._store.note(layer)
        return layer

    def _from_image(self, image: Path, image_format: str, size: int) -> Layer:
        """Instantly: the image's bytes become a layer that nobody writes."""
        facts = qemu_img.inspect(image, image_format)
        if facts.backing or facts.data_file or facts.encrypted:
            raise DiskError(f"the image {image} refers to another file or is encrypted")
        if facts.virtual_size > size:
            raise DiskError(
                f"the image needs {-(-facts.virtual_size // GIB)} GB, the volume has {size // GIB} GB"
            )
        base = self._store.new(image_format)
        try:
            os.link(image, self._store.path(base.name))
        except OSError:
            _copy_bytes(image, self._store.path(base.name))
        self._store.note(base)
        return self._copy_of(base.name, size)

    def _copy_of(self, source: str, size: int) -> Layer:
        """A new layer that starts as ``source``, at once."""
        below = self._store.layer(source)
        if below.disk_format == "raw":
            whole = self._store.new("raw")
            if _reflink(self._store.path(source), self._store.path(whole.name)):
                qemu_img.grow(self._store.path(whole.name), size, "raw")
                self._store.note(whole)
                return whole
        layer = self._store.new("qcow2", source)
        qemu_img.create_overlay(
            self._store.path(layer.name), self._store.path(source), below.disk_format, size
        )
        self._store.note(layer)
        return layer

    def _frozen(self, volume_id: str) -> str:
        """A layer that holds the volume's bytes of this moment and is never written again."""
        with self._turn:
            holder = self._need("volume", volume_id)
            below = self._store.layer(holder.layer)
            if self.is_open(volume_id):
                return self._whole_copy(below)
            if below.disk_format == "raw":
                still = self._store.new("raw")
                if _reflink(self._store.path(below.name), self._store.path(still.name)):
                    self._store.note(still)
                    return still.name
            above = self._copy_of(holder.layer, holder.size_gb * GIB)
            self._store.hold("volume", Holder(volume_id, above.name, holder.size_gb))
            return holder.layer

    def _whole_copy(self, layer: Layer) -> str:
        """Of a volume in use: as consistent as a disk whose power failed during the copy."""
        copy = self._store.new("qcow2")
        qemu_img.copy(self._store.path(layer.name), layer.disk_format, self._store.path(copy.name), "qcow2")
        self._store.note(copy)
        return copy.name

    def delete(self, volume_id: str) -> None:
        with self._turn:
            holder = self._store.holder("volume", volume_id)
            if holder is not None and self.is_open(volume_id):
                raise DiskError(f"volume {volume_id} is in use")
            self._store.let_go("volume", volume_id)
            self._store.sweep()

    def extend(self, volume_id: str, size_gb: int) -> VolumeFacts:
        """Grow the file; one that a QEMU has open is grown by that QEMU, which must be told anyway."""
        with self._turn:
            holder = self._need("volume", volume_id)
            layer = self._store.layer(holder.layer)
            if self.is_exported(volume_id):
                raise DiskError(
                    f"volume {volume_id} is exported by iSCSI and cannot grow while it is attached"
                )
            if not qemu_img.is_locked(self._store.path(layer.name)):
                qemu_img.grow(self._store.path(layer.name), size_gb * GIB, layer.disk_format)
            self._store.hold("volume", Holder(volume_id, layer.name, max(size_gb, holder.size_gb)))
            return self.facts(volume_id)

    # Snapshots

    def create_snapshot(self, volume_id: str, snapshot_id: str) -> None:
        with self._turn:
            if self._store.holder("snapshot", snapshot_id) is None:
                size_gb = self._need("volume", volume_id).size_gb
                self._store.hold("snapshot", Holder(snapshot_id, self._frozen(volume_id), size_gb, volume_id))

    def delete_snapshot(self, snapshot_id: str) -> None:
        with self._turn:
            self._store.let_go("snapshot", snapshot_id)
            self._store.sweep()

    def revert(self, volume_id: str, snapshot_id: str) -> VolumeFacts:
        with self._turn:
            holder = self._need("volume", volume_id)
            if self.is_open(volume_id):
                raise DiskError(f"volume {volume_id} is in use")
            snapshot = self._need("snapshot", snapshot_id)
            layer = self._copy_of(snapshot.layer, holder.size_gb * GIB)
            self._store.hold("volume", Holder(volume_id, layer.name, holder.size_gb))
            self._store.sweep()
            return self.facts(volume_id)

    def copy_out(self, volume_id: str, snapshot_id: str | None, target: Path, disk_format: str) -> int:
        holder = self._need("snapshot", snapshot_id) if snapshot_id else self._need("volume", volume_id)
        layer = self._store.layer(holder.layer)
        qemu_img.copy(self._store.path(layer.name), layer.disk_format, target, disk_format)
        return target.stat().st_size

    def _need(self, kind: str, holder_id: str) -> Holder:
        holder = self._store.holder(kind, holder_id)
        if holder is None:
            raise NoSuchVolume(f"{kind} {holder_id} is not in the pool {self.root}")
        return holder


def _reflink(source: Path, target: Path) -> bool:
    """Share the blocks where the file system can; leaves nothing where it cannot."""
    with source.open("rb") as reading, target.open("wb") as writing:
        try:
            fcntl.ioctl(writing, _FICLONE, reading.fileno())
        except OSError:
            target.unlink()
            return False
    return True


def _copy_bytes(source: Path, target: Path) -> None:
    """Holes stay holes."""
    if not _reflink(source, target):
        shutil.copyfile(source, target)
