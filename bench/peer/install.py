"""Installs Neutron, MariaDB and RabbitMQ without starting any of them: a directory below ``.cache``, and Debian packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bench.clouds import ROOT

HERE = Path(__file__).resolve().parent
HOME = ROOT / ".cache/peer"
PACKAGES = ("mariadb-server-core", "mariadb-client-core", "rabbitmq-server")
PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb")
RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
POLICY = Path("/usr/sbin/policy-rc.d")


class NotInstalled(Exception):
    """Why there is no Neutron here."""


def install() -> Path:
    """The environment with Neutron, made when it is missing. Raises NotInstalled."""
    HOME.mkdir(parents=True, exist_ok=True)
    if any(shutil.which(p) is None for p in PROGRAMS) or not RABBIT.exists():
        _packages()
    environment = HOME / "neutron"
    done = HOME / "installed"
    wanted = (HERE / "requirements.txt").read_text()
    if not done.exists() or done.read_text() != wanted:
        _run([sys.executable, "-m", "venv", str(environment)])
        _run([str(environment / "bin/pip"), "install", "-q", "-r", str(HERE / "requirements.txt")])
        done.write_text(wanted)
    return environment


def _packages() -> None:
    """Their services stay off: we start our own, with files of our own."""
    ours = not POLICY.exists()
    try:
        if ours:
            POLICY.write_text("#!/bin/sh\nexit 101\n")
            POLICY.chmod(0o755)
        command = ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]
        try:
            _run(command)
        except NotInstalled:
            _run(["apt-get", "update"])
            _run(command)
    except OSError as problem:
        raise NotInstalled(str(problem)) from None
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstalled(f"{' '.join(command[:3])}: {lines[-1] if lines else done.returncode}")
