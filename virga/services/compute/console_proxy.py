"""The console page and the websocket behind it: a live token opens one console of one server, and nothing else.

browser --websocket--> here --unix socket--> QEMU (RFB) or the guest's serial line
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from virga.api.context import AsyncContext, CallError
from virga.contract.calls import ConsoleAddress, ConsoleTarget
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
        await _serve(socket, make_context("", "console"))

    return [Route(f"{PREFIX}/vnc.html", page), WebSocketRoute(f"{PREFIX}/websocket", websocket)]


async def _serve(socket: WebSocket, ctx: AsyncContext) -> None:
    token = socket.query_params.get("token", "")
    found = await ctx.read(lambda tx: console.redeem(tx, token))
    if found is None:
        # Closed before it was accepted: the client sees 403.
        await socket.close(1008)
        return
    asked = ConsoleTarget(instance_id=found.server_id, console_type=found.console_type)
    try:
        raw = await ctx.call(found.host, "instance.console_target", asked)
        address = msgspec.json.decode(raw, type=ConsoleAddress)
        reader, writer = await asyncio.open_unix_connection(address.path)
    except (CallError, OSError) as problem:
        log.warning("console not reachable", server_id=found.server_id, reason=str(problem))
        await socket.close(1011)
        return
    wanted = socket.scope.get("subprotocols", [])
    await socket.accept("binary" if "binary" in wanted else None)
    await _both_ways(socket, reader, writer)


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
