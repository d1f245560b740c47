"""Waiting for something to become true, with a limit and words for when it does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(predicate: Callable[[], T], what: str, timeout_s: float = 20.0) -> T:
    """The first true value of ``predicate``."""
    end = time.monotonic() + timeout_s
    never = threading.Event()
    while not (value := predicate()):
        assert time.monotonic() < end, f"not within {timeout_s:g} s: {what}"
        never.wait(0.01)
    return value
