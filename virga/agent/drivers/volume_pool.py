"""The volume pool of a host: sparse files, instant copies, growth. Every verb is all or nothing and idempotent.

Where the file system copies by reference, a copy is a file of its own at once; elsewhere copies share
layers that are not written any more.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from virga.agent.drivers import backup_store, qemu_img
from virga.agent.drivers.qemu_img import GIB, DiskError
from virga.agent.drivers.volume_layers import KINDS, Holder, Layer, LayerStore
from virga.contract.calls import PoolFacts, VolumeCreate, VolumeFacts
from virga.lib.run import CommandError, run

_FICLONE = 0x40049409
COPY_S = 1800.0


class NoSuchVolume(DiskError):
    """A volume or snapshot that is not in this pool."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is read: a volume, a snapshot of it, or the copy that the machine which has it open made."""

    volume_id: str
    snapshot_id: str | None = None
    copy: Path | None = None


def _used_up(source: Source) -> None:
    if source.copy is not None:
        source.copy.unlink(missing_ok=True)


class VolumePool:
    """``DIR/volumes``. Actions take turns."""

    def __init__(
        self, root: Path, is_exported: Callable[[str], bool] = lambda volume_id: False, size_gb: int = 0
    ) -> None:
        self.root = root
        self.is_exported = is_exported
        self._size_gb = size_gb
        self._store = LayerStore(root)
        self._turn = threading.RLock()

    def open(self) -> None:
        """Make the pool, and sweep what an earlier agent left half made."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._turn:
            for copy in self.root.glob("copy-*"):
                copy.unlink(missing_ok=True)
            self._store.open()

    @contextmanager
    def _action(self) -> Iterator[None]:
        """One at a time; what a failed one made half is swept."""
        with self._turn:
            try:
                yield
            except BaseException:
                self._store.sweep()
                raise

    # Reading

    def facts(self, volume_id: str) -> VolumeFacts:
        holder = self._need("volume", volume_id)
        return VolumeFacts(
            volume_id=volume_id,
            path=str(self.root / f"volume-{volume_id}.json"),
            size_gb=holder.size_gb,
        )

    def room(self) -> tuple[float, float]:
        """GiB in all, and GiB free: of the file system, or of the part of it that the pool may have."""
        seen = os.statvfs(self.root)
        total, free = seen.f_blocks * seen.f_frsize / GIB, seen.f_bavail * seen.f_frsize / GIB
        if self._size_gb:
            used = sum(path.stat().st_blocks * 512 for path in self.root.glob("layer-*")) / GIB
            total, free = float(self._size_gb), max(0.0, min(free, self._size_gb - used))
        return round(total, 2), round(free, 2)

    def pool(self) -> PoolFacts:
        total, free = self.room()
        with self._turn:
            held = {kind: list(self._store.holders(kind)) for kind in KINDS}
            return PoolFacts(
                total_gb=total,
                free_gb=free,
                volumes=[one.id for one in held["volume"]],
                snapshots=[one.id for one in held["snapshot"]],
                targets=[],
                sizes={one.id: one.size_gb for one in held["volume"]},
                snapshot_of={one.id: one.volume_id for one in held["snapshot"]},
                unmanaged=[one.id for kind in KINDS for one in held[kind] if one.unmanaged],
                problems=self._store.problems(),
            )

    def is_open(self, volume_id: str) -> bool:
        """Somebody writes to it now: an instance, or whoever is behind its target."""
        holder = self._need("volume", volume_id)
        return self.is_exported(volume_id) or qemu_img.is_locked(self._store.path(holder.layer))

    # Volumes

    def create(self, wish: VolumeCreate) -> VolumeFacts:
        """Empty or from one source. An action that was cut short is simply asked again."""
        with self._action():
            if self._store.holder("volume", wish.volume_id) is None:
                layer = self._content(wish)
                self._store.hold("volume", Holder(wish.volume_id, layer.name, wish.size_gb))
            return self.facts(wish.volume_id)

    def _content(self, wish: VolumeCreate) -> Layer:
        size = wish.size_gb * GIB
        if wish.source_snapshot_id:
            return self._copy_of(self._need("snapshot", wish.source_snapshot_id).layer, size)
        if wish.source_volume_id:
            copy = Path(wish.source_copy_path) if wish.source_copy_path else None
            return self._copy_of(self._frozen(wish.source_volume_id, copy=copy), size)
        if wish.image_path:
            return self._from_image(Path(wish.image_path), wish.image_format or "raw", size)
        if wish.backup_path:
            return self._from_backup(Path(wish.backup_path), size)
        layer = self._store.new("raw", size=size)
        qemu_img.create(self._store.path(layer.name), size, "raw")
        self._store.note(layer)
        return layer

    def _from_backup(self, backup: Path, size: int) -> Layer:
        layer = self._store.new("raw", size=size)
        path = self._store.path(layer.name)
        backup_store.restore(backup, path)
        qemu_img.grow(path, size, "raw")
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
            whole = self._store.new("raw", size=size)
            if _reflink(self._store.path(source), self._store.path(whole.name)):
                qemu_img.grow(self._store.path(whole.name), size, "raw")
                self._store.note(whole)
                return whole
        layer = self._store.new("qcow2", source, size)
        qemu_img.create_overlay(
            self._store.path(layer.name), self._store.path(source), below.disk_format, size
        )
        self._store.note(layer)
        return layer

    def _frozen(self, volume_id: str, whole: bool = False, copy: Path | None = None) -> str:
        """A layer that holds the volume's bytes of this moment and is never written again.

        ``whole``: it must be as large as the volume, not only as what was ever written. ``copy`` is what
        the machine that has the volume open made of it.
        """
        holder = self._need("volume", volume_id)
        below = self._store.layer(holder.layer)
        if copy is not None:
            return self._taken_over(copy, holder.size_gb * GIB)
        if self.is_open(volume_id):
            return self._whole_copy(below)
        # While nobody writes after a copy was taken, one layer serves any number of copies.
        if below.backing and self._store.is_untouched(below):
            large = self._store.layer(below.backing).size == holder.size_gb * GIB
            if large or not whole:
                return below.backing
        if below.disk_format == "raw":
            still = self._store.new("raw", size=below.size)
            if _reflink(self._store.path(below.name), self._store.path(still.name)):
                self._store.note(still)
                return still.name
        above = self._copy_of(holder.layer, holder.size_gb * GIB)
        self._store.hold("volume", msgspec.structs.replace(holder, layer=above.name))
        return holder.layer

    def _taken_over(self, copy: Path, size: int) -> str:
        layer = self._store.new("qcow2", size=size)
        copy.rename(self._store.path(layer.name))
        self._store.note(layer)
        return layer.name

    def _whole_copy(self, layer: Layer) -> str:
        """Of a volume in use: as consistent as a disk whose power failed during the copy."""
        copy = self._store.new("qcow2", size=layer.size)
        qemu_img.copy(self._store.path(layer.name), layer.disk_format, self._store.path(copy.name), "qcow2")
        self._store.note(copy)
        return copy.name

    def delete(self, volume_id: str) -> None:
        with self._action():
            holder = self._store.holder("volume", volume_id)
            if holder is not None and self.is_open(volume_id):
                raise DiskError(f"volume {volume_id} is in use")
            self._store.let_go("volume", volume_id)

    def extend(self, volume_id: str, size_gb: int) -> VolumeFacts:
        """Grow the file; one that a QEMU has open is grown by that QEMU, which must be told anyway."""
        with self._action():
            holder = self._need("volume", volume_id)
            layer = self._store.layer(holder.layer)
            if self.is_exported(volume_id):
                raise DiskError(
                    f"volume {volume_id} is exported by iSCSI and cannot grow while it is attached"
                )
            if not qemu_img.is_locked(self._store.path(layer.name)):
                qemu_img.grow(self._store.path(layer.name), size_gb * GIB, layer.disk_format)
            self._store.grown(layer, size_gb * GIB)
            self._store.hold("volume", msgspec.structs.replace(holder, size_gb=max(size_gb, holder.size_gb)))
            return self.facts(volume_id)

    # Snapshots

    def create_snapshot(self, volume_id: str, snapshot_id: str, copy: Path | None = None) -> None:
        with self._action():
            if self._store.holder("snapshot", snapshot_id) is None:
                size_gb = self._need("volume", volume_id).size_gb
                still = self._frozen(volume_id, whole=True, copy=copy)
                self._store.hold("snapshot", Holder(snapshot_id, still, size_gb, volume_id))

    def delete_snapshot(self, snapshot_id: str) -> None:
        with self._action():
            self._store.let_go("snapshot", snapshot_id)

    def revert(self, volume_id: str, snapshot_id: str) -> VolumeFacts:
        with self._action():
            snapshot = self._need("snapshot", snapshot_id)
            holder = self._free(volume_id)
            layer = self._copy_of(snapshot.layer, holder.size_gb * GIB)
            self._store.hold("volume", msgspec.structs.replace(holder, layer=layer.name))
            return self.facts(volume_id)

    def _free(self, volume_id: str) -> Holder:
        """The volume, which nobody writes to now."""
        holder = self._need("volume", volume_id)
        if self.is_open(volume_id):
            raise DiskError(f"volume {volume_id} is in use")
        return holder

    # Copies elsewhere

    def copy_out(self, source: Source, target: Path, disk_format: str) -> int:
        path, source_format = self._read(source)
        qemu_img.copy(path, source_format, target, disk_format)
        _used_up(source)
        return target.stat().st_size

    def back_up(self, source: Source, target: Path, parent: Path | None) -> int:
        """Into the backup ``target``, without what ``parent`` has. Returns how many bytes that took."""
        path, source_format = self._read(source)
        if source_format == "raw":
            made = backup_store.write(path, target, parent)
        else:
            # Read through all its layers once; the copy is sparse and goes at once.
            whole = target.with_name(target.name + ".whole")
            try:
                qemu_img.copy(path, source_format, whole, "raw")
                made = backup_store.write(whole, target, parent)
            finally:
                whole.unlink(missing_ok=True)
        _used_up(source)
        return made.held() * backup_store.BLOCK

    def restore(self, volume_id: str, backup: Path) -> VolumeFacts:
        """The volume becomes what the backup holds, at one moment; until then it is what it was."""
        with self._action():
            holder = self._free(volume_id)
            layer = self._from_backup(backup, holder.size_gb * GIB)
            self._store.hold("volume", msgspec.structs.replace(holder, layer=layer.name))
            return self.facts(volume_id)

    def _read(self, source: Source) -> tuple[Path, str]:
        """File and format of what is to be read."""
        if source.copy is not None:
            return source.copy, "qcow2"
        holder = (
            self._need("snapshot", source.snapshot_id)
            if source.snapshot_id
            else self._need("volume", source.volume_id)
        )
        return self._store.path(holder.layer), self._store.layer(holder.layer).disk_format

    # Leaving and taking in

    def leave(self, kind: str, holder_id: str) -> None:
        """No row knows it any more; its bytes stay. Idempotent."""
        with self._action():
            holder = self._need(kind, holder_id)
            self._store.hold(kind, msgspec.structs.replace(holder, unmanaged=True))

    def adopt(self, kind: str, source_id: str, new_id: str, volume_id: str = "") -> None:
        """What no row knows gets a new id. Idempotent."""
        with self._action():
            if self._store.holder(kind, new_id) is None:
                holder = self._need(kind, source_id)
                known = msgspec.structs.replace(holder, id=new_id, unmanaged=False, volume_id=volume_id)
                self._store.hold(kind, known)
            if source_id != new_id:
                self._store.let_go(kind, source_id)

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
        try:
            run(["cp", "--sparse=always", "--", str(source), str(target)], timeout_s=COPY_S)
        except CommandError as error:
            raise DiskError(str(error)) from error
