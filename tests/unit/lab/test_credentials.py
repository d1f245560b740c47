"""openrc and clouds.yaml: readable by shell and YAML whatever the password, and never over somebody else's file."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from virga.lab import credentials
from virga.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    directory = tmp_path / ".virga"
    directory.mkdir()
    (directory / "admin_password").write_text('it\'s "$HOME" # no\n')
    (directory / "demo_password").write_text("demo\n")
    return Settings(state_dir=directory)


def test_the_shell_reads_the_password_as_it_is(settings: Settings, tmp_path: Path) -> None:
    credentials.write(settings)
    command = ["sh", "-c", '. ./openrc; printf %s "$OS_PASSWORD $OS_AUTH_URL"']
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said == 'it\'s "$HOME" # no http://127.0.0.1:5050/identity/v3'


def test_clouds_yaml_has_an_administrator_and_a_member(settings: Settings, tmp_path: Path) -> None:
    credentials.write(settings)
    clouds = yaml.safe_load((tmp_path / "clouds.yaml").read_text())["clouds"]
    assert clouds["virga"]["auth"]["password"] == 'it\'s "$HOME" # no'
    assert (clouds["demo"]["auth"]["username"], clouds["demo"]["auth"]["project_name"]) == ("demo", "demo")
    assert (tmp_path / "clouds.yaml").stat().st_mode & 0o077 == 0


def test_a_file_of_somebody_else_stays(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: {}\n")
    credentials.write(settings)
    assert (tmp_path / "clouds.yaml").read_text() == "clouds: {}\n"
    credentials.remove(settings)
    assert (tmp_path / "clouds.yaml").exists() and not (tmp_path / "openrc").exists()


def test_only_the_default_directory_writes_outside_itself(settings: Settings, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    credentials.write(replace(settings, state_dir=other))
    assert (other / "openrc").exists() and not (tmp_path / "openrc").exists()
