"""Processes are recognised by id and start time, and only ours are ended."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from virga.lab import process
from virga.lib.wait import wait_until


def start(tmp_path: Path, *argv: str) -> process.Process:
    return process.start(argv, tmp_path / "x.pid.json", tmp_path / "x.out", dict(os.environ))


def test_a_started_process_is_found_by_its_record_and_ended(tmp_path: Path) -> None:
    one = start(tmp_path, "sleep", "100")
    assert process.living(tmp_path / "x.pid.json") == one
    process.stop([one], 5)
    assert not one.alive
    assert process.living(tmp_path / "x.pid.json") is None
    process.stop([one], 5)


def test_another_process_with_the_same_id_is_not_touched(tmp_path: Path) -> None:
    one = start(tmp_path, "sleep", "100")
    stranger = replace(one, started=one.started + 1)
    assert not stranger.alive
    process.stop([stranger], 1)
    stranger.signal(signal.SIGKILL)
    assert one.alive
    process.stop([one], 5)


def test_a_process_of_another_boot_is_not_alive() -> None:
    me = process.identify(os.getpid())
    assert me and me.alive
    assert not replace(me, boot="another").alive


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    deaf = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    one = start(tmp_path, sys.executable, "-c", deaf)
    assert wait_until(lambda: "deaf" in (tmp_path / "x.out").read_text(), 10)
    process.stop([one], 0.2)
    assert not one.alive


def test_a_broken_record_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"pid": 1')
    assert process.read_record(tmp_path / "r.json") is None
    assert process.read_record(tmp_path / "missing.json") is None
