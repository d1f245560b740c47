"""The agent's end of the bus: a blocking unix stream socket that carries frames both ways."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from pathlib import Path

from virga.bus.frames import Decoder, encode
from virga.contract.messages import AnyMessage

RECEIVE_BYTES = 1024 * 1024


class Disconnected(Exception):
    """The other end is not there (any more)."""


class BusClient:
    """One connection. Any thread may send; one thread receives. Connect anew after Disconnected."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._decoder = Decoder()
        self._ready: deque[AnyMessage] = deque()
        self._send_lock = threading.Lock()

    @classmethod
    def connect(cls, path: Path) -> BusClient:
        """A connection to the control plane's socket at ``path``."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
        except OSError as error:
            connection.close()
            raise Disconnected(f"connecting to {path}: {error}") from error
        return cls(connection)

    def send(self, message: AnyMessage) -> None:
        """Send one message whole."""
        frame = encode(message)
        with self._send_lock:
            try:
                self._socket.sendall(frame)
            except OSError as error:
                raise Disconnected(f"sending: {error}") from error

    def receive(self) -> AnyMessage:
        """The next message; blocks until there is one."""
        while not self._ready:
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except OSError as error:
                raise Disconnected(f"receiving: {error}") from error
            if not data:
                raise Disconnected("the control plane closed the connection")
            self._ready.extend(self._decoder.feed(data))
        return self._ready.popleft()

    def close(self) -> None:
        """End the connection; a blocked ``receive`` in another thread returns with Disconnected."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
