"""What the machine could not give: a full or damaged disk, too few descriptors, processes or memory, in words for people."""

from __future__ import annotations

import errno
import sqlite3

DISK_FULL = (
    "The disk that holds the state of this cloud is full. Nothing was changed; free some space and try again."
)
DAMAGED = (
    "The database of this cloud is damaged. Stop the cloud and put back a copy, or keep what can be read with "
    "`sqlite3 virga.db .recover`."
)
UNREADABLE = "The database of this cloud cannot be read or written. Look at the disk that holds it."
NO_FILES = "This cloud has as many files open as it may. Close connections, or raise the limit (`ulimit -n`)."
NO_PROCESSES = (
    "This machine can start no further process or thread. End some, or raise the limit (`ulimit -u`)."
)
NO_MEMORY = "This machine has no memory left for this request."


class Damaged(Exception):
    """The database is not what it was when it was written; the text says where."""


_BY_CODE = {
    sqlite3.SQLITE_FULL: DISK_FULL,
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
    sqlite3.SQLITE_IOERR: UNREADABLE,
    sqlite3.SQLITE_READONLY: UNREADABLE,
    sqlite3.SQLITE_CANTOPEN: UNREADABLE,
    sqlite3.SQLITE_NOMEM: NO_MEMORY,
}
_BY_NUMBER = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: DISK_FULL,
    errno.EROFS: UNREADABLE,
    errno.EIO: UNREADABLE,
    errno.EMFILE: NO_FILES,
    errno.ENFILE: NO_FILES,
    errno.EAGAIN: NO_PROCESSES,
    errno.ENOMEM: NO_MEMORY,
}


def told(error: BaseException | None) -> str | None:
    """The sentence for an error that is the machine's and not ours, looking through what it was wrapped in; else None."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        sentence = _one(error) or _one(getattr(error, "orig", None))
        if sentence is not None:
            return sentence
        error = error.__cause__ or error.__context__
    return None


def _one(error: BaseException | None) -> str | None:
    if isinstance(error, sqlite3.Error):
        # The extended code says more than is needed; its low byte is the kind.
        return _BY_CODE.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF)
    if isinstance(error, Damaged):
        return DAMAGED
    if isinstance(error, MemoryError):
        return NO_MEMORY
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return NO_PROCESSES
    if isinstance(error, OSError):
        return _BY_NUMBER.get(error.errno or 0)
    return None
