"""The captures of this host: started, read and ended by calls; each ends by itself when its time is over or nobody reads."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from virga.agent.calls import CallError, CallRegistry, NotFoundHere
from virga.agent.drivers.capture_hops import CaptureWish, FilterError, Receive
from virga.contract.capture import (
    CapturedFrames,
    CaptureStarted,
    Frame,
    ReadCapture,
    StartCapture,
    StopCapture,
)
from virga.lib.log import log_for

log = log_for(__name__)

MOST_FRAMES = 20_000
"""Kept for whoever reads; older ones are lost."""
MOST_BYTES = 32 * 2**20
FRAMES_A_READ = 500
BYTES_A_READ = 2**20
UNREAD_S = 15.0
LONGEST_S = 3600.0


class BadFilter(CallError):
    """The filter is not understood."""

    error_type = "BadFilter"


class Hops(Protocol):
    """What makes and removes; the real one is in drivers/capture_hops.py."""

    def sweep(self) -> None: ...

    def open(
        self, capture_id: str, wish: CaptureWish, receive: Receive
    ) -> tuple[list[Any], dict[str, str]]: ...

    def close(self, capture_id: str, ears: list[Any]) -> None: ...


@dataclass(slots=True)
class Capture:
    """One capture: frames that were not read yet, by number."""

    ends_at: float
    read_at: float
    ears: list[Any] = field(default_factory=list)
    frames: deque[Frame] = field(default_factory=deque)
    first: int = 0
    """Number of the frame that stands first in ``frames``."""
    size: int = 0
    lost: int = 0
    over: bool = False
    news: threading.Condition = field(default_factory=threading.Condition)

    def put(self, frame: Frame) -> None:
        with self.news:
            self.frames.append(frame)
            self.size += len(frame.data)
            while len(self.frames) > MOST_FRAMES or self.size > MOST_BYTES:
                self._forget()
                self.lost += 1
            self.news.notify_all()

    def _forget(self) -> None:
        self.size -= len(self.frames.popleft().data)
        self.first += 1

    def take(self, after: int, wait_s: float) -> CapturedFrames:
        """Frames from number ``after`` on; those before it are done with."""
        with self.news:
            while self.frames and self.first < after:
                self._forget()
            if not self.frames and not self.over:
                self.news.wait(wait_s)
            found: list[Frame] = []
            size = 0
            for frame in self.frames:
                if len(found) == FRAMES_A_READ or size > BYTES_A_READ:
                    break
                found.append(frame)
                size += len(frame.data)
            upto = self.first + len(found)
            done = self.over and len(found) == len(self.frames)
            return CapturedFrames(frames=found, next=upto, done=done, lost=self.lost)


class Captures:
    """All captures of the host, and the thread that ends those that are over."""

    def __init__(self, hops: Hops, clock: Callable[[], float] = time.monotonic) -> None:
        self._hops = hops
        self._clock = clock
        self._captures: dict[str, Capture] = {}
        self._lock = threading.Lock()
        self._watching = False
        self._stopped = threading.Event()

    def begin(self) -> None:
        """A fresh agent: nothing of a former one's captures stays."""
        self._hops.sweep()

    def register(self, registry: CallRegistry) -> None:
        registry.register("capture.start", StartCapture, self.start)
        registry.register("capture.read", ReadCapture, self.read)
        registry.register("capture.stop", StopCapture, self.stop)

    def start(self, wish: StartCapture) -> CaptureStarted:
        now = self._clock()
        seconds = min(max(wish.seconds, 0.1), LONGEST_S)
        capture = Capture(ends_at=now + seconds, read_at=now)

        def receive(hop: str, time_ns: int, length: int, data: bytes) -> None:
            capture.put(Frame(hop=hop, time_ns=time_ns, length=length, data=data))

        wanted = CaptureWish(wish.hops, wish.filter, seconds, wish.snaplen)
        try:
            ears, refused = self._hops.open(wish.id, wanted, receive)
        except FilterError as error:
            raise BadFilter(str(error)) from error
        capture.ears = ears
        with self._lock:
            self._captures[wish.id] = capture
            watch, self._watching = not self._watching, True
        if watch:
            threading.Thread(target=self._watch, name="captures", daemon=True).start()
        log.info("capture started", capture=wish.id, hops=[ear.hop.name for ear in ears], refused=refused)
        return CaptureStarted(hops=[ear.hop.name for ear in ears], refused=refused)

    def read(self, wish: ReadCapture) -> CapturedFrames:
        with self._lock:
            capture = self._captures.get(wish.id)
        if capture is None:
            raise NotFoundHere(f"there is no capture {wish.id} on this host (any more)")
        capture.read_at = self._clock()
        found = capture.take(wish.after, min(wish.wait_s, 2.0))
        if found.done:
            with self._lock:
                self._captures.pop(wish.id, None)
        return found

    def stop(self, wish: StopCapture) -> None:
        with self._lock:
            capture = self._captures.pop(wish.id, None)
        if capture is not None:
            self._end(wish.id, capture)

    def close(self) -> None:
        """End all of them: the agent ends."""
        self._stopped.set()
        with self._lock:
            left, self._captures = dict(self._captures), {}
        for key, capture in left.items():
            self._end(key, capture)

    def end_due(self) -> None:
        """End what is over; what was captured can still be read for a while."""
        now = self._clock()
        with self._lock:
            due = {k: c for k, c in self._captures.items() if now > min(c.ends_at, c.read_at + UNREAD_S)}
            for key, capture in due.items():
                if now > capture.read_at + UNREAD_S:
                    del self._captures[key]
        for key, capture in due.items():
            if not capture.over:
                self._end(key, capture)

    def _watch(self) -> None:
        while not self._stopped.wait(0.5):
            self.end_due()
            with self._lock:
                if not self._captures:
                    self._watching = False
                    return

    def _end(self, key: str, capture: Capture) -> None:
        self._hops.close(key, capture.ears)
        with capture.news:
            capture.over = True
            capture.news.notify_all()
        log.info("capture ended", capture=key)
