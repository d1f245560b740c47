"""Builds the config drive: a small ISO 9660 disk labelled ``config-2`` that tells a guest who it is."""

from __future__ import annotations

import base64
import binascii
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from virga.agent.drivers.qemu_img import DiskError


def build(target: Path, files: Mapping[str, str]) -> None:
    """Write ``files`` (path in the drive to base64 content) to ``target``. All or nothing."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="config-drive-") as directory:
        root = Path(directory, "root")
        root.mkdir()
        for name, content in files.items():
            _write(root, name, content)
        part = Path(directory, "iso")
        done = subprocess.run(
            [
                *("genisoimage", "-quiet", "-ldots", "-allow-lowercase", "-allow-multidot", "-l", "-J", "-r"),
                *("-publisher", "Virga", "-V", "config-2", "-o", str(part), str(root)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DiskError(f"genisoimage could not build the config drive: {done.stderr.strip()}")
        part.chmod(0o600)
        part.rename(target)


def _write(root: Path, name: str, content: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DiskError(f"config drive file {name!r} would leave the drive")
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.write_bytes(base64.b64decode(content, validate=True))
    except binascii.Error as error:
        raise DiskError(f"config drive file {name!r} is not base64") from error
