"""A connection that sends whatever bytes it is given, and reads the answer; no library corrects what we break."""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass, field
from typing import Any

READ = 1 << 16


@dataclass
class Sent:
    """A request as bytes will have it; ``raw`` headers may hold anything."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    def encoded(self) -> bytes:
        lines = [b"%s %s HTTP/1.1" % (self.method.encode(), self.target), b"Host: 127.0.0.1"]
        lines += [name + b": " + value for name, value in self.headers]
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body

    def described(self) -> str:
        """For a person who wants to send it again."""
        shown = [f"{self.method} {self.target.decode('latin-1')[:300]}"]
        shown += [f"{n.decode('latin-1')}: {v.decode('latin-1')[:80]}" for n, v in self.headers]
        if self.body:
            shown.append(repr(self.body[:700]))
        return "\n      ".join(shown)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One keep-alive connection to a port of loopback."""

    def __init__(self, port: int, timeout_s: float = 60.0) -> None:
        self._port, self._timeout = port, timeout_s
        self._socket: socket.socket | None = None
        self._rest = b""

    def exchange(self, sent: Sent) -> Answer:
        """The answer; status 0 when the server hung up without one."""
        for fresh in (False, True):
            if fresh or self._socket is None:
                self.close()
                self._socket = socket.create_connection(("127.0.0.1", self._port), self._timeout)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # It may have refused early and said why before it hung up.
            with contextlib.suppress(OSError):
                self._socket.sendall(sent.encoded())
            try:
                return self._read(sent.method)
            except (ConnectionError, EOFError):
                continue
        self.close()
        return Answer(0, {}, b"")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._rest = None, b""

    def _more(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(READ)
        if not data:
            raise EOFError
        self._rest += data

    def _take(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._more()
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def _line(self) -> bytes:
        while b"\r\n" not in self._rest:
            self._more()
        line, _, self._rest = self._rest.partition(b"\r\n")
        return line

    def _read(self, method: str) -> Answer:
        status, headers = self._head()
        while status == 100:
            status, headers = self._head()
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self._line(), 16):
                parts.append(self._take(size))
                self._line()
            self._line()
            body = b"".join(parts)
        elif "content-length" in headers:
            body = self._take(int(headers["content-length"]))
        else:
            # Without a length the connection's end is the end: an answer of the server below the services.
            body = b""
            self.close()
        if headers.get("connection") == "close":
            self.close()
        return Answer(status, headers, body)

    def _head(self) -> tuple[int, dict[str, str]]:
        status = int(self._line().split(b" ", 2)[1])
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(b":")
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        return status, headers
