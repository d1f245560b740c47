"""Images that reach for other files, lie about what they are or claim the impossible: refused by their bytes alone.

The Image service opens none of them with a tool: a ``qemu-img`` that tells on its caller stands first in PATH.
"""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.lib.cloud import RunningCloud
from tests.lib.waiting import eventually

IMAGES = "/image/v2/images"
MIB = 1024 * 1024


def qcow2(
    *, version: int = 3, backing: bytes = b"", size: int = MIB, bits: int = 16, features: int = 0
) -> bytes:
    """A header as the specification has it, and nothing behind it."""
    at = 104 if backing else 0
    head = struct.pack(">4sIQIIQ", b"QFI\xfb", version, at, len(backing), bits, size)
    rest = struct.pack(">IIQQIIQ", 0, 1, 65536, 131072, 1, 0, 0)
    tail = struct.pack(">QQQII", features, 0, 0, 4, 104)
    return (head + rest + tail)[:104] + backing + b"\0" * 1024


def vmdk(line: bytes, kind: bytes = b"monolithicSparse") -> bytes:
    """A sparse disk with its descriptor inside."""
    text = b'# Disk DescriptorFile\nversion=1\ncreateType="%s"\n%s\n' % (kind, line)
    head = struct.pack("<4sIIQQQQ", b"KDMV", 1, 3, 2048, 128, 1, 20)
    return head.ljust(512, b"\0") + text.ljust(20 * 512, b"\0")


def vhd(kind: int) -> bytes:
    footer = bytearray(512)
    footer[:8] = b"conectix"
    footer[48:56] = struct.pack(">Q", MIB)
    footer[60:64] = struct.pack(">I", kind)
    return bytes(footer) + b"\0" * MIB + bytes(footer)


