"""The web is fetched from where the operator allows, redirects included."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from virga.services.image.fetch import FetchError, is_fetchable, pieces


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://example.org/image", True),
        ("https://example.org/image", True),
        ("http://example.org:443/image", True),
        ("http://example.org:22/image", False),
        ("file:///etc/shadow", False),
        ("ftp://example.org/image", False),
        ("http:///image", False),
        ("http://[broken", False),
        ("http://example.org:99999/", False),
        ("", False),
    ],
)
def test_which_addresses_pass(uri: str, expected: bool) -> None:
    assert is_fetchable(uri) is expected


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:22/")
            self.end_headers()
        elif self.path == "/image":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"content" * 1000)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_the_bytes_come_in_pieces(port: int) -> None:
    assert b"".join(pieces(f"http://127.0.0.1:{port}/image", (port,))) == b"content" * 1000


@pytest.mark.parametrize("path", ["/away", "/nowhere"])
def test_redirects_to_elsewhere_and_errors_end_it(port: int, path: str) -> None:
    with pytest.raises(FetchError):
        list(pieces(f"http://127.0.0.1:{port}{path}", (port,)))
