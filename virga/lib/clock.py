"""Time as the tables keep it - microseconds since the epoch, UTC - and as the services write it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

Clock = Callable[[], int]
"""Something that tells the time in microseconds; an argument wherever time matters."""


def now_us() -> int:
    """The wall clock, in microseconds since the epoch."""
    return time.time_ns() // 1000


def to_datetime(us: int) -> datetime:
    """Microseconds since the epoch as an aware datetime."""
    return datetime.fromtimestamp(us / 1_000_000, UTC)


@lru_cache(maxsize=65536)
def _second(seconds: int) -> str:
    """Lists repeat the same seconds again and again."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def iso_seconds(us: int | None) -> str | None:
    """``2026-11-20T22:38:19Z``: Network, Image and Compute."""
    return None if us is None else _second(us // 1_000_000) + "Z"


def iso_micro(us: int | None, suffix: str = "Z") -> str | None:
    """``2026-11-20T22:38:19.000000Z``: Identity (and, without suffix, parts of Compute and Block Storage)."""
    if us is None:
        return None
    seconds, micro = divmod(us, 1_000_000)
    return f"{_second(seconds)}.{micro:06d}{suffix}"


def parse_iso(text: str) -> int:
    """Any ISO 8601 time to microseconds; a time without zone is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000)
