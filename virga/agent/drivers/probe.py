"""Runs probes: one child process a probe, which watches devices and sends marked frames.

Mark: none is needed, a child holds nothing but sockets and ends by itself after the time it was given.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any

import msgspec

from virga.agent import probe_program
from virga.agent.calls import CallError
from virga.contract.trace import Collect, Send, Sighting, Watch

MOST = 8
"""Probes at one time: a probe costs a process."""
SLACK_S = 2.0


class ProbeError(CallError):
    """A probe could not be made, or is not there any more."""

    error_type = "ProbeFailed"


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[str]
    timer: threading.Timer

    def ask(self, message: Any) -> Any:
        """One line there, one line back."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except (OSError, ValueError) as error:
            raise ProbeError(f"the probe ended: {error}") from error
        if not line:
            raise ProbeError("the probe ended before it answered")
        return json.loads(line)

    def end(self) -> None:
        self.timer.cancel()
        self.process.kill()
        self.process.communicate()


class Probes:
    """All probes that run on this host now."""

    def __init__(self) -> None:
        self._children: dict[str, _Child] = {}
        self._lock = threading.Lock()

    def watch(self, call: Watch) -> list[str]:
        """Begin; idempotent by id. Answers what could not be watched, once everything else is."""
        with self._lock:
            if call.id in self._children:
                return []
            if len(self._children) >= MOST:
                raise ProbeError(f"{MOST} probes run on this host already")
            child = self._start(call)
            self._children[call.id] = child
        answer = child.ask(msgspec.to_builtins(call))
        return list(answer.get("problems", ()))

    def _start(self, call: Watch) -> _Child:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", probe_program.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        timer = threading.Timer(call.longest_s + SLACK_S, self._forget, (call.id,))
        timer.daemon = True
        timer.start()
        return _Child(process, timer)

    def send(self, call: Send) -> bool:
        """True when all that was waited for was seen."""
        return bool(self._child(call.id).ask(msgspec.to_builtins(call))["complete"])

    def collect(self, call: Collect) -> list[Sighting]:
        """What was seen; the probe is gone afterwards."""
        child = self._child(call.id)
        try:
            answer = child.ask({"end": True})
        finally:
            self._forget(call.id)
        return msgspec.convert(answer["sightings"], list[Sighting])

    def _child(self, probe_id: str) -> _Child:
        with self._lock:
            child = self._children.get(probe_id)
        if child is None:
            raise ProbeError(f"there is no probe {probe_id} on this host")
        return child

    def _forget(self, probe_id: str) -> None:
        with self._lock:
            child = self._children.pop(probe_id, None)
        if child is not None:
            child.end()
