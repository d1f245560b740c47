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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)
KINDS = ("volume", "snapshot")


class Layer(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a layer's file is to be read, and on which layer it stands."""

    name: str
    disk_format: str
    backing: str = ""
    size: int = 0
    """Bytes of the disk in it; 0 where an image decides."""
    made: str = ""
    """How the file looked when it was made: while it still does, nobody has written to it."""


class Holder(msgspec.Struct, frozen=True, omit_defaults=True):
    """A volume or a snapshot: its size and its top layer."""

    id: str
    layer: str
    size_gb: int
    volume_id: str = ""
    """Of a snapshot: the volume that it is of."""
    unmanaged: bool = False
    """Let go on purpose: no row knows it until one takes it in."""


@dataclass(slots=True)
class LayerStore:
    """``DIR/volumes``. The names of the files are the marks. One process writes; it remembers what it wrote."""

    root: Path
    _holders: dict[str, dict[str, Holder]] = field(default_factory=dict)
    _layers: dict[str, Layer] = field(default_factory=dict)
    _uses: dict[str, int] = field(default_factory=dict)

    def open(self) -> None:
        """Read the pool as it is on disk, and remove the junk."""
        self._holders = {kind: {one.id: one for one in _read_holders(self.root, kind)} for kind in KINDS}
        self._layers = {one.name: one for one in _read_layers(self.root)}
        self._uses = {}
        for kind in KINDS:
            for holder in self._holders[kind].values():
                self._use(holder.layer)
        for layer in self._layers.values():
            self._use(layer.backing)
        self.sweep()

    def path(self, layer: str) -> Path:
        return self.root / layer

    def new(self, disk_format: str, backing: str = "", size: int = 0) -> Layer:
        return Layer(f"layer-{uuid.uuid4().hex}", disk_format, backing, size)

    def note(self, layer: Layer) -> None:
        """Make the layer known; its file is complete."""
        known = msgspec.structs.replace(layer, made=_looks(self.path(layer.name)))
        _write(self.root / f"{layer.name}.json", known)
        self._layers[layer.name] = known
        self._use(layer.backing)

    def layer(self, name: str) -> Layer:
        return self._layers[name]

    def grown(self, layer: Layer, size: int) -> None:
        """The disk in the layer is larger now; its file was touched, or will be by whoever has it open."""
        if layer.size and layer.size < size:
            known = msgspec.structs.replace(layer, size=size, made="")
            _write(self.root / f"{layer.name}.json", known)
            self._layers[layer.name] = known

    def is_untouched(self, layer: Layer) -> bool:
        """Nobody has written to it since it was made."""
        return layer.made == _looks(self.path(layer.name))

    def hold(self, kind: str, holder: Holder) -> None:
        """Create or replace a volume or snapshot, at one moment. A layer that nobody needs any more goes."""
        before = self._holders[kind].get(holder.id)
        _write(self.root / f"{kind}-{holder.id}.json", holder)
        self._holders[kind][holder.id] = holder
        self._use(holder.layer)
        if before is not None:
            self._release(before.layer)

    def let_go(self, kind: str, holder_id: str) -> None:
        """Idempotent. Layers that only it needed go with it."""
        (self.root / f"{kind}-{holder_id}.json").unlink(missing_ok=True)
        before = self._holders[kind].pop(holder_id, None)
        if before is not None:
            self._release(before.layer)

    def holder(self, kind: str, holder_id: str) -> Holder | None:
        return self._holders[kind].get(holder_id)

    def holders(self, kind: str) -> Iterator[Holder]:
        return iter(list(self._holders[kind].values()))

    def _use(self, name: str) -> None:
        if name:
            self._uses[name] = self._uses.get(name, 0) + 1

    def _release(self, name: str) -> None:
        """One user less. The last one takes the layer along, and so on down."""
        while name:
            self._uses[name] -= 1
            if self._uses[name] > 0:
                return
            del self._uses[name]
            gone = self._layers.pop(name)
            self.path(name).unlink(missing_ok=True)
            (self.root / f"{name}.json").unlink(missing_ok=True)
            name = gone.backing

    def sweep(self) -> list[str]:
        """Remove every layer that no record reaches. Only while no action is under way. Idempotent."""
        kept = self._reached()
        removed = []
        for path in self.root.glob("layer-*"):
            if path.name.partition(".")[0] not in kept or path.name.endswith(".part"):
                path.unlink(missing_ok=True)
                removed.append(path.name)
        for name in [name for name in self._layers if name not in kept]:
            self._forget(name)
        for kind in KINDS:
            for path in self.root.glob(f"{kind}-*.part"):
                path.unlink(missing_ok=True)
        return removed

    def _forget(self, name: str) -> None:
        backing = self._layers.pop(name).backing
        self._uses.pop(name, None)
        if backing in self._uses:
            self._uses[backing] -= 1

    def _reached(self) -> set[str]:
        kept: set[str] = set()
        for kind in KINDS:
            for holder in self._holders[kind].values():
                name = holder.layer
                while name and name not in kept:
                    kept.add(name)
                    known = self._layers.get(name)
                    name = known.backing if known is not None else ""
        return kept

    def problems(self) -> list[str]:
        """What is wrong on disk, in sentences. Reads only, and from the disk, not from memory."""
        found: list[str] = []
        layers = {one.name: one for one in _read_layers(self.root)}
        files = {path.name for path in self.root.glob("layer-*") if "." not in path.name}
        reached: set[str] = set()
        tops: dict[str, str] = {}
        for kind in KINDS:
            for holder in _read_holders(self.root, kind):
                who, name = f"{kind} {holder.id}", holder.layer
                if kind == "volume" and name in tops:
                    found.append(f"{who} and {tops[name]} write to the same layer {name}")
                if kind == "volume":
                    tops[name] = who
                while name:
                    reached.add(name)
                    if name not in files or name not in layers:
                        found.append(f"{who} has lost its layer {name}")
                        break
                    name = layers[name].backing
        found += [f"volume {tops[n]} writes to a layer that others stand on" for n in _shared(tops, layers)]
        found += [f"{name} is reached by no volume and no snapshot" for name in sorted(files - reached)]
        return found


def _shared(tops: dict[str, str], layers: dict[str, Layer]) -> list[str]:
    below = {layer.backing for layer in layers.values()}
    return sorted(name for name in tops if name in below)


def _looks(path: Path) -> str:
    seen = path.stat()
    return f"{seen.st_size}:{seen.st_blocks}:{seen.st_mtime_ns}"


def _read_holders(root: Path, kind: str) -> Iterator[Holder]:
    for path in sorted(root.glob(f"{kind}-*.json")):
        holder = read_holder(path)
        if holder is not None:
            yield holder


def _read_layers(root: Path) -> Iterator[Layer]:
    for path in root.glob("layer-*.json"):
        layer = read_layer(path)
        if layer is not None:
            yield layer


def read_holder(path: Path) -> Holder | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except FileNotFoundError:
        return None


def read_layer(path: Path) -> Layer | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Layer)
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
    layer = read_layer(record.parent / f"{holder.layer}.json")
    if layer is None:
        raise FileNotFoundError(2, "the volume has lost its layer", str(record))
    return record.parent / holder.layer, layer.disk_format
