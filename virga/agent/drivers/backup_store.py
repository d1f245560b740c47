"""Backups as files: each keeps the blocks that its parent does not have, and a map that says where every block is.

    full:         FILE (sparse)  FILE.map   every block is here, or is zeroes
    incremental:  FILE (sparse)  FILE.map   a block is here, in the parent, or is zeroes

A block lies in its file at the place that it has in the volume, so a full backup is a raw disk image. The map keeps
a digest of every block; the next incremental backup compares with those and does not read the parent's data.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from virga.agent.drivers.qemu_img import DiskError

BLOCK = 256 * 1024
DEEPEST = 256
"""More parents than that are a ring, not a chain."""
_HEAD = struct.Struct(">8sIQ64s")
_ENTRY = struct.Struct(">c32s")
_MARK = b"VIRGABK1"
ZERO, HERE, PARENT = b"z", b"h", b"p"
_NO_DIGEST = b"\0" * 32
_ZEROES = b"\0" * BLOCK


@dataclass(frozen=True, slots=True)
class BackupMap:
    """Where each block of a backup is, and its digest."""

    size: int
    """Of the volume, in bytes."""
    parent: str
    """Name of the file, in the same directory, that holds the blocks marked so; empty for a full backup."""
    entries: tuple[tuple[bytes, bytes], ...]

    def digest(self, number: int) -> bytes:
        return self.entries[number][1] if number < len(self.entries) else _NO_DIGEST

    def held(self) -> int:
        """How many blocks are in this backup's own file."""
        return sum(1 for where, _ in self.entries if where == HERE)


def map_path(path: Path) -> Path:
    return path.with_name(path.name + ".map")


def write(source: Path, target: Path, parent: Path | None = None) -> BackupMap:
    """Back up the raw disk ``source``. All or nothing: the file is there only when it and its map are complete."""
    known = read_map(parent) if parent is not None else None
    part = target.with_name(target.name + ".part")
    entries: list[tuple[bytes, bytes]] = []
    with source.open("rb") as reading, part.open("wb") as writing:
        size = os.fstat(reading.fileno()).st_size
        os.ftruncate(writing.fileno(), size)
        for number, block in _blocks(reading.fileno(), size):
            while len(entries) < number:
                entries.append((ZERO, _NO_DIGEST))
            if block == _ZEROES[: len(block)]:
                entries.append((ZERO, _NO_DIGEST))
                continue
            digest = hashlib.sha256(block).digest()
            if known is not None and known.digest(number) == digest:
                entries.append((PARENT, digest))
                continue
            os.pwrite(writing.fileno(), block, number * BLOCK)
            entries.append((HERE, digest))
        while len(entries) < -(-size // BLOCK):
            entries.append((ZERO, _NO_DIGEST))
        os.fsync(writing.fileno())
    made = BackupMap(size, parent.name if parent is not None else "", tuple(entries))
    _write_map(target, made)
    part.rename(target)
    return made


def _blocks(descriptor: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Blocks that may hold data; holes are not read."""
    place = 0
    while place < size:
        try:
            data = os.lseek(descriptor, place, os.SEEK_DATA)
        except OSError:
            return
        hole = os.lseek(descriptor, data, os.SEEK_HOLE)
        number = data // BLOCK
        while number * BLOCK < hole:
            yield number, os.pread(descriptor, BLOCK, number * BLOCK)
            number += 1
        place = number * BLOCK


def restore(source: Path, target: Path) -> None:
    """Put the whole content of a backup, its parents' blocks included, into the new sparse file ``target``."""
    chain = [source]
    maps = [read_map(source)]
    while maps[-1].parent:
        if len(chain) > DEEPEST:
            raise DiskError(f"the chain of backups of {source.name} has no end")
        chain.append(source.with_name(maps[-1].parent))
        maps.append(read_map(chain[-1]))
    files = [os.open(path, os.O_RDONLY) for path in chain]
    try:
        with target.open("wb") as writing:
            os.ftruncate(writing.fileno(), maps[0].size)
            for number, (where, digest) in enumerate(maps[0].entries):
                if where != ZERO:
                    block = _find(files, maps, number)
                    if hashlib.sha256(block).digest() != digest:
                        raise DiskError(f"block {number} of backup {source.name} is damaged")
                    os.pwrite(writing.fileno(), block, number * BLOCK)
    finally:
        for descriptor in files:
            os.close(descriptor)


def _find(files: list[int], maps: list[BackupMap], number: int) -> bytes:
    for descriptor, known in zip(files, maps, strict=True):
        if number < len(known.entries) and known.entries[number][0] == HERE:
            return os.pread(descriptor, min(BLOCK, known.size - number * BLOCK), number * BLOCK)
    raise DiskError(f"block {number} is in none of the backups of the chain")


def read_map(path: Path) -> BackupMap:
    """The map of a backup; one that was made without is read through, and counts as full."""
    try:
        raw = map_path(path).read_bytes()
    except FileNotFoundError:
        return _map_of_raw(path)
    if len(raw) < _HEAD.size:
        raise DiskError(f"the map of backup {path.name} is damaged")
    mark, block, size, parent = _HEAD.unpack_from(raw)
    if mark != _MARK or block != BLOCK or (len(raw) - _HEAD.size) % _ENTRY.size:
        raise DiskError(f"the map of backup {path.name} is damaged")
    entries = tuple(_ENTRY.iter_unpack(raw[_HEAD.size :]))
    name = parent.rstrip(b"\0").decode()
    if "/" in name:
        raise DiskError(f"the map of backup {path.name} names a parent elsewhere")
    return BackupMap(size, name, entries)


def _map_of_raw(path: Path) -> BackupMap:
    with path.open("rb") as reading:
        size = os.fstat(reading.fileno()).st_size
        entries = [(ZERO, _NO_DIGEST)] * -(-size // BLOCK)
        for number, block in _blocks(reading.fileno(), size):
            if block != _ZEROES[: len(block)]:
                entries[number] = (HERE, hashlib.sha256(block).digest())
    return BackupMap(size, "", tuple(entries))


def _write_map(path: Path, made: BackupMap) -> None:
    part = map_path(path).with_name(path.name + ".map.part")
    with part.open("wb") as file:
        file.write(_HEAD.pack(_MARK, BLOCK, made.size, made.parent.encode()))
        file.writelines(_ENTRY.pack(*entry) for entry in made.entries)
        file.flush()
        os.fsync(file.fileno())
    part.rename(map_path(path))
