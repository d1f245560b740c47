"""The control plane's end of the bus: agents connect, learn what must be, report what is, are called.

Everything here runs on the event loop; rows are read and written in the workers' threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec

from virga.api.context import CallError, Workers
from virga.bus.frames import Decoder, FrameError, encode
from virga.contract.messages import AnyMessage, Call, Heartbeat, Hello, Reply, Reports, State
from virga.db.engine import Database
from virga.db.tx import Tx
from virga.desired import rooms
from virga.desired.feed import Feed, prune
from virga.desired.registry import Registry
from virga.lib.log import log_for
from virga.settings import Settings

log = log_for("virga.hub")

PRUNE_EVERY_S = 300.0


class CloudParts(Protocol):
    """What the hub needs of the control plane."""

    settings: Settings
    database: Database
    workers: Workers


@contextlib.asynccontextmanager
async def running(cloud: CloudParts) -> AsyncIterator[Hub]:
    """A hub that listens at ``DIR/bus.sock`` and follows the outbox, until the block ends."""
    hub = Hub(cloud.workers, cloud.settings, Registry(rooms.ROOMS))
    await cloud.workers.read(hub.feed.rebuild)
    cloud.database.on_announce.append(hub.notify)
    path = cloud.settings.state_dir / "bus.sock"
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(hub.attach, path, limit=1 << 20)
    path.chmod(0o600)
    following = asyncio.create_task(hub.follow())
    try:
        yield hub
    finally:
        following.cancel()
        server.close()
        await hub.close()
        await asyncio.gather(following, return_exceptions=True)
        path.unlink(missing_ok=True)


class _Peer:
    """One connected agent."""

    def __init__(self, host: str, writer: asyncio.StreamWriter) -> None:
        self.host = host
        self.writer = writer
        self.waiting: dict[str, asyncio.Future[bytes]] = {}

    def send(self, message: AnyMessage) -> None:
        self.writer.write(encode(message))


class Hub:
    """Connections by host, and the feed behind them."""

    def __init__(self, workers: Workers, settings: Settings, registry: Registry) -> None:
        self.feed = Feed(registry, settings)
        self.epoch = uuid.uuid4().hex
        self._workers = workers
        self._settings = settings
        self._registry = registry
        self._peers: dict[str, _Peer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._advancing = asyncio.Lock()

    # -- changes out -----------------------------------------------------------------------------

    def notify(self) -> None:
        """Something was announced; from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    async def follow(self) -> None:
        """Until cancelled: send each host what changed for it."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), PRUNE_EVERY_S)
            if not self._wake.is_set():
                await self._workers.write(prune())
                continue
            self._wake.clear()
            try:
                await self._advance()
            except Exception:
                log.exception("the feed failed; it starts again from the rows")
                await self._start_over()

    async def _advance(self) -> None:
        async with self._advancing:
            for host, state in (await self._workers.read(self.feed.advance)).items():
                peer = self._peers.get(host)
                if peer is not None:
                    peer.send(msgspec.structs.replace(state, epoch=self.epoch))

    async def _start_over(self) -> None:
        """Forget the view, compile everything, and send every agent its full state: nothing stays half told."""
        async with self._advancing:
            self.feed = Feed(self._registry, self._settings)
            await self._workers.read(self.feed.rebuild)
            self.epoch = uuid.uuid4().hex
            for peer in self._peers.values():
                peer.send(self._state_for(peer.host, "", 0))

    # -- agents in -------------------------------------------------------------------------------

    def attach_socket(self, connection: socket.socket) -> None:
        """Serve an agent of this very process, at the other end of a socket pair; from any thread."""

        async def serve() -> None:
            reader, writer = await asyncio.open_connection(sock=connection)
            await self.attach(reader, writer)

        asyncio.run_coroutine_threadsafe(serve(), self._loop)

    async def attach(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one agent until it hangs up."""
        decoder, peer = Decoder(), None
        try:
            while data := await reader.read(1 << 20):
                for message in decoder.feed(data):
                    if isinstance(message, Hello):
                        peer = await self._welcome(message, writer)
                    elif peer is not None:
                        await self._hear(peer, message)
        except (ConnectionError, FrameError) as problem:
            log.warning("connection to an agent broke", host=peer.host if peer else "", reason=str(problem))
        finally:
            self._forget(peer)
            writer.close()

    async def _welcome(self, hello: Hello, writer: asyncio.StreamWriter) -> _Peer:
        peer = _Peer(hello.host, writer)
        async with self._advancing:
            before = self._peers.get(hello.host)
            if before is not None:
                before.writer.close()
            self._peers[hello.host] = peer
            peer.send(self._state_for(hello.host, hello.epoch, hello.revision))
        log.info("agent connected", host=hello.host, epoch=hello.epoch, revision=hello.revision)
        return peer

    def _state_for(self, host: str, epoch: str, revision: int) -> State:
        view = self.feed.view
        state = view.since(host, revision) if epoch == self.epoch else view.full(host)
        return msgspec.structs.replace(state, epoch=self.epoch)

    def _forget(self, peer: _Peer | None) -> None:
        if peer is None:
            return
        if self._peers.get(peer.host) is peer:
            del self._peers[peer.host]
        for future in peer.waiting.values():
            if not future.done():
                future.set_exception(CallError(f"The agent of {peer.host} went away.", "unreachable"))

    async def _hear(self, peer: _Peer, message: AnyMessage) -> None:
        if isinstance(message, Reports):
            await self._workers.write(lambda tx: self._report(tx, peer.host, message))
        elif isinstance(message, Heartbeat):
            await self._workers.write(lambda tx: self._heartbeat(tx, message))
        elif isinstance(message, Reply):
            future = peer.waiting.pop(message.id, None)
            if future is not None and not future.done():
                if message.error:
                    future.set_exception(CallError(message.error, message.error_type or "error"))
                else:
                    future.set_result(bytes(message.result))
        elif isinstance(message, Call):
            task = asyncio.create_task(self._answer(peer, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _report(self, tx: Tx, host: str, message: Reports) -> None:
        for report in message.reports:
            handler = self._registry.reports.get(report.kind)
            if handler is not None:
                handler(tx, self._settings, host, report)

    def _heartbeat(self, tx: Tx, message: Heartbeat) -> None:
        for room in self._registry.rooms:
            if room.heartbeat is not None:
                room.heartbeat(tx, self._settings, message)

    async def _answer(self, peer: _Peer, call: Call) -> None:
        """A call that an agent makes: what a guest asked the metadata service, say."""
        answer = self._registry.answers.get(call.method)
        if answer is None:
            peer.send(
                Reply(id=call.id, error=f"There is no method {call.method}.", error_type="unknown_method")
            )
            return
        try:
            result = await self._workers.write(
                lambda tx: answer(tx, self._settings, peer.host, bytes(call.arguments)), call.request_id
            )
        except Exception as problem:
            log.exception("a call of an agent failed", host=peer.host, method=call.method)
            peer.send(Reply(id=call.id, error=str(problem), error_type=type(problem).__name__))
        else:
            peer.send(Reply(id=call.id, result=msgspec.Raw(msgspec.json.encode(result))))

    # -- calls out -------------------------------------------------------------------------------

    async def call(
        self, host: str, method: str, arguments: Any, *, call_id: str, request_id: str, timeout_s: float
    ) -> bytes:
        """Ask the agent of ``host``; raw JSON of the result. Raises CallError."""
        peer = self._peers.get(host)
        if peer is None:
            raise CallError(f"No agent of {host} is connected.", "unreachable")
        future: asyncio.Future[bytes] = self._loop.create_future()
        peer.waiting[call_id] = future
        raw = msgspec.Raw(msgspec.json.encode(arguments))
        peer.send(Call(id=call_id, method=method, arguments=raw, request_id=request_id, timeout_s=timeout_s))
        try:
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            raise CallError(f"{method} on {host} did not end within {timeout_s:g} s.", "timeout") from None
        finally:
            peer.waiting.pop(call_id, None)

    def connected(self) -> list[str]:
        """Hosts whose agent is connected."""
        return sorted(self._peers)

    async def close(self) -> None:
        """Hang up on all agents."""
        for peer in list(self._peers.values()):
            peer.writer.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
