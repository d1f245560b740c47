"""Fernet key repositories on disk: tokens and credentials are sealed with them, and they can be rotated.

Same layout as OpenStack's: files named by number in a directory only the owner may enter. The greatest
number is the primary key, which seals; ``0`` is staged, the next primary; all of them open. So a key
is known everywhere before anything is sealed with it, and a token outlives the rotation.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

__all__ = ["InvalidToken", "KeyRing", "rotate", "set_up"]


class KeyRing:
    """The keys of one directory, read again when somebody rotated them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._read_at = -1
        self._fernet: MultiFernet | None = None

    def seal(self, content: bytes) -> bytes:
        """Encrypt with the primary key."""
        return self._keys().encrypt(content)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt with whichever key fits. Raises InvalidToken."""
        return self._keys().decrypt(sealed)

    def reseal(self, sealed: bytes) -> bytes:
        """The same content under the primary key of today."""
        return self._keys().rotate(sealed)

    def _keys(self) -> MultiFernet:
        changed_at = self._changed_at()
        if self._fernet is None or changed_at != self._read_at:
            set_up(self.directory)
            keys = [Fernet(path.read_bytes().strip()) for path in reversed(_key_files(self.directory)[1:])]
            staged = Fernet((self.directory / "0").read_bytes().strip())
            self._fernet = MultiFernet([*keys, staged])
            self._read_at = self._changed_at()
        return self._fernet

    def _changed_at(self) -> int:
        try:
            return self.directory.stat().st_mtime_ns
        except FileNotFoundError:
            return -1


def _key_files(directory: Path) -> list[Path]:
    return sorted(
        (path for path in directory.iterdir() if path.name.isdigit()), key=lambda path: int(path.name)
    )


def _write_key(path: Path) -> None:
    """All or nothing: a crash leaves no half-written key."""
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(Fernet.generate_key())
    draft.replace(path)


def set_up(directory: Path) -> None:
    """Make the directory with a staged and a primary key, unless they are there. Idempotent."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (directory / "1").exists() and not any(int(p.name) > 0 for p in _key_files(directory)):
        _write_key(directory / "1")
    if not (directory / "0").exists():
        _write_key(directory / "0")


def rotate(directory: Path, keep: int) -> int:
    """The staged key becomes primary, a new one is staged, the oldest go while more than ``keep`` remain.

    Returns the number of the new primary key. Nothing sealed within the last ``keep - 2`` rotations is lost.
    """
    set_up(directory)
    primary = max(int(path.name) for path in _key_files(directory)) + 1
    (directory / "0").replace(directory / str(primary))
    _write_key(directory / "0")
    files = _key_files(directory)
    for path in files[1 : 1 + max(0, len(files) - keep)]:
        path.unlink()
    return primary
