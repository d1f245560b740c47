"""The power button of guests, on a real machine with the built guest image."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.lib.lab import ROOT, wait_for
from virga.lab import process
from virga.lab.guests import power_off

IMAGE = ROOT / ".cache/guest/tiny.qcow2"


def machine(home: Path, *arguments: str) -> process.Process:
    home.mkdir(parents=True)
    argv = [
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-m",
        "128",
        "-nodefaults",
        "-display",
        "none",
        "-no-shutdown",
    ]
    argv += [
        "-qmp",
        f"unix:{home}/qmp.sock,server=on,wait=off",
        "-serial",
        f"file:{home}/console.log",
        *arguments,
    ]
    return process.start(argv, home / "pid.json", home / "out", dict(os.environ))


@pytest.mark.skipif(not IMAGE.exists(), reason="the guest image is not built: make guest")
def test_a_guest_is_shut_down_before_its_host(tmp_path: Path) -> None:
    home = tmp_path / "instances/a"
    one = machine(home, "-snapshot", "-drive", f"file={IMAGE},if=virtio,format=qcow2")
    try:
        log = home / "console.log"
        wait_for("a login prompt", lambda: log.exists() and "login:" in log.read_text(errors="replace"), 120)
        assert power_off(tmp_path, 60) == 0
        assert one.alive, "the process is ended by its owner"
        assert power_off(tmp_path, 0) == 0
    finally:
        one.signal(signal.SIGKILL)
        process.stop([one])


def test_a_guest_that_does_not_obey_is_counted(tmp_path: Path) -> None:
    one = machine(tmp_path / "instances/a")
    try:
        wait_for("the monitor", (tmp_path / "instances/a/qmp.sock").exists, 20)
        assert power_off(tmp_path, 0.2) == 1
    finally:
        process.stop([one])
    assert power_off(tmp_path, 0.2) == 0
