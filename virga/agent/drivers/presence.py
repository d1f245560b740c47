"""Notices that a namespace, or a device of ours in it, was made again behind the same name.

What was realised inside is gone then, though every wish is as before. Looking costs microseconds, so
that drivers look before each apply instead of waiting for their next resync.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

NAMESPACES = Path("/run/netns")

Identity = tuple[int, tuple[int, ...]]


class Presence:
    """Remembers what stood behind each name when it was last looked at."""

    def __init__(
        self, namespaces: Path = NAMESPACES, index_of: Callable[[str], int] = socket.if_nametoindex
    ) -> None:
        self._namespaces = namespaces
        self._index_of = index_of
        self._seen: dict[str, Identity] = {}

    def made_again(self, places: Mapping[str, tuple[str, Iterable[str]]]) -> list[str]:
        """Keys of ``places`` (namespace, names of pairs that lead into it) that changed since the last look."""
        now = {key: self._identity(namespace, devices) for key, (namespace, devices) in places.items()}
        changed = [key for key, identity in now.items() if self._seen.get(key, identity) != identity]
        self._seen = now
        return changed

    def _identity(self, namespace: str, devices: Iterable[str]) -> Identity:
        try:
            inode = (self._namespaces / namespace).stat().st_ino
        except OSError:
            inode = 0
        return inode, tuple(self._number(device) for device in devices)

    def _number(self, device: str) -> int:
        """Both ends of a pair have the same name, and go together: the outer one tells."""
        try:
            return self._index_of(device)
        except OSError:
            return 0
