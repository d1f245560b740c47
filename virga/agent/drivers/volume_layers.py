"""The files of a volume pool: layers that are written once, and records that name the top one.

    volume-A.json --> layer-3 (qcow2) --> layer-1 (raw, never written again) <-- layer-4 <-- volume-B.json
                                              ^-- snapshot-S.json

Whoever is named by a record, directly or through the layers above it, is kept; every other layer is
junk of a cut-short action and is swept. A record is replaced by rename, so every action is all or
nothing at any moment that a process may die.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class Layer(msgspec.Struct, frozen=True):
    """How a layer's file is to be read, and on which layer it stands."""

    name: str
    disk_format: str
    backing: str = ""


class Holder(msgspec.Struct, frozen=True):
    """A volume or a snapshot: its size and its top layer."""

    id: str
    layer: str
    size_gb: int
    volume_id: str = ""
    """Of a snapshot: the volume that it is of."""


@dataclass(frozen=True, slots=True)
class LayerStore:
    """``DIR/volumes``. The names of the files are the marks."""

    root: Path

    def path(self, layer: str) -> Path:
        return self.root / layer

    def new(self, disk_format: str, backing: str = "") -> Layer:
        return Layer(f"layer-{uuid.uuid4().hex}", disk_format, backing)

    def note(self, layer: Layer) -> None:
        """Make the layer known; its file is complete."""
        _write(self.root / f"{layer.name}.json", layer)

    def layer(self, name: str) -> Layer:
        return msgspec.json.decode((self.root / f"{name}.json").read_bytes(), type=Layer)

    def hold(self, kind: str, holder: Holder) -> None:
        """Create or replace a volume or snapshot, at one moment."""
        _write(self.root / f"{kind}-{holder.id}.json", holder)

    def let_go(self, kind: str, holder_id: str) -> None:
        (self.root / f"{kind}-{holder_id}.json").unlink(missing_ok=True)

    def holder(self, kind: str, holder_id: str) -> Holder | None:
        return read_holder(self.root / f"{kind}-{holder_id}.json")

    def holders(self, kind: str) -> Iterator[Holder]:
        for path in sorted(self.root.glob(f"{kind}-*.json")):
            holder = read_holder(path)
            if holder is not None:
                yield holder

    def sweep(self) -> list[str]:
        """Remove every layer that no record reaches. Only while no action is under way. Idempotent."""
        kept: set[str] = set()
        for holder in (*self.holders("volume"), *self.holders("snapshot")):
            name = holder.layer
            while name and name not in kept:
                kept.add(name)
                name = self.layer(name).backing
        removed = []
        for path in self.root.glob("layer-*"):
            if path.name.partition(".")[0] not in kept:
                path.unlink(missing_ok=True)
                removed.append(path.name)
        return removed


def read_holder(path: Path) -> Holder | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except FileNotFoundError:
        return None


def _write(path: Path, value: msgspec.Struct) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(msgspec.json.encode(value))
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def resolve(record: Path) -> tuple[Path, str]:
    """File and format of the volume whose record this is: what to open now, never guessed from its bytes."""
    holder = read_holder(record)
    if holder is None:
        raise FileNotFoundError(2, "there is no such volume", str(record))
    store = LayerStore(record.parent)
    return store.path(holder.layer), store.layer(holder.layer).disk_format
