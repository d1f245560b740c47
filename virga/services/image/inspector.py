"""What a file is by its bytes, and whether it is safe to hand to a hypervisor.

Images are hostile input: a qcow2 file may name a backing file on the host, a VMDK descriptor may name
any path. Nothing here interprets more than fixed headers of bounded size, and what is not understood
counts as unsafe. Sources: the qcow2 specification of QEMU, the VMDK 5.0 technical note, the VHD and VHDX
specifications of Microsoft, ECMA-119 (ISO 9660), UEFI 2.10 (GPT).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

SECTOR = 512
INSPECTABLE = frozenset({"raw", "qcow2", "vhd", "vhdx", "vmdk", "vdi", "iso", "gpt", "qed", "luks"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One format that the bytes fit."""

    format: str
    virtual_size: int | None
    unsafe: tuple[str, ...] = field(default=())
    """Names of the checks that failed."""


class _File:
    """Reads at positions, never past what is asked, from a file whose size is known."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size

    def at(self, position: int, length: int) -> bytes:
        if position < 0 or position >= self.size:
            return b""
        self.file.seek(position)
        return self.file.read(min(length, self.size - position))


def inspect(path: Path) -> list[Finding]:
    """All formats the file fits; ``raw`` alone when none."""
    size = path.stat().st_size
    with path.open("rb") as file:
        view = _File(file, size)
        found = [finding for look in _LOOKS if (finding := look(view)) is not None]
    return found or [Finding("raw", size)]


def _qcow2(file: _File) -> Finding | None:
    header = file.at(0, 104)
    if len(header) < 72 or header[:4] != b"QFI\xfb":
        return None
    version, backing_at, backing_size, cluster_bits, virtual_size = struct.unpack_from(">IQIIQ", header, 4)
    unsafe = []
    if version not in (2, 3):
        unsafe.append("version")
    if backing_at or backing_size:
        unsafe.append("backing_file")
    if not 9 <= cluster_bits <= 21:
        unsafe.append("cluster_bits")
    if version == 3:
        if len(header) < 104:
            unsafe.append("header")
        else:
            (incompatible,) = struct.unpack_from(">Q", header, 72)
            # Known: dirty, corrupt, external data file, compression type, extended L2 entries.
            if incompatible & 0b100:
                unsafe.append("data_file")
            if incompatible & ~0b11111:
                unsafe.append("unknown_features")
    return Finding("qcow2", virtual_size, tuple(unsafe))


def _qed(file: _File) -> Finding | None:
    return Finding("qed", None, ("banned",)) if file.at(0, 4) == b"QED\0" else None


def _luks(file: _File) -> Finding | None:
    return Finding("luks", file.size) if file.at(0, 6) == b"LUKS\xba\xbe" else None


def _vdi(file: _File) -> Finding | None:
    header = file.at(0, 0x178)
    if len(header) < 0x178 or header[0x40:0x44] != b"\x7f\x10\xda\xbe":
        return None
    return Finding("vdi", int(struct.unpack_from("<Q", header, 0x170)[0]))


def _vhd(file: _File) -> Finding | None:
    """A dynamic disk repeats its footer at the start; a fixed one has it at the end only."""
    start, end = file.at(0, SECTOR), file.at(file.size - SECTOR, SECTOR)
    footer = start if start[:8] == b"conectix" else end
    if footer[:8] != b"conectix" or len(footer) < SECTOR:
        return None
    current_size = int(struct.unpack_from(">Q", footer, 48)[0])
    (kind,) = struct.unpack_from(">I", footer, 60)
    # 4 is a differencing disk: its content lies in a parent file.
    return Finding("vhd", current_size, ("parent",) if kind == 4 else ())


_VHDX_METADATA = bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e")
_VHDX_SIZE = bytes.fromhex("2442a52f1bcd7648b2115dbed83bf4b8")
_VHDX_PARENT = bytes.fromhex("2d5fd3a80bb34d45abf7d3d84834ab0c")


def _vhdx(file: _File) -> Finding | None:
    if file.at(0, 8) != b"vhdxfile":
        return None
    table = file.at(192 * 1024, 64 * 1024)
    if table[:4] != b"regi":
        return Finding("vhdx", None, ("header",))
    (count,) = struct.unpack_from("<I", table, 8)
    for index in range(min(count, 64)):
        entry = table[16 + index * 32 : 48 + index * 32]
        if len(entry) == 32 and entry[:16] == _VHDX_METADATA:
            return _vhdx_metadata(file, int(struct.unpack_from("<Q", entry, 16)[0]))
    return Finding("vhdx", None, ("header",))


def _vhdx_metadata(file: _File, position: int) -> Finding:
    region = file.at(position, 64 * 1024)
    if region[:8] != b"metadata":
        return Finding("vhdx", None, ("header",))
    (count,) = struct.unpack_from("<H", region, 10)
    size, unsafe = None, []
    for index in range(min(count, 1024)):
        entry = region[32 + index * 32 : 64 + index * 32]
        if len(entry) < 32:
            break
        offset = struct.unpack_from("<I", entry, 16)[0]
        if entry[:16] == _VHDX_SIZE:
            raw = file.at(position + offset, 8)
            size = int(struct.unpack("<Q", raw)[0]) if len(raw) == 8 else None
        elif entry[:16] == _VHDX_PARENT:
            unsafe.append("parent")
    return Finding("vhdx", size, tuple(unsafe))


_VMDK_KINDS = ("streamoptimized", "monolithicsparse")
_DESCRIPTOR_MAX = 64 * 1024


def _vmdk(file: _File) -> Finding | None:
    header = file.at(0, SECTOR)
    if header[:4] != b"KDMV":
        if b"# disk descriptorfile" in header.lower():
            # A bare descriptor is nothing but names of other files.
            return Finding("vmdk", None, ("extents",))
        return None
    if len(header) < 44:
        return Finding("vmdk", None, ("header",))
    _version, _flags, capacity, _grain, at, length = struct.unpack_from("<IIQQQQ", header, 4)
    if at == 0 or not 0 < length * SECTOR <= _DESCRIPTOR_MAX:
        return Finding("vmdk", None, ("descriptor",))
    text = file.at(at * SECTOR, length * SECTOR).split(b"\0", 1)[0].decode("utf-8", "replace")
    return Finding("vmdk", capacity * SECTOR, _vmdk_faults(text))


def _vmdk_faults(descriptor: str) -> tuple[str, ...]:
    """Only one sparse extent inside this very file is harmless."""
    unsafe = []
    kind = ""
    for line in descriptor.splitlines():
        name, _, value = line.partition("=")
        if name.strip().lower() == "createtype":
            kind = value.strip().strip('"').lower()
        elif name.strip().lower() in ("parentfilenamehint", "changetrackpath"):
            unsafe.append("parent")
        elif line.split(" ", 1)[0] in ("RW", "RDONLY", "NOACCESS"):
            words = line.split(" ", 3)
            if len(words) < 4 or words[2] != "SPARSE" or "/" in words[3] or "\\" in words[3]:
                unsafe.append("extents")
    if kind not in _VMDK_KINDS:
        unsafe.append("create_type")
    return tuple(dict.fromkeys(unsafe))


def _iso(file: _File) -> Finding | None:
    volume = file.at(32 * 1024, 2048)
    if volume[1:6] not in (b"CD001", b"NSR02", b"NSR03"):
        return None
    if volume[1:6] != b"CD001" or len(volume) < 132:
        return Finding("iso", file.size)
    (blocks,) = struct.unpack_from("<I", volume, 80)
    (block_size,) = struct.unpack_from("<H", volume, 128)
    return Finding("iso", blocks * block_size)


def _gpt(file: _File) -> Finding | None:
    """A boot sector with a partition table: still raw bytes for a hypervisor."""
    sector = file.at(0, SECTOR)
    if len(sector) < SECTOR or sector[510:512] != b"\x55\xaa":
        return None
    entries = [sector[446 + i * 16 : 462 + i * 16] for i in range(4)]
    if any(entry[0] not in (0x00, 0x80) for entry in entries):
        # The signature alone also ends the first sector of file systems and kernels.
        return None
    if not any(entry[4] for entry in entries):
        return None
    return Finding("gpt", file.size)


_LOOKS: tuple[Callable[[_File], Finding | None], ...] = (
    _qcow2,
    _qed,
    _luks,
    _vdi,
    _vhd,
    _vhdx,
    _vmdk,
    _iso,
    _gpt,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the bytes are, for the format they were said to be."""

    detected: str
    virtual_size: int | None
    mismatch: str | None = None
    """Sentence, when the bytes are not what they claim."""
    unsafe: tuple[str, ...] = ()


def judge(path: Path, disk_format: str) -> Verdict:
    """Compare the file with its claim."""
    findings = inspect(path)
    names = {finding.format for finding in findings}
    if names == {"iso", "gpt"}:
        # A bootable ISO may well begin with a partition table.
        findings = [finding for finding in findings if finding.format == "iso"]
    if len(findings) > 1:
        listed = ", ".join(sorted(names))
        return Verdict("raw", None, f"Multiple formats detected: {listed}")
    found = findings[0]
    name = "raw" if found.format == "gpt" else found.format
    if disk_format == name:
        return Verdict(name, found.virtual_size, None, found.unsafe)
    if name == "raw" and disk_format not in INSPECTABLE:
        return Verdict(name, None)
    if disk_format == "raw":
        # Raw is whatever it is; the hypervisor is told so, and will not look inside.
        return Verdict(name, path.stat().st_size, None, found.unsafe)
    sentence = f"Image disk_format {disk_format} does not match stream data {found.format}"
    return Verdict(name, None, sentence, found.unsafe)
