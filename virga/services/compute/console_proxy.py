"""The console page and the websocket behind it: a live token opens one console of one server, and nothing else.

browser --websocket--> here --unix socket--> QEMU (RFB) or the guest's serial line
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from virga.api.context import AsyncContext, CallError
from virga.contract.calls import ConsoleAddress, ConsoleTarget
from virga.lib.ids import new_uuid
from virga.lib.log import log_for
from virga.services.compute import console

log = log_for(__name__)

PAGE = Path(__file__).with_name("console.html")
PREFIX = "/compute/console"
CHUNK = 65536

MakeContext = Callable[[str, str], AsyncContext]


def routes(make_context: MakeContext) -> list[BaseRoute]:
    """Mounted before the service: these are no API, and need no token of Identity."""

    async def page(_request: Request) -> Response:
        return HTMLResponse(PAGE.read_text())

    async def websocket(socket: WebSocket) -> None:
        # A name of its own: calls of one id get one answer, and it must not be that of another console.
        await _serve(socket, make_context("", f"console-{new_uuid()}"))

    return [Route(f"{PREFIX}/vnc.html", page), WebSocketRoute(f"{PREFIX}/websocket", websocket)]


async def _serve(socket: WebSocket, ctx: AsyncContext) -> None:
    token = socket.query_params.get("token", "")
    found = await ctx.read(lambda tx: console.redeem(tx, token)) if _same_origin(socket) else None
    if found is None:
        # Closed before it was accepted: the client sees 403.
        await socket.close(1008)
        return
    asked = ConsoleTarget(instance_id=found.server_id, console_type=found.console_type)
    try:
        raw = await ctx.call(found.host, "instance.console_target", asked)
        address = msgspec.json.decode(raw, type=ConsoleAddress)
        with _short_name(Path(address.path)) as name:
            reader, writer = await asyncio.open_unix_connection(name)
    except (CallError, OSError) as problem:
        log.warning("console not reachable", server_id=found.server_id, reason=str(problem))
        await socket.close(1011)
        return
    wanted = socket.scope.get("subprotocols", [])
    await socket.accept("binary" if "binary" in wanted else None)
    await _both_ways(socket, reader, writer)


def _same_origin(socket: WebSocket) -> bool:
    """A page of somebody else must not use a token that it got hold of in a user's browser."""
    origin = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")


@contextlib.contextmanager
def _short_name(path: Path) -> Iterator[str]:
    """By way of the directory's descriptor: the whole path may be too long for a socket address."""
    directory = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


async def _both_ways(socket: WebSocket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side hangs up."""
    tasks = {asyncio.create_task(_to_browser(socket, reader)), asyncio.create_task(_to_guest(socket, writer))}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close()


async def _to_browser(socket: WebSocket, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(CHUNK):
        await socket.send_bytes(data)


async def _to_guest(socket: WebSocket, writer: asyncio.StreamWriter) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        writer.write(message.get("bytes") or (message.get("text") or "").encode())
        await writer.drain()
