"""One keep-alive connection to a cloud, and the timing of many requests over one or several of them."""

from __future__ import annotations

import http.client
import json
import socket
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

IDLE_S = 4.0
"""A server may have closed a connection that was idle for longer."""


class Client:
    """A session of ``admin``, without any library between us and the socket."""

    def __init__(self, endpoint: str, password: str = "", token: str = "", user: str = "admin") -> None:
        parts = urlsplit(endpoint)
        self.endpoint = endpoint
        self.project_id = ""
        self._used = time.monotonic()
        self._connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=300)
        self.token = token or self._login(user, password)

    def _login(self, user: str, password: str) -> str:
        name = {"name": user, "domain": {"id": "default"}}
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": {**name, "password": password}}},
                "scope": {"project": {"name": user, "domain": {"id": "default"}}},
            }
        }
        self._connection.request(
            "POST", "/identity/v3/auth/tokens", json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = self._connection.getresponse()
        self.project_id = json.loads(answer.read())["token"]["project"]["id"]
        return answer.headers["X-Subject-Token"]

    def lift_quotas(self) -> None:
        """No limit on what this project may have of the Network service."""
        unlimited = dict.fromkeys(("network", "subnet", "port", "router", "floatingip"), -1)
        self.json("PUT", f"/network/v2.0/quotas/{self.project_id}", {"quota": unlimited})

    def another(self) -> Client:
        """A second connection of the same session."""
        return Client(self.endpoint, token=self.token)

    def raw(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Send and read the whole answer; the JSON is not decoded."""
        if time.monotonic() - self._used > IDLE_S:
            self._connection.close()
        if self._connection.sock is None:
            self._connection.connect()
            connected: Any = self._connection.sock
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = None if body is None else json.dumps(body)
        headers = {"X-Auth-Token": self.token, "Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        self._connection.request(method, path, data, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        self._used = time.monotonic()
        return answer.status, content

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """Send, expect success, decode."""
        status, raw = self.raw(method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path} answered {status}: {raw[:300]!r}")
        return json.loads(raw) if raw else None


Act = Callable[["Client", int], int]
"""One request of a series: takes the connection and the number, gives the status."""


@dataclass(frozen=True)
class Timing:
    """Many requests of one kind."""

    name: str
    clients: int
    requests: int
    p50_ms: float
    p95_ms: float
    per_second: float
    errors: int


def measure(name: str, client: Client, clients: int, requests: int, act: Act) -> Timing:
    """Call ``act(client, number)`` ``requests`` times, spread over ``clients`` connections; it returns a status."""
    times: list[float] = []
    errors: list[int] = []
    numbers = iter(range(requests))
    lock = threading.Lock()

    def work(mine: Client) -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            began = time.perf_counter()
            status = act(mine, number)
            took = time.perf_counter() - began
            with lock:
                times.append(took)
                if status >= 300:
                    errors.append(status)

    threads = [threading.Thread(target=work, args=(client.another(),)) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - began
    ordered = sorted(times)
    return Timing(
        name,
        clients,
        requests,
        round(statistics.median(ordered) * 1000, 2),
        round(ordered[int(len(ordered) * 0.95)] * 1000, 2),
        round(requests / wall, 1 if requests > 10 * wall else 4),
        len(errors),
    )
