"""The README's tour, word for word, as a new user types it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lib.lab import ROOT, Lab


def commands() -> list[str]:
    """The ``$`` lines of the tour, in order."""
    text = (ROOT / "README.md").read_text()
    tour = text.partition("## The tour")[2].partition("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", tour, re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


CLEANUP = """
openstack server delete --wait web1 db1
openstack floating ip delete $FIP
openstack router remove subnet r1 blue4; openstack router remove subnet r1 green4; openstack router delete r1
openstack network delete blue green
openstack security group delete web
openstack keypair delete tour
"""


@pytest.mark.timeout(600)
def test_the_tour(lab: Lab, tmp_path: Path) -> None:
    binaries = Path(sys.executable).parent
    script = [
        "set -eu -o pipefail",
        f"export PATH={binaries}:$PATH",
        f"export VIRGA_STATE_DIR={lab.state_dir} PYTHONPATH={ROOT}",
        f". {lab.state_dir}/openrc",
        f"cleanup() {{ set +e; {CLEANUP} }}; trap cleanup EXIT",
        *(f"echo '+++ {number}'\n{command}" for number, command in enumerate(commands())),
    ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = dict(re.findall(r"\+\+\+ (\d+)\n(.*?)(?=\+\+\+ \d+\n|\Z)", done.stdout, re.DOTALL))
    by_command = {command: said[str(number)] for number, command in enumerate(commands())}
    assert _said(by_command, "ping").count("bytes from") == 3
    assert "qrouter-" in _said(by_command, "ip netns list") and "qdhcp-" in _said(by_command, "ip netns list")
    assert "neutron-l3-agent-float-snat" in _said(by_command, "iptables")
    assert _said(by_command, "hostname").strip() == "web1"


def _said(by_command: dict[str, str], word: str) -> str:
    """What the first command with ``word`` printed."""
    return next(output for command, output in by_command.items() if word in command)
