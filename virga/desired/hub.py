"""Where agents connect: sends each host the items that must be so, carries calls, takes reports.

A connection remembers which revision it has sent. When a host has news its connection is woken and
sends what came since, so that a slow agent gets fewer and larger deltas, never a growing queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from virga.api.context import CallError, Workers
from virga.bus.frames import Decoder, FrameError, encode
from virga.contract.messages import AnyMessage, Call, Heartbeat, Hello, Reply, Report, Reports
from virga.db.tx import Tx
from virga.desired.feed import Feed, prune
from virga.lib.log import log_for

log = log_for("virga.hub")

READ_SIZE = 256 * 1024
PRUNE_EVERY_S = 300.0

T = TypeVar("T")
TakeReports = Callable[[Tx, str, list[Report]], None]
TakeHeartbeat = Callable[[Tx, Heartbeat], None]
Answer = Callable[[str, bytes], Awaitable[Any]]
"""Host and raw arguments of an agent's call to the result; raises CallError."""


@dataclass
class Connection:
    """One agent."""

    writer: asyncio.StreamWriter
    host: str = ""
    epoch: str = ""
    sent: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Waiting:
    """A call that has no reply yet."""

    host: str
    call: Call
    reply: asyncio.Future[Reply]


class Hub:
    """The control plane's end of the bus."""

    def __init__(
        self,
        feed: Feed,
        workers: Workers,
        take_reports: TakeReports,
        take_heartbeat: TakeHeartbeat,
        answers: Mapping[str, Answer] | None = None,
        path: Path | None = None,
        forget: Callable[[Tx], None] = prune,
    ) -> None:
        self.feed = feed
        self.answers = dict(answers or {})
        self._workers = workers
        self._take_reports, self._take_heartbeat = take_reports, take_heartbeat
        self._path = path
        self._forget = forget
        self._connections: dict[str, Connection] = {}
        self._waiting: dict[str, Waiting] = {}
        self._news = asyncio.Event()
        self._feed_lock = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def hosts(self) -> set[str]:
        """Hosts whose agents are connected."""
        return set(self._connections)

    async def look(self, function: Callable[[Feed], T]) -> T:
        """Read the feed's memory while nobody changes it. ``function`` copies what it wants to keep."""
        async with self._feed_lock:
            return function(self.feed)

    # --- life

    async def start(self) -> None:
        """Read the whole desired state, listen, follow changes."""
        self._loop = asyncio.get_running_loop()
        await self._workers.read(self.feed.start)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            old = os.umask(0o077)
            try:
                self._server = await asyncio.start_unix_server(self._serve, self._path)
            finally:
                os.umask(old)
        self._spawn(self._follow())
        self._news.set()

    async def stop(self) -> None:
        """Say nothing more; agents keep their hosts as they are."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for waiting in self._waiting.values():
            waiting.reply.cancel()

    def notify(self) -> None:
        """Something was announced; from any thread (see Database.on_announce)."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    def local(self) -> socket.socket:
        """The agent's end of a connection inside this process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        self._spawn(self._serve_socket(ours))
        return theirs

    def attach_socket(self, ours: socket.socket) -> None:
        """Serve an agent of this process at the other end of a socket pair; from any thread."""
        ours.setblocking(False)
        assert self._loop is not None
        self._loop.call_soon_threadsafe(lambda: self._spawn(self._serve_socket(ours)))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self) -> None:
        pruned = time.monotonic()
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                async with self._feed_lock:
                    hosts = await self._workers.read(self.feed.refresh)
                for host in hosts & self._connections.keys():
                    self._connections[host].wake.set()
                if time.monotonic() - pruned > PRUNE_EVERY_S:
                    pruned = time.monotonic()
                    await self._workers.write(self._forget)
            except Exception:
                log.exception("following changes failed")
                asyncio.get_running_loop().call_later(1, self._news.set)

    # --- one connection

    async def _serve_socket(self, ours: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=ours)
        await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        decoder = Decoder()
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        sender: asyncio.Task[None] | None = None
        try:
            while data := await reader.read(READ_SIZE):
                for message in decoder.feed(data):
                    if isinstance(message, Hello):
                        sender = self._hello(connection, message, sender)
                    else:
                        await self._received(connection, message)
        except (FrameError, ConnectionError) as problem:
            log.warning("connection of an agent ended", host=connection.host, reason=str(problem))
        except asyncio.CancelledError:
            # The hub stops. Raised further it would be logged as an error by the stream that started this task.
            pass
        finally:
            if sender is not None:
                sender.cancel()
            if self._connections.get(connection.host) is connection:
                del self._connections[connection.host]
            writer.close()

    def _hello(
        self, connection: Connection, message: Hello, sender: asyncio.Task[None] | None
    ) -> asyncio.Task[None]:
        if sender is not None:
            sender.cancel()
        log.info("agent connected", host=message.host, revision=message.revision)
        connection.host, connection.epoch, connection.sent = message.host, message.epoch, message.revision
        self._connections[message.host] = connection
        connection.wake.set()
        for waiting in self._waiting.values():
            if waiting.host == message.host:
                connection.writer.write(encode(waiting.call))
        return asyncio.create_task(self._send_states(connection))

    async def _send_states(self, connection: Connection) -> None:
        """Deltas as they come; each carries all that the agent does not have yet."""
        with contextlib.suppress(ConnectionError):
            while True:
                await connection.wake.wait()
                connection.wake.clear()
                async with self._feed_lock:
                    state = self.feed.since(connection.host, connection.epoch, connection.sent)
                    connection.epoch, connection.sent = self.feed.epoch, self.feed.revision
                if state is None:
                    continue
                connection.writer.write(encode(state))
                await connection.writer.drain()

    async def _received(self, connection: Connection, message: AnyMessage) -> None:
        try:
            if isinstance(message, Reply):
                waiting = self._waiting.get(message.id)
                if waiting is not None and not waiting.reply.done():
                    waiting.reply.set_result(message)
            elif isinstance(message, Heartbeat):
                await self._workers.write(lambda tx: self._take_heartbeat(tx, message))
            elif isinstance(message, Reports):
                await self._workers.write(lambda tx: self._take_reports(tx, connection.host, message.reports))
            elif isinstance(message, Call):
                self._spawn(self._answer(connection, message))
        except Exception:
            log.exception("a message of an agent was not understood", host=connection.host)

    async def _answer(self, connection: Connection, call: Call) -> None:
        answer = self.answers.get(call.method)
        try:
            if answer is None:
                raise CallError(f"there is no call {call.method!r}", kind="unknown")
            result = await answer(connection.host, bytes(call.arguments))
            reply = Reply(id=call.id, result=msgspec.Raw(msgspec.json.encode(result)))
        except CallError as problem:
            reply = Reply(id=call.id, error=str(problem), error_type=problem.kind)
        except Exception as problem:
            log.exception("answering an agent failed", host=connection.host, method=call.method)
            reply = Reply(id=call.id, error=f"{type(problem).__name__}: {problem}", error_type="error")
        connection.writer.write(encode(reply))

    # --- calls to agents

    async def call(
        self, host: str, method: str, arguments: Any, *, call_id: str, request_id: str, timeout_s: float
    ) -> bytes:
        """Ask the agent of ``host``; an agent that is away gets the call when it returns in time."""
        raw = msgspec.Raw(msgspec.json.encode(arguments))
        call = Call(id=call_id, method=method, arguments=raw, request_id=request_id, timeout_s=timeout_s)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[call_id] = Waiting(host, call, future)
        connection = self._connections.get(host)
        if connection is not None:
            connection.writer.write(encode(call))
        try:
            reply = await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            kind = "timeout" if host in self._connections else "unreachable"
            raise CallError(
                f"host {host} did not answer {method} within {timeout_s:g} s", kind=kind
            ) from None
        finally:
            self._waiting.pop(call_id, None)
        if reply.error:
            raise CallError(reply.error, kind=reply.error_type or "error")
        return bytes(reply.result)
