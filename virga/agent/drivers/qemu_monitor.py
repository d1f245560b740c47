"""Talks QMP to running QEMU processes and notices at once when one of them ends.

One event loop in one thread serves the monitors of all instances; worker threads call in and wait.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from qemu.qmp import ExecuteError, QMPClient, QMPError

T = TypeVar("T")
Event = dict[str, Any]

logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class MonitorError(Exception):
    """QEMU refused a command, or could not be asked. ``kind`` is QEMU's error class, if it gave one."""

    def __init__(self, command: str, reason: str, kind: str = "") -> None:
        super().__init__(f"QEMU command {command}: {reason}")
        self.command = command
        self.reason = reason
        self.kind = kind


class MonitorThread:
    """The event loop that all monitors share."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qmp", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Run it in the loop and wait for its result in the calling thread."""
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(coroutine, timeout_s), self._loop)
        return future.result()

    def soon(self, function: Callable[..., object], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(function, *arguments)

    def watch_exit(self, pid: int, on_exit: Callable[[], None]) -> None:
        """Call ``on_exit`` once, in the loop's thread, as soon as the process is gone."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self.soon(on_exit)
            return

        def readable() -> None:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
            on_exit()

        self.soon(self._loop.add_reader, descriptor, readable)

    def close(self) -> None:
        """End the thread. The QEMU processes do not notice more than a closed connection."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        if not self._loop.is_running():
            self._loop.close()


class Events:
    """What QEMU said while somebody listened."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()

    def put(self, event: Event | None) -> None:
        self._queue.put(event)

    def wait(self, name: str, timeout_s: float, **data: object) -> Event | None:
        """The next event of that name whose data holds ``data``; None when the time is over or QEMU is gone."""
        while True:
            event = self.next(timeout_s)
            if event is None:
                return None
            if event["event"] == name and data.items() <= event.get("data", {}).items():
                return event

    def next(self, timeout_s: float) -> Event | None:
        """Whatever comes next; None when the time is over or QEMU is gone."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None


class Monitor:
    """The QMP connection to one QEMU process."""

    def __init__(self, thread: MonitorThread, client: QMPClient) -> None:
        self._thread = thread
        self._client = client
        self._on_event: Callable[[Event], None] = lambda event: None
        self._listeners: list[Events] = []

    @classmethod
    def open(cls, thread: MonitorThread, home: Path, timeout_s: float = 10) -> Monitor:
        """Connect to ``qmp.sock`` in ``home``, by way of its descriptor: the whole path may be too long."""
        directory = os.open(home, os.O_PATH)
        try:
            client = QMPClient(home.name)
            thread.call(client.connect(f"/proc/self/fd/{directory}/qmp.sock"), timeout_s)
        except (QMPError, OSError, TimeoutError) as error:
            raise MonitorError("connect", str(error) or type(error).__name__) from error
        finally:
            os.close(directory)
        monitor = cls(thread, client)
        thread.call(monitor._listen(), timeout_s=5)
        return monitor

    def subscribe(self, on_event: Callable[[Event], None]) -> None:
        """Call it in the loop's thread for every event from now on."""
        self._on_event = on_event

    async def _listen(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._dispatch())

    async def _dispatch(self) -> None:
        async for message in self._client.events:
            event = dict(message)
            for listener in list(self._listeners):
                listener.put(event)
            self._on_event(event)

    def execute(self, command: str, arguments: dict[str, Any] | None = None, timeout_s: float = 30) -> Any:
        try:
            return self._thread.call(self._client.execute(command, arguments), timeout_s)
        except ExecuteError as error:
            raise MonitorError(command, str(error), error.error_class) from error
        except TimeoutError as error:
            raise MonitorError(command, f"no answer within {timeout_s:g} s") from error
        except (QMPError, OSError) as error:
            raise MonitorError(command, str(error) or type(error).__name__, "Disconnected") from error

    def send_file(self, name: str, descriptor: int) -> None:
        """Hand an open file to QEMU, which keeps it under ``name``."""

        async def send() -> None:
            self._client.send_fd_scm(descriptor)
            await self._client.execute("getfd", {"fdname": name})

        self._thread.call(send(), timeout_s=10)

    @contextmanager
    def listen(self) -> Iterator[Events]:
        """Collect events from before the command that causes them."""
        events = Events()
        self._listeners.append(events)
        try:
            yield events
        finally:
            self._listeners.remove(events)

    def lost(self) -> None:
        """Wake all who wait for an event of a QEMU that is gone."""
        for listener in list(self._listeners):
            listener.put(None)

    def close(self) -> None:
        """Disconnect. QEMU goes on."""

        async def close() -> None:
            self._task.cancel()
            try:
                await self._client.disconnect()
            except (QMPError, OSError, EOFError):
                return

        try:
            self._thread.call(close(), timeout_s=10)
        except (QMPError, OSError, TimeoutError):
            return
