"""The volume pool: instant copies share layers, records decide at one moment, junk is swept."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from virga.agent.drivers.qemu_img import GIB, DiskError, inspect
from virga.agent.drivers.volume_layers import resolve
from virga.agent.drivers.volume_pool import NoSuchVolume, Source, VolumePool
from virga.contract.calls import VolumeCreate, VolumeFacts


@pytest.fixture
def pool(tmp_path: Path) -> VolumePool:
    made = VolumePool(tmp_path / "volumes")
    made.open()
    return made


def write(facts: VolumeFacts, text: bytes, offset: int = 0) -> None:
    """As an instance would: through the top layer."""
    path, disk_format = resolve(Path(facts.path))
    source = path.with_name("typed")
    source.write_bytes(text.ljust(512, b"\0"))
    commands = [f"write -q -s {source} {offset} 512"]
    argv = [
        "qemu-io",
        "-f",
        disk_format,
        *[word for command in commands for word in ("-c", command)],
        str(path),
    ]
    subprocess.run(argv, check=True, capture_output=True)
    source.unlink()


def content(pool: VolumePool, volume_id: str, snapshot_id: str | None = None) -> bytes:
    target = pool.root.parent / "out.raw"
    pool.copy_out(Source(volume_id, snapshot_id), target, "raw")
    with target.open("rb") as file:
        return file.read(16).rstrip(b"\0")


def make(pool: VolumePool, volume_id: str, size_gb: int = 1, **source: str) -> VolumeFacts:
    return pool.create(VolumeCreate(volume_id=volume_id, size_gb=size_gb, **source))  # type: ignore[arg-type]


def virtual_size(facts: VolumeFacts) -> int:
    return inspect(*resolve(Path(facts.path))).virtual_size


def test_an_empty_volume_is_sparse_and_reads_as_zeroes(pool: VolumePool) -> None:
    facts = make(pool, "a", 2)
    path, disk_format = resolve(Path(facts.path))
    assert disk_format == "raw"
    assert path.stat().st_size == 2 * GIB
    assert path.stat().st_blocks * 512 < 1024**2
    assert content(pool, "a") == b""


def test_creating_twice_is_creating_once(pool: VolumePool) -> None:
    facts = make(pool, "a")
    write(facts, b"kept")
    assert make(pool, "a") == facts
    assert content(pool, "a") == b"kept"


def test_a_clone_and_its_source_go_their_own_ways(pool: VolumePool) -> None:
    facts = make(pool, "a")
    write(facts, b"old")
    clone = make(pool, "b", 3, source_volume_id="a")
    write(clone, b"clone")
    write(facts, b"source")
    assert (content(pool, "a"), content(pool, "b")) == (b"source", b"clone")
    assert virtual_size(clone) == 3 * GIB
    assert pool.facts("a").path == facts.path, "the path of a volume does not change"


def test_deleting_the_source_leaves_its_clones_and_the_last_one_leaves_nothing(pool: VolumePool) -> None:
    write(make(pool, "a"), b"old")
    make(pool, "b", source_volume_id="a")
    make(pool, "c", source_volume_id="b")
    pool.delete("a")
    pool.delete("b")
    assert content(pool, "c") == b"old"
    pool.delete("c")
    pool.delete("c")
    assert list(pool.root.iterdir()) == []


def test_snapshots_keep_the_moment_and_can_be_gone_back_to(pool: VolumePool) -> None:
    facts = make(pool, "a")
    write(facts, b"one")
    pool.create_snapshot("a", "s1")
    pool.create_snapshot("a", "s1")
    write(facts, b"two")
    assert content(pool, "a", "s1") == b"one"
    assert content(pool, "a") == b"two"
    make(pool, "b", source_snapshot_id="s1")
    assert content(pool, "b") == b"one"
    pool.revert("a", "s1")
    assert content(pool, "a") == b"one"
    pool.delete_snapshot("s1")
    pool.delete("a")
    assert content(pool, "b") == b"one"


def test_a_volume_from_an_image_shares_its_bytes(pool: VolumePool, tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "64M"], check=True)
    subprocess.run(["qemu-io", "-c", "write -q -P 65 0 512", str(image)], check=True)
    facts = make(pool, "a", image_path=str(image), image_format="qcow2")
    image.unlink()
    assert content(pool, "a").startswith(b"AAAA")
    assert virtual_size(facts) == GIB


def test_an_image_that_reaches_for_other_files_is_refused(pool: VolumePool, tmp_path: Path) -> None:
    bait, evil = tmp_path / "bait", tmp_path / "evil"
    bait.write_bytes(b"\0" * 1024**2)
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(bait), str(evil)], check=True
    )
    with pytest.raises(DiskError, match="refers to another file"):
        make(pool, "a", image_path=str(evil), image_format="qcow2")
    assert pool.pool().volumes == []


def test_an_image_bigger_than_the_volume_is_refused(pool: VolumePool, tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(2 * GIB)
    with pytest.raises(DiskError, match="needs 2 GB"):
        make(pool, "a", image_path=str(image), image_format="raw")


def test_a_backup_is_restored(pool: VolumePool, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    backup.write_bytes(b"saved".ljust(1024**2, b"\0"))
    facts = make(pool, "a", backup_path=str(backup))
    assert content(pool, "a") == b"saved"
    assert virtual_size(facts) == GIB


@pytest.mark.parametrize("cloned", [False, True])
def test_incremental_backups_of_any_volume_bring_back_their_moment(
    pool: VolumePool, tmp_path: Path, cloned: bool
) -> None:
    facts = make(pool, "a")
    if cloned:
        write(facts, b"below")
        facts = make(pool, "b", source_volume_id="a")
    name = "b" if cloned else "a"
    write(facts, b"one")
    full = pool.back_up(Source(name), tmp_path / "full", None)
    pool.create_snapshot(name, "s")
    write(facts, b"two", 10 * 1024**2)
    assert pool.back_up(Source(name), tmp_path / "next", tmp_path / "full") == full == 256 * 1024
    assert pool.back_up(Source(name, "s"), tmp_path / "still", tmp_path / "full") == 0
    pool.restore(name, tmp_path / "full")
    assert content(pool, name) == b"one"
    make(pool, "c", 2, backup_path=str(tmp_path / "next"))
    target = tmp_path / "out.raw"
    pool.copy_out(Source("c"), target, "raw")
    with target.open("rb") as file:
        assert file.read(3) == b"one"
        file.seek(10 * 1024**2)
        assert file.read(3) == b"two"
    assert not list(tmp_path.glob("*.whole"))


def test_a_restore_that_fails_leaves_the_volume_as_it_was(pool: VolumePool, tmp_path: Path) -> None:
    write(make(pool, "a"), b"mine")
    with pytest.raises(OSError, match="lost"):
        pool.restore("a", tmp_path / "lost")
    assert content(pool, "a") == b"mine"
    assert pool.pool().problems == []


def test_copies_of_what_nobody_writes_do_not_pile_up(pool: VolumePool) -> None:
    write(make(pool, "a"), b"gold")
    for number in range(5):
        make(pool, f"c{number}", source_volume_id="a")
        pool.create_snapshot("a", f"s{number}")
    layers = [path for path in pool.root.glob("layer-*") if "." not in path.name]
    assert len(layers) == 1 + 1 + 5, "the bytes, the source's own layer, and one a copy"
    write(pool.facts("a"), b"later")
    make(pool, "new", source_volume_id="a")
    assert (content(pool, "c4"), content(pool, "a", "s4"), content(pool, "new")) == (
        b"gold",
        b"gold",
        b"later",
    )
    assert pool.pool().problems == []


def test_a_snapshot_is_as_large_as_its_volume(pool: VolumePool, tmp_path: Path) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(b"small".ljust(1024**2, b"\0"))
    make(pool, "a", 1, image_path=str(image), image_format="raw")
    pool.create_snapshot("a", "s")
    pool.copy_out(Source("a", "s"), tmp_path / "out", "raw")
    assert (tmp_path / "out").stat().st_size == GIB


def test_a_volume_is_let_go_and_taken_in_under_another_name(pool: VolumePool) -> None:
    write(make(pool, "a"), b"mine")
    pool.create_snapshot("a", "s")
    pool.leave("volume", "a")
    assert pool.pool().unmanaged == ["a"]
    pool.adopt("volume", "a", "b")
    pool.adopt("volume", "a", "b")
    pool.adopt("snapshot", "s", "t", "b")
    assert pool.pool().snapshot_of == {"t": "b"}
    assert pool.pool().unmanaged == []
    assert content(pool, "b") == content(pool, "b", "t") == b"mine"
    with pytest.raises(NoSuchVolume):
        pool.facts("a")


def test_a_pool_knows_what_is_wrong_with_it(pool: VolumePool) -> None:
    write(make(pool, "a"), b"old")
    make(pool, "b", source_volume_id="a")
    make(pool, "c")
    assert pool.pool().problems == []
    path, _ = resolve(Path(pool.facts("c").path))
    path.unlink()
    (pool.root / "layer-junk").write_bytes(b"x")
    (pool.root / "volume-d.json").write_bytes(
        (pool.root / "volume-a.json").read_bytes().replace(b'"a"', b'"d"')
    )
    found = "\n".join(pool.pool().problems)
    assert f"volume c has lost its layer {path.name}" in found
    assert "layer-junk is reached by no volume" in found
    assert "volume d and volume a write to the same layer" in found


def test_a_pool_with_a_size_of_its_own_knows_its_room(tmp_path: Path) -> None:
    pool = VolumePool(tmp_path / "volumes", size_gb=2)
    pool.open()
    assert pool.room() == (2.0, 2.0)
    image = tmp_path / "image"
    image.write_bytes(os.urandom(64 * 1024**2))
    make(pool, "a", image_path=str(image), image_format="raw")
    total, free = pool.room()
    assert total == 2.0
    assert 1.9 < free < 1.95


@pytest.mark.parametrize("cloned", [False, True])
def test_a_volume_grows(pool: VolumePool, cloned: bool) -> None:
    facts = make(pool, "a")
    if cloned:
        make(pool, "b", source_volume_id="a")
    assert pool.extend("a", 2).size_gb == 2
    assert pool.extend("a", 2).size_gb == 2
    assert virtual_size(facts) == 2 * GIB


def test_a_volume_in_use_is_not_deleted_but_can_be_copied(pool: VolumePool) -> None:
    facts = make(pool, "a")
    write(facts, b"busy")
    path, disk_format = resolve(Path(facts.path))
    with subprocess.Popen(
        ["qemu-io", "-f", disk_format, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdin is not None
        assert user.stdout is not None
        user.stdin.write("read 0 512\n")
        user.stdin.flush()
        user.stdout.readline()
        with pytest.raises(DiskError, match="in use"):
            pool.delete("a")
        make(pool, "b", source_volume_id="a")
        assert resolve(Path(facts.path)) == (path, disk_format), "what is open stays the top layer"
        user.stdin.write("quit\n")
        user.stdin.flush()
    assert content(pool, "b") == b"busy"
    pool.delete("a")


def test_an_exported_volume_neither_goes_nor_grows(tmp_path: Path) -> None:
    pool = VolumePool(tmp_path / "volumes", is_exported=lambda volume_id: True)
    pool.open()
    make(pool, "a")
    for action in (lambda: pool.delete("a"), lambda: pool.extend("a", 2)):
        with pytest.raises(DiskError):
            action()


def test_what_a_killed_agent_left_is_swept(pool: VolumePool) -> None:
    write(make(pool, "a"), b"kept")
    (pool.root / "layer-half.part").write_bytes(b"x")
    (pool.root / "layer-half").write_bytes(b"x")
    (pool.root / "volume-b.json.part").write_bytes(b"{")
    VolumePool(pool.root).open()
    assert not [path for path in pool.root.iterdir() if "half" in path.name]
    assert pool.pool().volumes == ["a"]
    assert content(pool, "a") == b"kept"


def test_the_unknown_is_named(pool: VolumePool) -> None:
    with pytest.raises(NoSuchVolume, match="snapshot s9"):
        make(pool, "a", source_snapshot_id="s9")
    with pytest.raises(NoSuchVolume, match="volume z"):
        pool.create_snapshot("z", "s1")


def test_bytes_of_a_deleted_volume_are_not_in_the_next_one(pool: VolumePool) -> None:
    write(make(pool, "a"), b"secret")
    pool.delete("a")
    facts = make(pool, "b")
    path, _ = resolve(Path(facts.path))
    with path.open("rb") as file:
        assert file.read(1024**2).count(0) == 1024**2
    assert path.stat().st_nlink == 1
