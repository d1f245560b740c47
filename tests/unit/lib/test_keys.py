"""Keys rotate under running servers; nothing that is still valid becomes unreadable."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from virga.lib.keys import InvalidToken, KeyRing, rotate

HOUR = 3600.0


def test_keys_are_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    sealed = KeyRing(directory).seal(b"secret")
    assert KeyRing(directory).open(sealed) == b"secret"
    assert sorted(path.name for path in directory.iterdir()) == ["0", "1"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_what_was_sealed_before_a_rotation_opens_after_it(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    sealed = ring.seal(b"before")
    assert rotate(tmp_path, 3, HOUR, 1000.0) == 2
    assert ring.open(sealed) == b"before"
    assert KeyRing(tmp_path).open(ring.seal(b"after")) == b"after"


def test_a_hurried_series_of_rotations_ends_no_session(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    sealed = ring.seal(b"x")
    for turn in range(8):
        rotate(tmp_path, 3, HOUR, 1000.0 + turn)
    assert ring.open(sealed) == b"x"


def test_old_keys_go_when_nothing_needs_them(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    sealed = ring.seal(b"x")
    for turn in range(5):
        rotate(tmp_path, 3, HOUR, 1000.0 + turn * 2 * HOUR)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "5", "6"]
    with pytest.raises(InvalidToken):
        ring.open(sealed)


def test_the_staged_key_opens_already(tmp_path: Path) -> None:
    """A server that rotated first may seal with what is still staged elsewhere."""
    ring = KeyRing(tmp_path / "a")
    ring.seal(b"x")
    other = tmp_path / "b"
    other.mkdir()
    for path in (tmp_path / "a").iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    rotate(tmp_path / "a", 3, HOUR, 1000.0)
    assert KeyRing(other).open(ring.seal(b"early")) == b"early"
