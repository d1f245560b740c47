"""The agent's end of 169.254.169.254: a unix socket that the proxies in the namespaces hand requests to.

    guest -> haproxy in qrouter-… or qdhcp-… (says who asks) -> this socket -> control plane -> back

Only the proxies' own headers say whose request it is; the control plane finds the port from the
address and the router or network, and answers for that port only.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from virga.contract.calls import MetadataAnswer, MetadataRequest
from virga.lib.log import log_for

log = log_for(__name__)

LONGEST_BODY = 65536
TIMEOUT_S = 30.0
UNAVAILABLE = MetadataAnswer(status=503, body=b"metadata is not available at the moment\n")
OWN_HEADERS = ("x-forwarded-for", "x-neutron-router-id", "x-neutron-network-id", "connection", "host")

Ask = Callable[[MetadataRequest], MetadataAnswer]
"""Brings a request to the control plane; may raise ``Unreachable``."""


class Unreachable(Exception):
    """The control plane did not answer."""


class _Handler(BaseHTTPRequestHandler):
    """One request of a proxy. Version and date of this server are nobody's business."""

    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S
    server: _Server

    def _answer(self) -> None:
        request = self._request()
        if request is None:
            return
        try:
            answer = self.server.ask(request)
        except Unreachable as error:
            log.warning("metadata request not answered", path=request.path, reason=str(error))
            answer = UNAVAILABLE
        try:
            self._write(answer)
        except ConnectionError:
            # The guest did not wait for the answer; it will ask again.
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = _answer

    def _request(self) -> MetadataRequest | None:
        remote = self.headers.get_all("X-Forwarded-For", [])
        router, network = self.headers.get("X-Neutron-Router-ID"), self.headers.get("X-Neutron-Network-ID")
        length = self.headers.get("Content-Length", "0")
        if not remote or bool(router) == bool(network):
            self._refuse(400, b"the request did not come by a metadata proxy\n")
            return None
        if not (length.isascii() and length.isdigit()) or int(length) > LONGEST_BODY:
            self._refuse(413, b"the body is too long\n")
            return None
        return MetadataRequest(
            method=self.command,
            path=self.path,
            remote_address=plain_address(remote[-1]),
            network_id=network or "",
            router_id=router or "",
            body=self.rfile.read(int(length)),
            headers={k.lower(): v for k, v in self.headers.items() if k.lower() not in OWN_HEADERS},
        )

    def _refuse(self, status: int, text: bytes) -> None:
        self.close_connection = True
        self._write(MetadataAnswer(status=status, body=text))

    def _write(self, answer: MetadataAnswer) -> None:
        self.send_response_only(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are logged by the control plane, with the server they were for."""


def plain_address(forwarded: str) -> str:
    """Without scope, and as IPv4 when a socket of both families wrote ``::ffff:10.0.0.5``."""
    text = forwarded.strip().partition("%")[0]
    return text.removeprefix("::ffff:") if "." in text else text


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path, ask: Ask) -> None:
        self.ask = ask
        super().__init__(str(path), _Handler)

    def get_request(self) -> tuple[Any, Any]:
        """A unix peer has no address, and the handler wants one to print."""
        connection, _ = super().get_request()
        return connection, ("proxy", 0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.exception("metadata request failed")


class MetadataServer:
    """Serves the socket in a thread. A socket left by an earlier agent is taken over."""

    def __init__(self, path: Path, ask: Ask) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._server = _Server(path, ask)
        path.chmod(0o600)

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, name="metadata", daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
