"""Structured logs: one JSON line an event, one file a process, with the ids of what the event is about.

``log = log_for(__name__)``, then ``log.info("port is active", port_id=...)``. The ids of the request
at hand are bound once by ``bind(request_id=...)`` and go into every line of that task or thread.
"""

from __future__ import annotations

import contextvars
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import msgspec

_bound: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "virga_log_bound", default=None
)
_STANDARD = frozenset(vars(logging.makeLogRecord({})))
SECRET = ("password", "secret", "token", "adminpass", "private_key", "user_data")


class Log:
    """A logger whose keyword arguments become fields of the line."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: Any) -> None:
        self._emit(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._emit(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._emit(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._emit(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """An error with the traceback of the exception being handled."""
        self._emit(logging.ERROR, event, fields, trace=True)

    def _emit(self, level: int, event: str, fields: dict[str, Any], trace: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, extra={"fields": fields}, exc_info=trace)


def log_for(name: str) -> Log:
    return Log(name)


@contextmanager
def bind(**fields: Any) -> Iterator[None]:
    """Put ``fields`` into every line that this task or thread logs inside the block; empty ones say nothing."""
    token = _bound.set({**(_bound.get() or {}), **{name: value for name, value in fields.items() if value}})
    try:
        yield
    finally:
        _bound.reset(token)


def bound() -> dict[str, Any]:
    """What is bound now, to be bound again in another thread or process."""
    return dict(_bound.get() or {})


class JsonLines(logging.Formatter):
    """Renders a record as one line of JSON, with secrets blanked by the name of their field."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= _bound.get() or {}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(
            {key: _clean(key, value) for key, value in line.items()}, enc_hook=str
        ).decode()


def _clean(key: str, value: Any) -> Any:
    return "***" if value and any(word in key.lower() for word in SECRET) else value


def _timestamp(seconds: float) -> str:
    moment = time.gmtime(seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment) + f".{int(seconds % 1 * 1e6):06d}Z"


class ProcessFile(logging.Handler):
    """Appends to ``DIR/logs/NAME.log``, which only this process writes; rotates by size with renames.

    A reader that follows the file notices the new inode; nothing is lost or written twice. If the
    disk is full the line is dropped: a log must not end what it describes.
    """

    def __init__(self, path: Path, max_bytes: int, files: int) -> None:
        super().__init__()
        self._path, self._max, self._files = path, max_bytes, files
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream: TextIO = self._open()

    def _open(self) -> TextIO:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        return os.fdopen(descriptor, "a", encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._stream.write(self.format(record) + "\n")
            self._stream.flush()
            if self._stream.tell() >= self._max:
                self._rotate()
        except OSError:
            return
        except Exception:
            self.handleError(record)

    def _rotate(self) -> None:
        for number in range(self._files - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        if self._files > 0:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._stream.close()
        self._stream = self._open()

    def close(self) -> None:
        self._stream.close()
        super().close()


def start(process: str, directory: Path, level: str = "info", max_mb: int = 20, files: int = 3) -> None:
    """Send everything that this process logs to ``directory/process.log``. Called once, by the wiring file."""
    handler = ProcessFile(directory / f"{process}.log", max_mb * 1024 * 1024, files)
    _install(handler, process, level)


def start_stderr(process: str, level: str = "info") -> None:
    """The same lines to standard error, for a process that somebody watches."""
    _install(logging.StreamHandler(sys.stderr), process, level)


def _install(handler: logging.Handler, process: str, level: str) -> None:
    handler.setFormatter(JsonLines())
    handler.addFilter(_Process(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("virga").setLevel(level.upper())
    for noisy in (
        "uvicorn.access",
        "uvicorn.error",
        "asyncio",
        "sqlalchemy.engine",
        "ovs",
        "alembic.runtime.plugins",
    ):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _Process(logging.Filter):
    """Adds the name of the process, so that merged files still tell."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def filter(self, record: logging.LogRecord) -> bool:
        fields = {
            key: value for key, value in vars(record).items() if key not in _STANDARD and key != "fields"
        }
        record.fields = {
            "process": self._process,
            "pid": os.getpid(),
            **fields,
            **getattr(record, "fields", {}),
        }
        return True
