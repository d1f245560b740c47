"""What code outside a single transaction works with: async handlers and durable jobs."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from virga.api.policy import Policy
from virga.db.engine import Database, Work
from virga.db.tx import NOBODY, Tx

T = TypeVar("T")


class CallError(Exception):
    """An agent could not do what it was asked. ``kind``: ``timeout``, ``unreachable`` or the agent's own error type."""

    def __init__(self, message: str, kind: str = "error") -> None:
        super().__init__(message)
        self.kind = kind


class HostCaller(Protocol):
    """Calls an agent. ``call_id`` makes a repeated call harmless; the result is raw JSON."""

    def __call__(
        self, host: str, method: str, arguments: Any, *, call_id: str, request_id: str, timeout_s: float
    ) -> Awaitable[bytes]: ...


SHARE_S = 0.005


@dataclass(slots=True)
class Waiting:
    """A write and who waits for it."""

    work: Work
    future: asyncio.Future[Any]

    def tell(self) -> None:
        """In the loop of whoever waits, unless that one has given up."""
        if self.future.done():
            return
        if self.work.error is not None:
            self.future.set_exception(self.work.error)
        else:
            self.future.set_result(self.work.result)


class Workers:
    """The threads that transactions run in: one for writers, who take turns anyway, and one for readers.

    Writes that come while the writer is busy are committed together, which is one write to the disk for
    all of them; nobody waits longer for the others than ``SHARE_S``.
    More readers would not read faster, they would only fight over the interpreter's lock: measured
    with eight clients, four reading threads served a third fewer requests than one.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._waiting: deque[Waiting] = deque()
        self._writer = ThreadPoolExecutor(1, "writer")
        self._reader = ThreadPoolExecutor(1, "reader")
        self._aside = ThreadPoolExecutor(4, "aside")

    async def read(self, function: Callable[[Tx], T], request_id: str = "") -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader, self.database.read, function, request_id)

    async def write(self, function: Callable[[Tx], T], request_id: str = "") -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(Work(function, request_id), future))
        self._writer.submit(self._write_waiting)
        return await future

    def _write_waiting(self) -> None:
        """In the writer's thread: all that waits, in one commit."""
        taken: list[Waiting] = []
        if self._waiting:
            self.database.write_all(self._take(taken))
        for waiting in taken:
            waiting.future.get_loop().call_soon_threadsafe(waiting.tell)

    def _take(self, taken: list[Waiting]) -> Iterator[Work]:
        deadline = time.monotonic() + SHARE_S
        while self._waiting and (not taken or time.monotonic() < deadline):
            taken.append(self._waiting.popleft())
            yield taken[-1].work

    async def thread(self, function: Callable[[], T]) -> T:
        """Run something slow that needs no transaction (hashing, a tool) beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._aside, function)

    def close(self) -> None:
        for pool in (self._writer, self._reader, self._aside):
            pool.shutdown(wait=True)


class AsyncContext:
    """Transactions and agent calls for async handlers and jobs. ``name`` makes its call ids stable."""

    def __init__(
        self,
        workers: Workers,
        host_caller: HostCaller,
        policy: Policy,
        settings: Any,
        request_id: str,
        name: str,
    ) -> None:
        self.workers = workers
        self.policy = policy
        self.settings = settings
        self.request_id = request_id
        self.cause = NOBODY
        self._host_caller = host_caller
        self._name = name
        self._calls = 0

    async def read(self, function: Callable[[Tx], T]) -> T:
        """Run ``function(tx)`` in a reading transaction."""
        return await self.workers.read(function, self.request_id)

    async def write(self, function: Callable[[Tx], T]) -> T:
        """Run ``function(tx)`` and commit."""

        def caused(tx: Tx) -> T:
            tx.cause = self.cause
            return function(tx)

        return await self.workers.write(caused, self.request_id)

    async def thread(self, function: Callable[[], T]) -> T:
        """Run a slow function beside the event loop."""
        return await self.workers.thread(function)

    async def call(self, host: str, method: str, arguments: Any, timeout_s: float = 60.0) -> bytes:
        """Ask the agent of ``host`` for a true action; raw JSON of the result. Raises CallError.

        The n-th call of a job has the same id each time the job runs, so that a job repeated after
        a crash gets the first outcome again.
        """
        self._calls += 1
        return await self._host_caller(
            host,
            method,
            arguments,
            call_id=f"{self._name}.{self._calls}",
            request_id=self.request_id,
            timeout_s=timeout_s,
        )
