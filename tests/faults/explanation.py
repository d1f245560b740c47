"""Asks ``virga explain`` and keeps what it said, and how long it took."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from tests.faults.traffic import Path
from tests.faults.world import World
from tests.lib.lab import ROOT

LIMIT_S = 60.0


@dataclass(frozen=True)
class Said:
    """``code`` is empty when there was no explanation; ``text`` then says why."""

    code: str
    seconds: float
    status: int
    text: str = ""
    whole: dict[str, Any] = field(default_factory=dict)


def words_of(world: World, path: Path) -> list[str]:
    """The arguments of the command."""
    ends = [path.source, *([path.target.format(**world.names())] if path.target else [])]
    return [*ends, path.traffic, *(["-6"] if path.version == 6 else [])]


def explain(world: World, path: Path) -> Said:
    """One run of the command, as a person runs it."""
    command = [sys.executable, "-m", "virga.cli.main", "explain", "--state-dir", str(world.lab.state_dir)]
    start = time.monotonic()
    try:
        done = subprocess.run(
            [*command, *words_of(world, path), "--json"], cwd=ROOT, capture_output=True, text=True,
            timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Said("", LIMIT_S, -1, "no answer in time")
    seconds = time.monotonic() - start
    try:
        answer = json.loads(done.stdout)
        verdict = answer["verdict"]
    except (ValueError, KeyError):
        return Said("", seconds, done.returncode, (done.stderr or done.stdout).strip()[-300:])
    return Said(verdict["code"], seconds, done.returncode, verdict.get("sentence", ""), answer)
