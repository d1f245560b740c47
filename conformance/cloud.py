"""A small HTTP client of the cloud under test: just enough to learn what its tempest.conf must say."""

from __future__ import annotations

import json
import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Admin:
    """An administrator's session on a cloud."""

    endpoint: str
    password: str
    token: str

    @classmethod
    def login(cls, endpoint: str, password: str) -> Admin:
        """Authenticate as ``admin`` of project ``admin``."""
        user = {"name": "admin", "domain": {"id": "default"}, "password": password}
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": "admin", "domain": {"id": "default"}}},
            }
        }
        request = urllib.request.Request(
            f"{endpoint}/identity/v3/auth/tokens",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return cls(endpoint, password, answer.headers["X-Subject-Token"])

    def get(self, path: str) -> Any:
        """GET ``path`` (below the endpoint) and decode the JSON."""
        return self._send("GET", path, None)

    def download(self, path: str, target: Path) -> Path:
        """GET ``path`` into a file."""
        request = urllib.request.Request(self.endpoint + path, headers={"X-Auth-Token": self.token})
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(request, timeout=60) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file)
        return target

    def upload(self, path: str, source: Path) -> None:
        """PUT a file's bytes to ``path``."""
        headers = {
            "X-Auth-Token": self.token,
            "Content-Type": "application/octet-stream",
            "Content-Length": str(source.stat().st_size),
        }
        with source.open("rb") as file:
            request = urllib.request.Request(self.endpoint + path, file, headers, method="PUT")
            urllib.request.urlopen(request, timeout=60).close()

    def post(self, path: str, body: Any) -> Any:
        """POST a JSON body and decode the JSON answer."""
        return self._send("POST", path, json.dumps(body).encode())

    def _send(self, method: str, path: str, data: bytes | None) -> Any:
        headers = {"X-Auth-Token": self.token, "Content-Type": "application/json"}
        request = urllib.request.Request(self.endpoint + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            raw = answer.read()
        return json.loads(raw) if raw else None