SECRET = b"/etc/shadow"
UNSAFE = {
    "a backing file": ("qcow2", qcow2(backing=SECRET)),
    "a backing file, called raw": ("raw", qcow2(backing=SECRET)),
    "a backing file by JSON": ("qcow2", qcow2(backing=b'json:{"driver": "file", "filename": "/etc/shadow"}')),
    "a backing file on the net": ("qcow2", qcow2(backing=b"nbd://127.0.0.1:1/x")),
    "a backing file, old version": ("qcow2", qcow2(version=2, backing=SECRET)),
    "a data file": ("qcow2", qcow2(features=0b100)),
    "a feature nobody knows": ("qcow2", qcow2(features=1 << 40)),
    "clusters of an impossible size": ("qcow2", qcow2(bits=63)),
    "a header that ends early": ("qcow2", qcow2()[:80]),
    "a version nobody knows": ("qcow2", qcow2(version=9)),
    "extents elsewhere": (
        "vmdk",
        b'# Disk DescriptorFile\ncreateType="monolithicFlat"\nRW 1 FLAT "/etc/shadow" 0\n',
    ),
    "an extent elsewhere in a sparse disk": ("vmdk", vmdk(b'RW 2048 SPARSE "/etc/shadow"')),
    "a flat extent in a sparse disk": ("vmdk", vmdk(b'RW 2048 FLAT "x.vmdk" 0')),
    "a parent": ("vmdk", vmdk(b'RW 2048 SPARSE "x.vmdk"\nparentFileNameHint="/etc/shadow"')),
    "a type that is a list of files": ("vmdk", vmdk(b'RW 2048 SPARSE "x.vmdk"', b"twoGbMaxExtentSparse")),
    "a differencing VHD": ("vhd", vhd(4)),
}
MISMATCHED = {
    "qcow2 that is VMDK": ("qcow2", vmdk(b'RW 2048 SPARSE "x.vmdk"')),
    "qcow2 that is raw": ("qcow2", b"\0" * 4096),
    "VDI that is qcow2": ("vdi", qcow2()),
    "ISO that is qcow2": ("iso", qcow2()),
    "two at once": ("iso", qcow2().ljust(32769, b"\0") + b"CD001" + b"\0" * 4096),
}


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every call of a tool of QEMU leaves a line."""
    calls = tmp_path / "calls"
    for name in ("qemu-img", "qemu-nbd", "qemu-storage-daemon", "qemu-io"):
        tool = tmp_path / name
        tool.write_text(f'#!/bin/sh\necho "$0 $@" >> {calls}\nexit 1\n')
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return calls


def new(client: httpx.Client, disk_format: str) -> str:
    body = {"name": "hostile", "disk_format": disk_format, "container_format": "bare"}
    return str(client.post(IMAGES, json=body).json()["id"])


BYTES = {"content-type": "application/octet-stream"}


@pytest.mark.parametrize("name", [*UNSAFE, *MISMATCHED])
def test_an_upload_is_refused_and_leaves_nothing(cloud: RunningCloud, guarded: Path, name: str) -> None:
    client = cloud.member()
    disk_format, content = {**UNSAFE, **MISMATCHED}[name]
    image = new(client, disk_format)
    answer = client.put(f"{IMAGES}/{image}/file", content=content, headers=BYTES)
    assert answer.status_code == 415, answer.text
    assert b"shadow" not in answer.content
    shown = client.get(f"{IMAGES}/{image}").json()
    assert (shown["status"], shown["size"]) == ("queued", None)
    assert not list((cloud.settings.state_dir / "images").rglob(image))
    assert not guarded.exists(), guarded.read_text()
    client.delete(f"{IMAGES}/{image}")


@pytest.mark.parametrize("name", UNSAFE)
def test_an_import_is_refused_all_the_same(cloud: RunningCloud, guarded: Path, name: str) -> None:
    client = cloud.member()
    disk_format, content = UNSAFE[name]
    image = new(client, disk_format)
    assert client.put(f"{IMAGES}/{image}/stage", content=content, headers=BYTES).status_code == 204
    body = {"method": {"name": "glance-direct"}}
    assert client.post(f"{IMAGES}/{image}/import", json=body).status_code == 202
    eventually(lambda: client.get(f"{IMAGES}/{image}").json()["status"] == "queued", "refused again")
    eventually(lambda: client.get(f"{IMAGES}/{image}").json()["os_glance_failed_import"] != "", "told so")
    assert not list((cloud.settings.state_dir / "images").rglob(image))
    assert not guarded.exists(), guarded.read_text()
    client.delete(f"{IMAGES}/{image}")


def test_a_size_that_nobody_has_is_not_believed(cloud: RunningCloud) -> None:
    """A bomb: a few bytes that say they are an exabyte. It may lie in the store, but no flavor is large enough for it."""
    client, admin = cloud.member(), cloud.admin()
    image = new(client, "qcow2")
    content = qcow2(size=2**60)
    assert client.put(f"{IMAGES}/{image}/file", content=content, headers=BYTES).status_code == 204
    assert client.get(f"{IMAGES}/{image}").json()["virtual_size"] == 2**60
    flavor = {"name": "bomb", "ram": 64, "vcpus": 1, "disk": 10, "id": "bomb"}
    admin.post("/compute/v2.1/flavors", json={"flavor": flavor})
    server = {"name": "bomb", "flavorRef": "bomb", "imageRef": image, "networks": "none"}
    newest = {"openstack-api-version": "compute 2.95"}
    answer = client.post("/compute/v2.1/servers", json={"server": server}, headers=newest)
    assert answer.status_code == 400, answer.text
    assert "disk is too small" in answer.json()["badRequest"]["message"]
    volume = {"volume": {"size": 1, "imageRef": image}}
    answer = client.post("/volume/v3/volumes", json=volume)
    assert answer.status_code == 400, answer.text
    client.delete(f"{IMAGES}/{image}")
    admin.delete("/compute/v2.1/flavors/bomb")


@pytest.mark.skipif(
    subprocess.run(["which", "qemu-img"], capture_output=True).returncode != 0, reason="no qemu-img"
)
def test_what_passed_is_opened_with_its_format_and_limits(tmp_path: Path) -> None:
    """The host looks again, by a tool, but never lets it guess, and never lets it eat the machine."""
    from virga.agent.drivers import qemu_img

    path = tmp_path / "image"
    path.write_bytes(qcow2(backing=SECRET))
    # As raw, the bytes are a disk and name nothing.
    facts = qemu_img.inspect(path, "raw")
    assert (facts.disk_format, facts.backing) == ("raw", "")
    assert qemu_img.LIMITS[0] == "prlimit"
    assert any(word.startswith("--as=") for word in qemu_img.LIMITS)
    assert any(word.startswith("--cpu=") for word in qemu_img.LIMITS)
