"""A control plane as small as can be: it holds items, serves one agent at a time, and keeps what it hears."""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tests.lib.waiting import eventually
from virga.bus.frames import Decoder, encode
from virga.contract.items import AnyItem
from virga.contract.messages import AnyMessage, Call, Heartbeat, Hello, Reply, Report, Reports, State

Identity = tuple[str, str]


def identity(item: AnyItem) -> Identity:
    return str(item.__struct_config__.tag), item.key


class SmallControlPlane:
    """Serves ``path``. ``put`` and ``remove`` change the desired state; ``status`` is what was reported last."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._connection: socket.socket | None = None
        self._lock = threading.Lock()
        self.items: dict[Identity, AnyItem] = {}
        self.revision = 1
        self.applied = 0
        self.reports: dict[Identity, Report] = {}
        self.heartbeats: list[Heartbeat] = []
        self.replies: dict[str, Reply] = {}
        self.answer: Callable[[Call], Any] | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def put(self, *items: AnyItem) -> None:
        """Add or change items."""
        self.change(put=items)

    def remove(self, *items: AnyItem) -> None:
        self.change(remove=items)

    def change(self, put: tuple[AnyItem, ...] = (), remove: tuple[AnyItem, ...] = ()) -> None:
        with self._lock:
            self.items.update({identity(item): item for item in put})
            gone = [identity(item) for item in remove]
            for each in gone:
                self.items.pop(each, None)
                self.reports.pop(each, None)
            self.revision += 1
            self._send(State(epoch="test", revision=self.revision, items=list(put), removed=gone))

    def settle(self, timeout_s: float = 20.0) -> None:
        """Until the agent has applied the newest state."""
        eventually(lambda: self.applied >= self.revision, f"revision {self.revision} applied", timeout_s)

    def wait_status(self, item: AnyItem, status: str, timeout_s: float = 20.0) -> Report:
        key = identity(item)

        def there() -> Report | None:
            report = self.reports.get(key)
            return report if report is not None and report.status == status else None

        try:
            found = eventually(there, f"{key} is {status}", timeout_s)
        except AssertionError:
            raise AssertionError(f"{key} is not {status} but {self.reports.get(key)}") from None
        assert found is not None
        return found

    def call(self, method: str, arguments: Any, timeout_s: float = 20.0) -> Reply:
        call_id = str(uuid.uuid4())
        raw = msgspec.Raw(msgspec.json.encode(arguments))
        with self._lock:
            self._send(Call(id=call_id, method=method, arguments=raw))
        return eventually(lambda: self.replies.get(call_id), f"an answer to {method}", timeout_s)

    def close(self) -> None:
        self._listener.close()
        if self._connection is not None:
            self._connection.close()

    def _send(self, message: AnyMessage) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.sendall(encode(message))

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                self._talk(connection)
            self._connection = None

    def _talk(self, connection: socket.socket) -> None:
        decoder = Decoder()
        while data := connection.recv(1 << 20):
            for message in decoder.feed(data):
                self._hear(connection, message)

    def _hear(self, connection: socket.socket, message: AnyMessage) -> None:
        if isinstance(message, Hello):
            with self._lock:
                self._connection = connection
                self.applied = 0
                self._send(
                    State(epoch="test", revision=self.revision, full=True, items=list(self.items.values()))
                )
        elif isinstance(message, Reports):
            self.reports.update({(report.kind, report.key): report for report in message.reports})
            self.applied = message.revision
        elif isinstance(message, Heartbeat):
            self.heartbeats.append(message)
        elif isinstance(message, Reply):
            self.replies[message.id] = message
        elif isinstance(message, Call) and self.answer is not None:
            result = msgspec.Raw(msgspec.json.encode(self.answer(message)))
            with self._lock:
                self._send(Reply(id=message.id, result=result))
