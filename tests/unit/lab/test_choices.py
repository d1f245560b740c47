"""What a start chooses and refuses, without touching the machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from virga.lab import checks, detect
from virga.lab.program import environment
from virga.settings import Settings


@pytest.fixture
def occupied() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_an_occupied_port_is_passed_over(occupied: int) -> None:
    assert checks.choose_port(Settings(port=occupied), explicit=False) > occupied


def test_an_occupied_port_that_was_asked_for_is_refused(occupied: int) -> None:
    with pytest.raises(checks.CheckError, match=f"Port {occupied} of 127.0.0.1 is occupied"):
        checks.choose_port(Settings(port=occupied), explicit=True)


def test_a_state_directory_with_too_long_a_name_is_refused(tmp_path: Path) -> None:
    found = checks.problems(Settings(state_dir=tmp_path / ("x" * 90), dataplane="fake"))
    assert len(found) == 1 and "too long a name" in found[0]


def test_a_full_disk_is_named_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LEAST_FREE_MB", 10**9)
    found = checks.problems(Settings(state_dir=Path("/tmp/x/y"), dataplane="fake"))
    assert len(found) == 1 and "MiB are free at /tmp" in found[0]


def test_missing_commands_name_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "TOOLS", {"no-such-command": "its-package", "sh": "dash"})
    assert checks.missing_tools() == {"no-such-command": "its-package"}


def test_a_setting_wins_over_what_was_found(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    found = detect.detect(settings, tmp_path / "detected.json")
    assert (tmp_path / "detected.json").exists()
    other = "kvm" if found.accelerator.value == "tcg" else "tcg"
    forced = detect.detect(replace(settings, accelerator=other), tmp_path / "detected.json")  # type: ignore[arg-type]
    assert forced.accelerator.value == other and "the setting" in forced.accelerator.reason
    assert detect.detect(settings, tmp_path / "detected.json") == found


def test_programs_do_not_inherit_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "x")
    found = environment(Settings(admin_password="hunter2", port=7777, vlan_ranges=("a:1:2", "b:3:4")))
    assert "hunter2" not in str(found) and "SOME_SECRET" not in found
    assert (found["VIRGA_PORT"], found["VIRGA_VLAN_RANGES"]) == ("7777", "a:1:2,b:3:4")
