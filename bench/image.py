"""An image up and down over loopback: bytes a second, and what the server's memory grew by meanwhile."""

from __future__ import annotations

import http.client
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.client import Client

SIZE_MB = 1024
CHUNK = bytearray(os.urandom(1 << 20))


def transfers(client: Client, pid: int, size_mb: int = SIZE_MB) -> dict[str, float]:
    """Upload and download one raw image. MB/s, and MB of memory."""
    body = {"name": "bench", "disk_format": "raw", "container_format": "bare"}
    image = client.json("POST", "/image/v2/images", body)["id"]
    path = f"/image/v2/images/{image}/file"
    before = _peak_mb(pid)
    up = _timed(client, "PUT", path, size_mb)
    down = _timed(client, "GET", path, size_mb)
    grown = _peak_mb(pid) - before
    client.json("DELETE", f"/image/v2/images/{image}")
    return {
        "image, MB": size_mb,
        "upload, MB/s": round(size_mb / up, 1),
        "download, MB/s": round(size_mb / down, 1),
        "the server grew by at most, MB": round(grown, 1),
    }


def _timed(client: Client, method: str, path: str, size_mb: int) -> float:
    parts = urlsplit(client.endpoint)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
    began = time.perf_counter()
    connection.putrequest(method, path)
    connection.putheader("X-Auth-Token", client.token)
    if method == "PUT":
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Content-Length", str(size_mb << 20))
    connection.endheaders()
    if method == "PUT":
        for _ in range(size_mb):
            connection.send(CHUNK)
    answer = connection.getresponse()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path} answered {answer.status}: {answer.read()[:300]!r}")
    _swallow(answer, 0 if method == "PUT" else size_mb << 20)
    took = time.perf_counter() - began
    connection.close()
    return took


def _swallow(answer: http.client.HTTPResponse, expected: int) -> None:
    buffer, read = memoryview(bytearray(1 << 20)), 0
    while count := answer.readinto(buffer):
        read += count
    if read != expected:
        raise RuntimeError(f"{read} bytes came, {expected} were sent")


def _peak_mb(pid: int) -> float:
    """The most that was ever resident; the mark is set back to what is resident now."""
    status = Path(f"/proc/{pid}/status").read_text()
    peak: dict[str, Any] = {
        line.split(":")[0]: line.split()[1] for line in status.splitlines() if "kB" in line
    }
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return int(peak["VmHWM"]) / 1024
