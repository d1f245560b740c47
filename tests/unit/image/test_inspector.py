"""What a file is by its bytes: real images are known, hostile ones refused, and nothing makes it fail."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from virga.services.image.inspector import inspect, judge

MIB = 1024 * 1024


def made_by_qemu(path: Path, kind: str, *options: str) -> Path:
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", kind, *options, str(path), "5M"], check=True, timeout=60
    )
    return path


@pytest.mark.parametrize(
    ("kind", "name"), [("qcow2", "qcow2"), ("vdi", "vdi"), ("vmdk", "vmdk"), ("vpc", "vhd"), ("vhdx", "vhdx")]
)
def test_images_made_by_qemu_are_known(tmp_path: Path, kind: str, name: str) -> None:
    options = {"vmdk": ("-o", "subformat=monolithicSparse"), "vpc": ("-o", "force_size=on")}.get(kind, ())
    verdict = judge(made_by_qemu(tmp_path / "image", kind, *options), name)
    assert (verdict.detected, verdict.mismatch, verdict.unsafe) == (name, None, ())
    assert verdict.virtual_size == 5 * MIB


def test_a_backing_file_is_refused(tmp_path: Path) -> None:
    made_by_qemu(tmp_path / "base", "qcow2")
    made_by_qemu(tmp_path / "image", "qcow2", "-b", str(tmp_path / "base"), "-F", "qcow2")
    assert judge(tmp_path / "image", "qcow2").unsafe == ("backing_file",)
    # Called raw, it is still refused: somebody might open it as what it is.
    assert judge(tmp_path / "image", "raw").unsafe == ("backing_file",)


def test_an_external_data_file_is_refused(tmp_path: Path) -> None:
    made_by_qemu(tmp_path / "image", "qcow2", "-o", f"data_file={tmp_path / 'data'}")
    assert "data_file" in judge(tmp_path / "image", "qcow2").unsafe


def test_a_feature_nobody_knows_is_refused(tmp_path: Path) -> None:
    path = made_by_qemu(tmp_path / "image", "qcow2")
    content = bytearray(path.read_bytes())
    content[72:80] = struct.pack(">Q", 1 << 40)
    path.write_bytes(content)
    assert "unknown_features" in judge(path, "qcow2").unsafe


@pytest.mark.parametrize(
    "descriptor",
    [
        b'# Disk DescriptorFile\ncreateType="monolithicFlat"\nRW 1 FLAT "/etc/shadow" 0\n',
        b'# Disk DescriptorFile\ncreateType="vmfs"\nRW 1 VMFS "x"\n',
    ],
)
def test_a_bare_descriptor_names_other_files(tmp_path: Path, descriptor: bytes) -> None:
    path = tmp_path / "image"
    path.write_bytes(descriptor.ljust(4096, b"\0"))
    assert judge(path, "vmdk").unsafe == ("extents",)


@pytest.mark.parametrize(
    ("line", "check"),
    [
        (b'RW 1 FLAT "/etc/shadow" 0', "extents"),
        (b'RW 1 SPARSE "../other"', "extents"),
        (b'parentFileNameHint="/etc/shadow"', "parent"),
        (b'createType="monolithicFlat"', "create_type"),
    ],
)
def test_a_descriptor_inside_is_read_too(tmp_path: Path, line: bytes, check: str) -> None:
    text = b'# Disk DescriptorFile\ncreateType="monolithicSparse"\n' + line + b"\n"
    header = b"KDMV" + struct.pack("<IIQQQQ", 1, 3, 100, 128, 1, 2)
    path = tmp_path / "image"
    path.write_bytes(header.ljust(512, b"\0") + text.ljust(1024, b"\0"))
    assert check in judge(path, "vmdk").unsafe


def test_a_differencing_disk_is_refused(tmp_path: Path) -> None:
    footer = bytearray(512)
    footer[:8] = b"conectix"
    footer[48:56] = struct.pack(">Q", MIB)
    footer[60:64] = struct.pack(">I", 4)
    path = tmp_path / "image"
    path.write_bytes(bytes(footer))
    assert judge(path, "vhd").unsafe == ("parent",)


def test_an_iso_with_a_partition_table_is_an_iso(tmp_path: Path) -> None:
    sector = bytearray(512)
    sector[446:462] = bytes([0x80, 0, 0, 0, 0x17, 0, 0, 0]) + struct.pack("<II", 0, 64)
    sector[510:512] = b"\x55\xaa"
    volume = bytearray(2048)
    volume[0:6] = b"\x01CD001"
    volume[80:84] = struct.pack("<I", 20)
    volume[128:130] = struct.pack("<H", 2048)
    path = tmp_path / "image"
    path.write_bytes(bytes(sector).ljust(32 * 1024, b"\0") + bytes(volume))
    verdict = judge(path, "iso")
    assert (verdict.detected, verdict.mismatch, verdict.virtual_size) == ("iso", None, 40960)


def test_two_formats_at_once_are_neither(tmp_path: Path) -> None:
    """A file that is a qcow2 at its start and an ISO further on is meant to deceive."""
    path = made_by_qemu(tmp_path / "image", "qcow2")
    content = bytearray(path.read_bytes().ljust(64 * 1024, b"\0"))
    content[32769:32774] = b"CD001"
    path.write_bytes(content)
    assert judge(path, "qcow2").mismatch == "Multiple formats detected: iso, qcow2"


def test_a_kernel_or_anything_else_is_raw(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"MZ" + bytes(508) + b"\x55\xaa" + b"kernel" * 100)
    assert judge(path, "aki").mismatch is None
    assert judge(path, "raw").virtual_size == path.stat().st_size
    assert judge(path, "qcow2").mismatch == "Image disk_format qcow2 does not match stream data raw"


MAGICS = [
    b"QFI\xfb\0\0\0\x03",
    b"KDMV",
    b"vhdxfile",
    b"conectix",
    b"LUKS\xba\xbe",
    b"QED\0",
    b"# Disk DescriptorFile",
    b"",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(magic=st.sampled_from(MAGICS), rest=st.binary(max_size=2048), far=st.booleans())
def test_no_bytes_make_it_fail(tmp_path: Path, magic: bytes, rest: bytes, far: bool) -> None:
    path = tmp_path / "image"
    path.write_bytes(magic + rest + (bytes(200 * 1024) + b"regi" + rest if far else b""))
    assert inspect(path)
