"""Where the desired state comes from: the control plane's bus, or a JSON file.

``BusFeed`` keeps one connection, and makes a new one when it breaks. The host goes on meanwhile:
nothing on it depends on the connection.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from virga.bus.client import BusClient, Disconnected
from virga.bus.frames import FrameError
from virga.contract.items import AnyItem
from virga.contract.messages import AnyMessage, Call, Hello, Reply, State
from virga.lib.log import log_for

log = log_for(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 3.0
FILE_LOOK_S = 0.5


class CallFailed(Exception):
    """The control plane refused a call of ours, or did not answer in time."""


class StateTaker(Protocol):
    """The loop, as a feed sees it."""

    epoch: str
    revision: int

    def offer(self, state: State) -> None: ...
    def reconnected(self) -> None: ...


class Connection(Protocol):
    """One connection to a control plane: a socket, or a pair of queues inside one process."""

    def send(self, message: AnyMessage) -> None: ...
    def receive(self) -> AnyMessage: ...
    def close(self) -> None: ...


class BusFeed:
    """Connects, says Hello, hands state to the loop and calls to the dispatcher; sends for everyone."""

    def __init__(self, host: str, connect: Callable[[], Connection], version: str) -> None:
        self._host = host
        self._connect = connect
        self._version = version
        self._connection: Connection | None = None
        self._stopped = threading.Event()
        self._waiting: dict[str, _Answer] = {}

    @classmethod
    def over_socket(cls, host: str, path: Path, version: str) -> BusFeed:
        return cls(host, lambda: BusClient.connect(path), version)

    def send(self, message: AnyMessage) -> None:
        """Send, or drop when there is no connection: everything is said again after the next Hello."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.send(message)
        except Disconnected:
            connection.close()

    def call(self, method: str, arguments: Any, result: type[Any], timeout_s: float = 30.0) -> Any:
        """Ask the control plane something and wait for the answer (any thread but the receiving one)."""
        if self._connection is None:
            raise CallFailed(f"{method}: not connected to the control plane")
        call_id = str(uuid.uuid4())
        answer = self._waiting[call_id] = _Answer()
        try:
            raw = msgspec.Raw(msgspec.json.encode(arguments))
            self.send(Call(id=call_id, method=method, arguments=raw, timeout_s=timeout_s))
            if not answer.arrived.wait(timeout_s) or answer.reply is None:
                raise CallFailed(f"{method}: no answer from the control plane within {timeout_s:g} s")
        finally:
            self._waiting.pop(call_id, None)
        if answer.reply.error:
            raise CallFailed(f"{method}: {answer.reply.error}")
        return msgspec.json.decode(answer.reply.result, type=result)

    def run(self, taker: StateTaker, on_call: Callable[[Call], None], on_connect: Callable[[], None]) -> None:
        """Until ``stop``: this thread receives."""
        pause = FIRST_PAUSE_S
        while not self._stopped.is_set():
            try:
                connection = self._connect()
                connection.send(
                    Hello(
                        host=self._host,
                        epoch=taker.epoch,
                        revision=taker.revision,
                        binary_version=self._version,
                    )
                )
            except Disconnected:
                self._stopped.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                continue
            pause = FIRST_PAUSE_S
            self._connection = connection
            log.info("connected to the control plane")
            taker.reconnected()
            on_connect()
            self._receive(connection, taker, on_call)
            self._connection = None
            connection.close()

    def stop(self) -> None:
        """Let ``run`` return."""
        self._stopped.set()
        if self._connection is not None:
            self._connection.close()

    def _receive(self, connection: Connection, taker: StateTaker, on_call: Callable[[Call], None]) -> None:
        try:
            while not self._stopped.is_set():
                message = connection.receive()
                if isinstance(message, State):
                    taker.offer(message)
                elif isinstance(message, Call):
                    on_call(message)
                elif isinstance(message, Reply):
                    self._settle(message)
        except (Disconnected, FrameError) as error:
            if not self._stopped.is_set():
                log.warning("lost the control plane", reason=str(error))

    def _settle(self, reply: Reply) -> None:
        answer = self._waiting.get(reply.id)
        if answer is not None:
            answer.reply = reply
            answer.arrived.set()


class _Answer:
    """A reply somebody waits for."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.reply: Reply | None = None


class StateDocument(msgspec.Struct, frozen=True):
    """What a file of desired state holds."""

    items: list[AnyItem] = []


class FileFeed:
    """Reads desired state from a JSON file, at first and whenever the file changed or ``reload`` was called."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._again = threading.Event()
        self._stopped = False
        self._seen: tuple[int, int, int] | None = None
        self._revision = 0

    def run(self, taker: StateTaker) -> None:
        """Until ``stop``. A file that cannot be read changes nothing on the host."""
        while not self._stopped:
            self._look(taker)
            self._again.wait(FILE_LOOK_S)
            self._again.clear()

    def reload(self) -> None:
        """Look at once, and read even when the file seems unchanged."""
        self._seen = None
        self._again.set()

    def stop(self) -> None:
        self._stopped = True
        self._again.set()

    def _look(self, taker: StateTaker) -> None:
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen == self._seen:
                return
            self._seen = seen
            document = msgspec.json.decode(self._path.read_bytes(), type=StateDocument)
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("state file not used", path=str(self._path), reason=str(error))
            return
        self._revision += 1
        taker.offer(State(epoch="file", revision=self._revision, full=True, items=list(document.items)))
