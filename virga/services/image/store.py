"""The one place where the bytes of images lie: files in a directory, written beside and renamed when whole."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from io import FileIO
from pathlib import Path
from typing import Protocol, TypeVar

from virga.services.image.faults import too_large
from virga.services.image.image import Content
from virga.services.image.limits import SIZE_CAP
from virga.settings import Settings

T = TypeVar("T")
BATCH = 4 * 1024 * 1024
READ = 1024 * 1024


class InThread(Protocol):
    """Runs a function beside the event loop."""

    async def __call__(self, function: Callable[[], T]) -> T: ...


class Digest(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None: ...


class Store:
    """Files of one cloud: ``images/<id>``, staged ones in ``images/staging/<id>``."""

    def __init__(self, settings: Settings) -> None:
        self.directory = settings.state_dir / "images"

    def path(self, image_id: str) -> Path:
        """Where the bytes of an active image are."""
        return self.directory / image_id

    def staged(self, image_id: str) -> Path:
        """Where bytes wait for an import."""
        return self.directory / "staging" / image_id

    def incoming(self, image_id: str) -> Path:
        """Where bytes are while they come in."""
        return self.directory / "incoming" / image_id

    def adopt(self, source: Path, image_id: str) -> Path:
        """Move a file (of the same file system) into its place. All or nothing."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        source.chmod(0o644)
        return source.replace(self.path(image_id))

    def discard(self, image_id: str) -> None:
        """Remove whatever there is of the image. Idempotent."""
        for path in (self.path(image_id), self.staged(image_id), self.incoming(image_id)):
            path.unlink(missing_ok=True)


class Intake:
    """Takes bytes as they come: hashes and writes them in parallel, never holding more than two batches."""

    def __init__(self, path: Path, in_thread: InThread) -> None:
        self.path = path
        self.size = 0
        self._thread = in_thread
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha512 = hashlib.sha512()

    async def take(self, chunks: AsyncIterator[bytes], limit: int = SIZE_CAP) -> Content:
        """Write all chunks to the path. Raises a 413 fault above the limit; the file is then gone."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        working: asyncio.Future[None] | None = None
        try:
            with self.path.open("wb", buffering=0) as file:
                batch: list[bytes] = []
                held = 0
                async for chunk in chunks:
                    self.size += len(chunk)
                    if self.size > limit:
                        raise too_large("The incoming image is too large: The provided image is too large.")
                    batch.append(chunk)
                    held += len(chunk)
                    if held >= BATCH:
                        if working is not None:
                            await working
                        working = asyncio.ensure_future(self._digest(file, batch))
                        batch, held = [], 0
                if working is not None:
                    await working
                await self._digest(file, batch)
        except BaseException:
            if working is not None and not working.done():
                with contextlib.suppress(Exception):
                    await asyncio.shield(working)
            self.path.unlink(missing_ok=True)
            raise
        return self.content()

    async def _digest(self, file: FileIO, batch: list[bytes]) -> None:
        """The pieces are never joined: copying them would cost as much as a third hash."""
        if batch:
            await asyncio.gather(
                self._thread(lambda: _feed(self._sha512, batch)),
                self._thread(lambda: self._note(file, batch)),
            )

    def _note(self, file: FileIO, batch: list[bytes]) -> None:
        _feed(self._md5, batch)
        for piece in batch:
            rest = memoryview(piece)
            while rest:
                rest = rest[file.write(rest) :]

    def content(self) -> Content:
        return Content(self.size, self._md5.hexdigest(), self._sha512.hexdigest())


def _feed(digest: Digest, batch: list[bytes]) -> None:
    for piece in batch:
        digest.update(piece)


def measure(path: Path) -> Content:
    """Hash a file that lies on disk already. Slow: run it in a thread."""
    md5, sha512 = hashlib.md5(usedforsecurity=False), hashlib.sha512()
    size = 0
    with path.open("rb") as file:
        while batch := file.read(BATCH):
            md5.update(batch)
            sha512.update(batch)
            size += len(batch)
    return Content(size, md5.hexdigest(), sha512.hexdigest())


async def read(path: Path, start: int, length: int, in_thread: InThread) -> AsyncIterator[bytes]:
    """The bytes of a file in pieces, reading one ahead of the network."""
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while length > 0:
            wanted = min(READ, length)
            piece = await in_thread(lambda wanted=wanted: file.read(wanted))  # type: ignore[misc]
            if not piece:
                return
            length -= len(piece)
            yield piece
