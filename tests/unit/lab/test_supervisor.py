"""The supervisor starts again what ended, adopts what runs, and rests between failures."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from virga.lab import process
from virga.lab.program import Program, Programs
from virga.lab.supervisor import Supervisor


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    one = Supervisor(Programs(tmp_path))
    yield one
    process.stop(one.programs.forget(*[program.name for program in one.programs.listed()]), 2)
    for watched in one.watched.values():
        if watched.descriptor >= 0:
            os.close(watched.descriptor)
    process.reap()


@pytest.fixture
def wake() -> Iterator[int]:
    """A descriptor that never has anything to say."""
    read, write = os.pipe()
    yield read
    os.close(read)
    os.close(write)


def program(name: str, *argv: str) -> Program:
    return Program(name=name, argv=list(argv), environment=dict(os.environ))


def test_a_killed_program_runs_again(supervisor: Supervisor, wake: int) -> None:
    first = supervisor.programs.ensure(program("a", "sleep", "100"))
    supervisor.look()
    assert supervisor.watched["a"].process == first, "adopted, not started twice"
    supervisor.watched["a"].since -= 100
    first.signal(signal.SIGKILL)
    supervisor.turn(wake)
    second = supervisor.programs.living("a")
    assert second and second != first
    assert supervisor.watched["a"].failures == 0


def test_one_that_ends_at_once_is_tried_ever_more_slowly(supervisor: Supervisor, wake: int) -> None:
    supervisor.programs.ensure(program("bad", "false"))
    supervisor.look()
    pauses = []
    for _ in range(8):
        while supervisor.watched["bad"].due is None:
            supervisor.turn(wake)
        pauses.append((supervisor.watched["bad"].due or 0) - time.monotonic())
        supervisor.watched["bad"].due = 0.0
        supervisor.turn(wake)
    assert pauses[0] < 1 < pauses[3] < pauses[4]
    assert max(pauses) <= 10.1


def test_one_that_cannot_be_started_does_not_end_the_others(supervisor: Supervisor, wake: int) -> None:
    supervisor.programs.ensure(program("good", "sleep", "100"))
    path = supervisor.programs.directory / "missing.program.json"
    text = (supervisor.programs.directory / "good.program.json").read_text()
    path.write_text(text.replace('"good"', '"missing"').replace('"sleep"', '"/no/such/program"'))
    supervisor.look()
    assert supervisor.watched["missing"].due is not None
    assert supervisor.programs.living("good")


def test_a_program_that_left_the_list_is_let_go(supervisor: Supervisor) -> None:
    one = supervisor.programs.ensure(program("a", "sleep", "100"))
    supervisor.look()
    supervisor.programs.forget("a")
    supervisor.look()
    assert "a" not in supervisor.watched and one.alive
    process.stop([one], 2)
