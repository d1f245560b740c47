"""Notices that ovs-vswitchd started anew, by an OpenFlow connection that ends when it does.

A new ovs-vswitchd has empty flow tables and tells nobody. This connection says hello, answers echo
requests and otherwise only listens.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

_HEADER = struct.Struct(">BBHI")
_VERSION = 6
_HELLO, _ECHO_REQUEST, _ECHO_REPLY = 0, 2, 3
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 0.2


class SwitchWatch:
    """Calls ``on_change`` whenever a connection was made, for what was there before may be gone, and when it ended."""

    def __init__(self, path: Path, on_change: Callable[[], None]) -> None:
        self._path = path
        self._on_change = on_change
        self._closed = threading.Event()
        self._socket: socket.socket | None = None
        self.connected = False
        """The end of the switch there is now will be noticed."""
        threading.Thread(target=self._run, name=f"watch {path.stem}", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        if self._socket is not None:
            self._socket.close()

    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._closed.wait(pause):
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                    connection.connect(str(self._path))
                    self._socket = connection
                    connection.sendall(_HEADER.pack(_VERSION, _HELLO, _HEADER.size, 1))
                    self.connected = True
                    self._on_change()
                    pause = FIRST_PAUSE_S
                    self._until_it_ends(connection)
            except OSError:
                pause = min(pause * 2, LONGEST_PAUSE_S)

    def _until_it_ends(self, connection: socket.socket) -> None:
        try:
            _listen(connection)
        finally:
            self.connected = False
            if not self._closed.is_set():
                self._on_change()


def _listen(connection: socket.socket) -> None:
    """Until the other end goes."""
    while header := _exactly(connection, _HEADER.size):
        version, kind, length, number = _HEADER.unpack(header)
        body = _exactly(connection, length - _HEADER.size) if length > _HEADER.size else b""
        if kind == _ECHO_REQUEST:
            connection.sendall(_HEADER.pack(version, _ECHO_REPLY, length, number) + body)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            return b""
        data += more
    return data
