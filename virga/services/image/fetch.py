"""Fetches an image from the web, for ``web-download``. Only what an operator allows can be reached."""

from __future__ import annotations

import http.client
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import IO

PORTS = (80, 443)
SCHEMES = ("http", "https")
TIMEOUT_S = 30.0
PIECE = 256 * 1024


class FetchError(Exception):
    """The URL cannot be fetched; says why."""


def is_fetchable(uri: str, ports: tuple[int, ...] = PORTS) -> bool:
    """Whether the URL is one that a client may have us ask: http(s), an ordinary port, a host."""
    try:
        parts = urllib.parse.urlsplit(uri)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return False
    return parts.scheme in SCHEMES and bool(parts.hostname) and port in ports


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect may only lead where a first request may."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        self.ports = ports

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not is_fetchable(newurl, self.ports):
            raise FetchError(f"Redirect to {newurl} does not pass filtering")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def pieces(uri: str, ports: tuple[int, ...] = PORTS) -> Iterator[bytes]:
    """The bytes behind a URL. Blocking; raises FetchError."""
    if not is_fetchable(uri, ports):
        raise FetchError(f"URI for web-download does not pass filtering: {uri}")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _CheckedRedirects(ports),
    ):
        opener.add_handler(handler)
    try:
        with opener.open(uri, timeout=TIMEOUT_S) as response:
            while piece := response.read(PIECE):
                yield piece
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(f"{uri} cannot be fetched: {error}") from error
