"""Watches the programs of one cloud and starts again what ended. One small process a cloud.

It adopts programs that somebody else started, so it can itself be ended and started at any time. SIGHUP: look
at the list of programs again. SIGTERM: stop watching; the programs stay.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from virga.lab import process
from virga.lab.process import Process
from virga.lab.program import Program, Programs
from virga.lib import log
from virga.settings import load

QUICK_S = 10.0
LONGEST_PAUSE_S = 10.0

logger = log.log_for("virga.lab.supervisor")


@dataclass(slots=True)
class Watched:
    """A program under watch. ``failures`` counts ends that came soon after the start."""

    program: Program
    process: Process
    descriptor: int
    since: float
    failures: int = 0
    due: float | None = None
    """When it is to be started again; None while it runs."""


@dataclass(slots=True)
class Supervisor:
    programs: Programs
    watched: dict[str, Watched] = field(default_factory=dict)

    def look(self) -> None:
        """Take up what the list of programs says now."""
        listed = {program.name: program for program in self.programs.listed()}
        for name in [name for name in self.watched if name not in listed]:
            self._release(self.watched.pop(name))
        for name, program in listed.items():
            if name in self.watched:
                self.watched[name].program = program
            else:
                self._watch(program, self._running(program))

    def _running(self, program: Program) -> Process:
        """The program's process, started if need be. One that could not be started has ended already."""
        try:
            return self.programs.start(program)
        except OSError as error:
            logger.error("a program cannot be started", program=program.name, reason=str(error))
            return Process(0, 0, "")

    def _watch(self, program: Program, found: Process, failures: int = 0) -> None:
        try:
            descriptor = os.pidfd_open(found.pid)
        except (OSError, ValueError):
            descriptor = -1
        one = Watched(program, found, descriptor, time.monotonic(), failures)
        self.watched[program.name] = one
        if descriptor < 0 or not found.alive:
            self._ended(one)

    def _release(self, one: Watched) -> None:
        if one.descriptor >= 0:
            os.close(one.descriptor)
            one.descriptor = -1

    def _ended(self, one: Watched) -> None:
        self._release(one)
        process.reap()
        quick = time.monotonic() - one.since < QUICK_S
        one.failures = one.failures + 1 if quick else 0
        pause = min(LONGEST_PAUSE_S, 0.25 * 2**one.failures) if one.failures else 0.0
        one.due = time.monotonic() + pause
        logger.warning("a program ended and will be started again", program=one.program.name, pause_s=pause)

    def turn(self, wake: int) -> None:
        """Wait for the next thing that happens, and deal with it."""
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        by_descriptor = {one.descriptor: one for one in self.watched.values() if one.descriptor >= 0}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        dues = [one.due for one in self.watched.values() if one.due is not None]
        patience = max(0, int((min(dues) - time.monotonic()) * 1000)) if dues else None
        for descriptor, _event in poll.poll(patience):
            if descriptor in by_descriptor:
                self._ended(by_descriptor[descriptor])
        for one in [
            one for one in self.watched.values() if one.due is not None and one.due <= time.monotonic()
        ]:
            started = self._running(one.program)
            logger.info("program started", program=one.program.name, program_pid=started.pid)
            self._watch(one.program, started, one.failures)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m virga.lab.supervisor")
    parser.add_argument("--state-dir", type=Path, required=True)
    settings = load(parser.parse_args().state_dir, directory=Path("/"))
    log.start(
        "supervisor", settings.state_dir / "logs", settings.log_level, settings.log_max_mb, settings.log_files
    )
    supervisor = Supervisor(Programs(settings.state_dir))
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    news: list[int] = []
    signal.set_wakeup_fd(write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda number, _frame: news.append(number))
    supervisor.look()
    logger.info("watching", programs=sorted(supervisor.watched))
    while not {signal.SIGTERM, signal.SIGINT} & set(news):
        if signal.SIGHUP in news:
            supervisor.look()
        news.clear()
        supervisor.turn(read)
        if select.select([read], [], [], 0)[0]:
            os.read(read, 4096)
    logger.info("no longer watching")


if __name__ == "__main__":
    main()
