"""A small HTTP client for the cloud's own APIs, of the standard library only, so that the command starts quickly."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from virga.lab.credentials import Account, auth_url
from virga.settings import Settings


class WireError(Exception):
    """The API refused, or did not answer."""

    def __init__(self, method: str, url: str, status: int, text: str) -> None:
        self.status = status
        super().__init__(f"{method} {url}: {status or 'no answer'}: {text[:1000]}")


@dataclass(slots=True)
class Wire:
    """One account's session. The token is fetched with the first request."""

    settings: Settings
    account: Account
    _headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **query: str) -> Any:
        return self.send("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))[1]

    def post(self, path: str, body: object) -> Any:
        return self.send("POST", path, body)[1]

    def put_file(self, path: str, file: Path) -> None:
        """Upload by stream."""
        with file.open("rb") as stream:
            self.send("PUT", path, iter(lambda: stream.read(1 << 20), b""), "application/octet-stream", 300.0)

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        content: str = "application/json",
        timeout_s: float = 30.0,
    ) -> tuple[dict[str, str], Any]:
        if not self._headers:
            self._headers = {"X-Auth-Token": self._token()}
        return request(method, self.settings.endpoint + path, body, content, timeout_s, self._headers)

    def _token(self) -> str:
        domain = {"name": "Default"}
        user = {"name": self.account.username, "domain": domain, "password": self.account.password}
        scope = {"project": {"name": self.account.project, "domain": domain}}
        auth = {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}
        headers, _ = request("POST", auth_url(self.settings) + "/auth/tokens", {"auth": auth})
        return headers["x-subject-token"]


def request(
    method: str,
    url: str,
    body: object = None,
    content: str = "application/json",
    timeout_s: float = 30.0,
    headers: dict[str, str] | None = None,
) -> tuple[dict[str, str], Any]:
    """One request. Headers of the answer (in small letters) and its JSON. Raises WireError from 400 on."""
    data: bytes | Iterable[bytes] | None
    data = body if body is None or content != "application/json" else json.dumps(body).encode()  # type: ignore[assignment]
    message = urllib.request.Request(url, data, {**(headers or {}), "Content-Type": content}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(message, timeout=timeout_s) as answer:
            text = answer.read()
            found = {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        with error:
            raise WireError(method, url, error.code, error.read().decode(errors="replace")) from None
    except (OSError, ValueError) as error:
        raise WireError(method, url, 0, str(error)) from None
    return found, json.loads(text) if text and "json" in found.get("content-type", "") else None
