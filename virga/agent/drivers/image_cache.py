"""Images as this host keeps them: one read-only file each, shared by all disks that stand on it.

The mark of a usable cached image is its description file, written last.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from virga.agent.drivers import qemu_img
from virga.agent.drivers.qemu_img import DiskError
from virga.contract.items import ImageRef

FORMATS = {"raw": "raw", "qcow2": "qcow2", "ami": "raw", "aki": "raw", "ari": "raw", "iso": "raw"}
LARGEST = 16 * 1024**4


class CachedImage(msgspec.Struct, frozen=True):
    """A verified image. ``disk_format`` is how QEMU reads it: raw or qcow2."""

    id: str
    path: str
    disk_format: str
    virtual_size: int


class ImageCache:
    """``DIR/images``. A hard link costs nothing and stays when the store forgets the image; else a copy."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._clock = clock
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def _lock(self, image_id: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(image_id, threading.Lock())

    def fetch(self, image: ImageRef) -> CachedImage:
        """Idempotent. Refuses what is not what it claims, or reaches for other files."""
        with self._lock(image.id):
            description = self._root / f"{image.id}.json"
            try:
                cached = msgspec.json.decode(description.read_bytes(), type=CachedImage)
                if Path(cached.path).exists():
                    os.utime(description)
                    return cached
            except (FileNotFoundError, msgspec.DecodeError):
                pass
            self._root.mkdir(mode=0o755, parents=True, exist_ok=True)
            part = self._root / f"{image.id}.part"
            part.unlink(missing_ok=True)
            try:
                _bring(Path(image.path), part)
                cached = self._verify(image, part)
            except DiskError:
                part.unlink(missing_ok=True)
                raise
            part.rename(cached.path)
            description.with_suffix(".new").write_bytes(msgspec.json.encode(cached))
            description.with_suffix(".new").rename(description)
            return cached

    def _verify(self, image: ImageRef, part: Path) -> CachedImage:
        disk_format = FORMATS.get(image.disk_format)
        if disk_format is None:
            raise DiskError(f"image {image.id} has format {image.disk_format}, which this host does not run")
        facts = qemu_img.inspect(part, disk_format)
        if facts.backing or facts.data_file:
            raise DiskError(f"image {image.id} refers to another file ({facts.backing or facts.data_file})")
        if facts.encrypted:
            raise DiskError(f"image {image.id} is encrypted")
        if facts.virtual_size > LARGEST:
            raise DiskError(f"image {image.id} claims a size of {facts.virtual_size} bytes")
        return CachedImage(
            id=image.id,
            path=str(self._root / image.id),
            disk_format=disk_format,
            virtual_size=facts.virtual_size,
        )

    def collect(self, in_use: Collection[str], unused_s: float) -> list[str]:
        """Remove images that no disk stands on and nobody asked for in the last ``unused_s`` seconds."""
        removed = []
        oldest = self._clock() - unused_s
        for description in sorted(self._root.glob("*.json")):
            image_id = description.stem
            with self._lock(image_id):
                if image_id in in_use or description.stat().st_mtime > oldest:
                    continue
                description.unlink()
                (self._root / image_id).unlink(missing_ok=True)
                removed.append(image_id)
        return removed


def _bring(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
        return
    except FileNotFoundError as error:
        raise DiskError(f"the image file {source} is not there") from error
    except OSError:
        # Another file system, or one without links: a copy then, sharing blocks where it can.
        copied = subprocess.run(
            ["cp", "--reflink=auto", "--sparse=always", str(source), str(target)],
            capture_output=True,
            text=True,
            check=False,
        )
        if copied.returncode != 0:
            raise DiskError(f"copying image {source} failed: {copied.stderr.strip()}") from None
