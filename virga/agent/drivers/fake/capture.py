"""Captures in memory, for the fake data plane: everything can be listened at, and nothing is heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from virga.agent.drivers.capture_hops import CaptureWish, FilterError, Receive
from virga.contract.capture import Hop


@dataclass(frozen=True, slots=True)
class FakeEar:
    hop: Hop


class FakeHops:
    """A filter of one word ``bad`` is not understood."""

    def __init__(self) -> None:
        self.opened: dict[str, CaptureWish] = {}
        self.receivers: dict[str, Receive] = {}

    def sweep(self) -> None:
        self.opened.clear()

    def open(self, capture_id: str, wish: CaptureWish, receive: Receive) -> tuple[list[Any], dict[str, str]]:
        if wish.filter == "bad":
            raise FilterError("syntax error in filter expression")
        self.opened[capture_id], self.receivers[capture_id] = wish, receive
        return [FakeEar(hop) for hop in wish.hops], {}

    def close(self, capture_id: str, ears: list[Any]) -> None:
        self.opened.pop(capture_id, None)
