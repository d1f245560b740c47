"""The API as a client that expects it to die: each answer is one of done, refused, unknown."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import httpx

NEWEST = {"openstack-api-version": "compute 2.95"}


class Api:
    """Admin of the lab. A request that finds nobody is told apart from one that was refused."""

    def __init__(self, endpoint: str, state_dir: Path) -> None:
        self.password = (state_dir / "admin_password").read_text().strip()
        self.client = httpx.Client(base_url=endpoint, timeout=30)
        self._local = threading.Lock()
        self.login()

    def login(self) -> None:
        user = {"name": "admin", "domain": {"id": "default"}, "password": self.password}
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": "admin", "domain": {"id": "default"}}},
            }
        }
        answer = self.until_it_answers("POST", "/identity/v3/auth/tokens", body)
        self.project = answer.json()["token"]["project"]["id"]
        self.client.headers.update({"x-auth-token": answer.headers["x-subject-token"], **NEWEST})

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response | None:
        """None when nobody answered: whether it was done is unknown."""
        try:
            return self.client.request(method, path, json=body)
        except httpx.TransportError:
            return None

    def until_it_answers(
        self, method: str, path: str, body: Any = None, limit_s: float = 60
    ) -> httpx.Response:
        """For what may be asked twice."""
        deadline = time.monotonic() + limit_s
        while (answer := self.ask(method, path, body)) is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"{method} {path}: nobody answered for {limit_s:.0f} s")
            time.sleep(0.05)
        return answer

    def made(self, path: str, body: dict[str, Any]) -> Any:
        """Something new, in quiet times."""
        answer = self.until_it_answers("POST", path, body)
        assert answer.status_code < 300, f"POST {path}: {answer.status_code} {answer.text[:300]}"
        return next(iter(answer.json().values()))

    def all(self, path: str) -> list[Any]:
        """A list."""
        answer = self.until_it_answers("GET", path)
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text[:300]}"
        return next(value for value in answer.json().values() if isinstance(value, list))

    def lift_quotas(self) -> None:
        """The load is not there to be told that it is too much."""
        for path, key in (
            (f"/network/v2.0/quotas/{self.project}", "quota"),
            (f"/compute/v2.1/os-quota-sets/{self.project}", "quota_set"),
            (f"/volume/v3/os-quota-sets/{self.project}", "quota_set"),
        ):
            shown = self.until_it_answers("GET", path).json()[key]
            unlimited = {name: -1 for name, value in shown.items() if isinstance(value, int)}
            answer = self.until_it_answers("PUT", path, {key: unlimited})
            assert answer.status_code == 200, f"PUT {path}: {answer.text[:300]}"
