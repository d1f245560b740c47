"""Guests when their host is switched off: asked by the power button, so that they write out what they hold."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

from virga.lib.wait import wait_until

ANSWER_S = 2.0


class Guest:
    """The monitor of one QEMU machine, while no agent uses it."""

    def __init__(self, home: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_S)
        # By way of its descriptor: the whole path may be too long for a socket address.
        directory = os.open(home, os.O_PATH)
        try:
            self._socket.connect(f"/proc/self/fd/{directory}/qmp.sock")
        except OSError:
            self._socket.close()
            raise
        finally:
            os.close(directory)
        self._lines = self._socket.makefile("r")
        self._lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str) -> dict[str, Any]:
        """The answer to a command; events in between are passed over."""
        self._socket.sendall(json.dumps({"execute": command}).encode() + b"\n")
        while text := self._lines.readline():
            answer: dict[str, Any] = json.loads(text)
            if "return" in answer or "error" in answer:
                return answer
        raise ConnectionError("the monitor closed")

    def runs(self) -> bool:
        try:
            status: str = self.ask("query-status")["return"]["status"]
        except (OSError, ValueError, KeyError):
            return False
        return status == "running"

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def power_off(host: Path, patience_s: float) -> int:
    """Press the power button of every running guest below ``host`` and wait a while. How many did not obey.

    Idempotent. Processes stay; whoever called ends them.
    """
    guests = []
    for path in host.glob("instances/*/qmp.sock"):
        with contextlib.suppress(OSError, ValueError):
            guests.append(Guest(path.parent))
    try:
        pressed = []
        for guest in guests:
            with contextlib.suppress(OSError, ValueError):
                if guest.runs():
                    guest.ask("system_powerdown")
                    pressed.append(guest)
        wait_until(lambda: not any(guest.runs() for guest in pressed), patience_s, 0.1)
        return sum(guest.runs() for guest in pressed)
    finally:
        for guest in guests:
            guest.close()
