"""Secrets planted in a cloud, and every place where they must not turn up again."""

from __future__ import annotations

import base64
import contextlib
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Planted:
    """Texts nobody else may see, by what they are."""

    secrets: dict[str, str] = field(default_factory=dict)

    def plant(self, what: str, value: str) -> str:
        assert len(value) >= 12, "too short to be told from chance"
        self.secrets[what] = value
        return value

    def forms(self) -> list[tuple[str, bytes]]:
        """Each as it is, and as base64 would hide it."""
        found = []
        for what, value in self.secrets.items():
            found.append((what, value.encode()))
            found.append((what + " in base64", base64.b64encode(value.encode()).rstrip(b"=")[:-1]))
        return found

    def seen_in(self, where: str, content: bytes) -> list[str]:
        return [f"{what} in {where}" for what, form in self.forms() if form in content]

    def in_logs(self, state_dir: Path) -> list[str]:
        found = []
        for path in sorted(state_dir.rglob("*")):
            if path.is_file() and (path.parent.name == "logs" or path.suffix in (".log", ".out")):
                found += self.seen_in(str(path), path.read_bytes())
        return found

    def in_open_files(self, state_dir: Path) -> list[str]:
        """Files of the state directory that more than their owner may read, by their own mode bits."""
        found = []
        for path in sorted(state_dir.rglob("*")):
            with contextlib.suppress(OSError):
                mode = path.lstat().st_mode
                if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
                    found += self.seen_in(str(path), path.read_bytes())
        return found

    def in_processes(self, but: Iterable[int] = ()) -> list[str]:
        """Command lines and environments of all processes of the machine."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) not in set(but):
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        found += self.seen_in(f"{name} of {entry.name}", (entry / name).read_bytes())
        return found
