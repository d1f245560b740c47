"""Waiting for something that gives no notice: look, rest a little, look again, and give up in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(look: Callable[[], T], timeout_s: float, interval_s: float = 0.02) -> T | None:
    """The first true answer of ``look``, or None when there was none in time. Looks at least once."""
    end = time.monotonic() + timeout_s
    while True:
        if found := look():
            return found
        if time.monotonic() >= end:
            return None
        time.sleep(interval_s)
