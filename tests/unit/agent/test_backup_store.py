"""Backups: differences only, chains that give back every byte, damage that is noticed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from virga.agent.drivers import backup_store
from virga.agent.drivers.backup_store import BLOCK, map_path, read_map, restore, write
from virga.agent.drivers.qemu_img import DiskError


def disk(path: Path, size: int, **at: bytes) -> Path:
    """A sparse disk with bytes at ``b<number>`` blocks."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.truncate(size)
        for place, text in at.items():
            file.seek(int(place[1:]) * BLOCK)
            file.write(text)
    return path


def stored(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_a_full_backup_is_a_raw_disk_without_its_holes(tmp_path: Path) -> None:
    source = disk(tmp_path / "d", 64 * BLOCK, b3=b"three", b40=b"forty")
    made = write(source, tmp_path / "full")
    assert made.held() == 2
    assert stored(tmp_path / "full") <= 3 * BLOCK
    assert (tmp_path / "full").read_bytes() == source.read_bytes()


def test_an_incremental_one_holds_the_differences_only(tmp_path: Path) -> None:
    source = disk(tmp_path / "d", 64 * BLOCK, b3=b"three", b40=b"forty")
    write(source, tmp_path / "full")
    disk(source, 64 * BLOCK, b3=b"THREE", b9=b"nine")
    made = write(source, tmp_path / "one", tmp_path / "full")
    assert made.held() == 2
    restore(tmp_path / "one", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert stored(tmp_path / "back") <= 4 * BLOCK


def test_what_became_zeroes_is_zeroes_again(tmp_path: Path) -> None:
    source = disk(tmp_path / "d", 8 * BLOCK, b1=b"gone", b2=b"stays")
    write(source, tmp_path / "full")
    disk(source, 8 * BLOCK, b1=b"\0\0\0\0")
    write(source, tmp_path / "one", tmp_path / "full")
    disk(source, 8 * BLOCK, b1=b"gone")
    made = write(source, tmp_path / "two", tmp_path / "one")
    assert made.held() == 1, "the parent does not have it, though the parent's parent does"
    for name, first in (("one", b"\0\0\0\0"), ("two", b"gone")):
        restore(tmp_path / name, tmp_path / "back")
        assert (tmp_path / "back").read_bytes()[BLOCK : BLOCK + 4] == first


def test_a_disk_that_grew(tmp_path: Path) -> None:
    source = disk(tmp_path / "d", 4 * BLOCK, b0=b"a")
    write(source, tmp_path / "full")
    disk(source, 9 * BLOCK, b8=b"new")
    assert write(source, tmp_path / "one", tmp_path / "full").held() == 1
    restore(tmp_path / "one", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_a_backup_without_a_map_serves_as_parent_and_is_restored(tmp_path: Path) -> None:
    old = disk(tmp_path / "old", 4 * BLOCK, b1=b"kept")
    source = disk(tmp_path / "d", 4 * BLOCK, b1=b"kept", b2=b"more")
    assert write(source, tmp_path / "one", old).held() == 1
    restore(tmp_path / "one", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_damage_is_noticed(tmp_path: Path) -> None:
    source = disk(tmp_path / "d", 4 * BLOCK, b1=b"kept")
    write(source, tmp_path / "full")
    disk(tmp_path / "full", 4 * BLOCK, b1=b"rots")
    with pytest.raises(DiskError, match="block 1 of backup full is damaged"):
        restore(tmp_path / "full", tmp_path / "back")
    map_path(tmp_path / "full").write_bytes(b"short")
    with pytest.raises(DiskError, match="map of backup full is damaged"):
        read_map(tmp_path / "full")


def test_a_parent_that_is_lost_is_named(tmp_path: Path) -> None:
    source = disk(tmp_path / "d", 4 * BLOCK, b1=b"kept")
    write(source, tmp_path / "full")
    write(source, tmp_path / "one", tmp_path / "full")
    (tmp_path / "full").unlink()
    map_path(tmp_path / "full").unlink()
    with pytest.raises(OSError, match="full"):
        restore(tmp_path / "one", tmp_path / "back")


def test_a_ring_of_parents_has_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_store, "DEEPEST", 4)
    source = disk(tmp_path / "d", 2 * BLOCK, b1=b"kept")
    for name, parent in (("a", None), ("b", tmp_path / "a"), ("a", tmp_path / "b")):
        write(source, tmp_path / name, parent)
    with pytest.raises(DiskError, match="no end"):
        restore(tmp_path / "a", tmp_path / "back")


SIZE = 12
ROUND = st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, 3)), max_size=6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(ROUND, min_size=1, max_size=5))
def test_every_link_of_a_chain_gives_back_its_moment(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[int, int]]]
) -> None:
    here = tmp_path_factory.mktemp("chain")
    source = disk(here / "d", SIZE * BLOCK)
    moments = []
    parent = None
    for number, writes in enumerate(rounds):
        with source.open("r+b") as file:
            for block, value in writes:
                os.pwrite(file.fileno(), bytes([value]) * 700, block * BLOCK + 100)
        parent_now = here / f"backup{number}"
        write(source, parent_now, parent)
        moments.append(source.read_bytes())
        parent = parent_now
    for number, expected in enumerate(moments):
        restore(here / f"backup{number}", here / "back")
        assert (here / "back").read_bytes() == expected
