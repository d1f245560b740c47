"""One lab of two hosts for all scenarios: starting a cloud is cheap, starting it once is cheaper."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack.connection
import pytest
from openstack.config.loader import OpenStackConfig

from tests.lib.lab import Lab, running_lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("a lab needs root")
    if shutil.which("ovs-vswitchd") is None:
        pytest.skip("Open vSwitch is not installed; scripts/setup installs it")
    with running_lab(hosts=2) as started:
        yield started


def _connect(lab: Lab, cloud: str) -> Any:
    """By the lab's own file: ``openstack.connect`` looks in the usual places only."""
    config = OpenStackConfig(config_files=[str(lab.clouds_yaml)], load_envvars=False)
    return openstack.connection.Connection(config=config.get_one(cloud=cloud))


@pytest.fixture(scope="session")
def admin(lab: Lab) -> Iterator[Any]:
    """openstacksdk, as the administrator."""
    connection = _connect(lab, "virga")
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def demo(lab: Lab) -> Iterator[Any]:
    """openstacksdk, as the ordinary member."""
    connection = _connect(lab, "demo")
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key; the public one is beside it."""
    path = tmp_path_factory.mktemp("ssh") / "id_ecdsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(path)], check=True)
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """openstacksdk warns of its own inner deprecations at every call; they say nothing of us."""
    for item in items:
        if "tests/scenario" in str(item.path):
            for kind in ("OpenStackDeprecationWarning", "_RemovedInSDKWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::openstack.warnings.{kind}"))
