"""What stands against a start is one sentence and a non-zero exit, with nothing half started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lib.lab import ROOT


def virga(
    directory: Path, *words: str, path: str = "", user: int | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": path or os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(directory),
    }
    command = [sys.executable, "-m", "virga.cli.main", *words]
    return subprocess.run(
        command,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        user=user,
    )


def refused(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert done.returncode != 0, done.stdout
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error: ")]) == 1


def test_an_unknown_setting(tmp_path: Path) -> None:
    (tmp_path / "virga.toml").write_text("prot = 5050\n")
    refused(virga(tmp_path, "up", "--dataplane", "fake"), "there is no setting 'prot'. Did you mean 'port'?")
    refused(virga(tmp_path, "config", "check"), "there is no setting 'prot'")
    assert not (tmp_path / ".virga").exists()


def test_a_setting_of_the_command_line(tmp_path: Path) -> None:
    refused(
        virga(tmp_path, "up", "--set", "hosts=none"),
        "setting 'hosts' cannot be 'none': a whole number is expected",
    )


def test_an_occupied_port(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = virga(tmp_path, "up", "--dataplane", "fake", "--port", str(port))
    refused(done, f"Port {port} of 127.0.0.1 is occupied")
    assert not list(tmp_path.glob(".virga/run/*.pid.json"))


def test_a_missing_package(tmp_path: Path) -> None:
    # Root passes the check before; somebody else is stopped by it.
    if os.geteuid() != 0:
        pytest.skip("needs root")
    script = (
        "from virga.lab import checks; checks.TOOLS['no-such-tool'] = 'its-package'; "
        "from virga.cli.main import main; main()"
    )
    command = [sys.executable, "-c", script, "up"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    refused(done, "Missing: no-such-tool. Install them with `apt-get install its-package`")
    assert not (tmp_path / ".virga").exists()


def test_commands_on_a_cloud_that_is_not_there(tmp_path: Path) -> None:
    for words in (["status"], ["hosts"], ["logs"], ["host", "exec", "host1", "--", "true"]):
        done = virga(tmp_path, *words)
        assert (
            done.returncode != 0 and "There is no cloud" in done.stderr + done.stdout
        ) or "root" in done.stderr
    assert virga(tmp_path, "down").returncode == 0


def test_settings_are_shown_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "virga.toml").write_text('admin_password = "hunter2"\nport = 6000\n')
    done = virga(tmp_path, "config", "show", "--changed")
    assert done.returncode == 0
    assert "port = 6000" in done.stdout and "hunter2" not in done.stdout


def test_a_fake_cloud_needs_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    try:
        done = virga(tmp_path, "up", "--dataplane", "fake", "--detach")
        assert done.returncode == 0, done.stderr
        assert "The cloud in" in done.stdout and "clouds.yaml" in done.stdout
        assert (tmp_path / "openrc").exists()
        assert virga(tmp_path, "status").returncode == 0
    finally:
        virga(tmp_path, "down", "--wipe")
    assert sorted(path.name for path in tmp_path.iterdir()) == []
