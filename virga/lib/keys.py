"""Fernet key repositories on disk: tokens and kept secrets are sealed with them, and they can be rotated.

Same layout as OpenStack's: files named by number in a directory only the owner may enter. The greatest
number is the primary key, which seals; ``0`` is staged, the next primary; all of them open. So a key
is known everywhere before anything is sealed with it, and what was sealed outlives the rotation.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

__all__ = ["InvalidToken", "KeyRing", "rotate", "set_up"]

TOKEN_KEYS = "fernet-keys"
"""Directory of the keys of tokens, in the state directory."""
CREDENTIAL_KEYS = "credential-keys"
"""Directory of the keys of credentials kept for users."""


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

    def _keys(self) -> MultiFernet:
        changed_at = self._changed_at()
        if self._fernet is None or changed_at != self._read_at:
            set_up(self.directory)
            paths = reversed(_key_files(self.directory)[1:])
            keys = [Fernet(path.read_bytes().strip()) for path in paths]
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
    return sorted((p for p in directory.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))


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
    if not any(int(path.name) > 0 for path in _key_files(directory)):
        _write_key(directory / "1")
    if not (directory / "0").exists():
        _write_key(directory / "0")


def rotate(directory: Path, keep: int, needed_s: float, now_s: float) -> int:
    """The staged key becomes primary and a new one is staged; returns the number of the new primary.

    Old keys go while more than ``keep`` remain, but none that sealed anything within the last
    ``needed_s`` seconds: nothing that is still valid becomes unreadable, however often this is done.
    """
    set_up(directory)
    primary = max(int(path.name) for path in _key_files(directory)) + 1
    (directory / "0").replace(directory / str(primary))
    # The time of a key's file says since when it has been sealing.
    os.utime(directory / str(primary), (now_s, now_s))
    _write_key(directory / "0")
    files = _key_files(directory)[1:]
    surplus = len(files) + 1 - keep
    for path, successor in itertools.pairwise(files):
        if surplus <= 0 or successor.stat().st_mtime + needed_s > now_s:
            break
        path.unlink()
        surplus -= 1
    return primary
