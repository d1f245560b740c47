"""The image cache links, verifies and forgets; it never takes what reaches for other files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from virga.agent.drivers.image_cache import ImageCache
from virga.agent.drivers.qemu_img import DiskError
from virga.contract.items import ImageRef


def image(path: Path, disk_format: str, image_id: str = "image-1") -> ImageRef:
    return ImageRef(id=image_id, path=str(path), disk_format=disk_format, size=path.stat().st_size)


def qcow2(path: Path, *options: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "8M"], check=True)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> ImageCache:
    return ImageCache(tmp_path / "cache")


def test_a_fetched_image_outlives_the_store(cache: ImageCache, tmp_path: Path) -> None:
    source = tmp_path / "raw"
    source.write_bytes(b"\1" * 4096)
    cached = cache.fetch(image(source, "raw"))
    source.unlink()
    assert Path(cached.path).read_bytes() == b"\1" * 4096
    assert cache.fetch(ImageRef(id="image-1", path=str(source), disk_format="raw", size=1)) == cached


def test_the_virtual_size_of_a_qcow2_is_known(cache: ImageCache, tmp_path: Path) -> None:
    assert cache.fetch(image(qcow2(tmp_path / "q"), "qcow2")).virtual_size == 8 * 1024**2


def test_a_backing_file_is_refused_and_nothing_stays(cache: ImageCache, tmp_path: Path) -> None:
    bait = tmp_path / "bait"
    bait.write_bytes(b"\0" * 1024**2)
    evil = tmp_path / "evil"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(bait), str(evil)], check=True
    )
    with pytest.raises(DiskError, match="refers to another file"):
        cache.fetch(image(evil, "qcow2"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_data_file_is_refused(cache: ImageCache, tmp_path: Path) -> None:
    evil = qcow2(tmp_path / "evil", "-o", f"data_file={tmp_path / 'data'},data_file_raw=on")
    with pytest.raises(DiskError, match="refers to another file"):
        cache.fetch(image(evil, "qcow2"))


def test_bytes_that_are_not_what_they_claim_are_refused(cache: ImageCache, tmp_path: Path) -> None:
    fake = tmp_path / "fake"
    fake.write_bytes(b"no qcow2 at all" * 100)
    with pytest.raises(DiskError):
        cache.fetch(image(fake, "qcow2"))


def test_a_raw_image_that_looks_like_qcow2_is_only_read_as_raw(cache: ImageCache, tmp_path: Path) -> None:
    assert cache.fetch(image(qcow2(tmp_path / "q"), "raw")).disk_format == "raw"


def test_a_missing_file_is_named(cache: ImageCache, tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="is not there"):
        cache.fetch(ImageRef(id="x", path=str(tmp_path / "none"), disk_format="raw", size=1))


def test_only_old_and_unused_images_are_forgotten(tmp_path: Path) -> None:
    now = 1_000_000.0
    cache = ImageCache(tmp_path / "cache", clock=lambda: now)
    for name, age in (("used", 500), ("young", 10), ("old", 500)):
        source = tmp_path / name
        source.write_bytes(b"\0" * 512)
        cache.fetch(image(source, "raw", name))
        os.utime(tmp_path / "cache" / f"{name}.json", (now - age, now - age))
    assert cache.collect({"used"}, unused_s=100) == ["old"]
    assert sorted(path.name for path in (tmp_path / "cache").glob("*.json")) == ["used.json", "young.json"]
