"""Runs a list of Tempest tests against a cloud and says what became of each id of the list.

A load list matches ids to the letter, tags included, and silently leaves out what does not match;
so the list is folded to names, the names are looked up among the tests that exist, and what was
expected is compared with what ran.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from conformance import tempest_conf
from conformance.cloud import Admin

TEMPEST = ("tempest==47.0.0", "neutron-tempest-plugin==3.3.0", "setuptools<81")


@dataclass
class Outcome:
    """What a run gave. ``missing`` are names of the list that this Tempest does not have."""

    suite: str
    expected: int
    passed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ran(self) -> int:
        return self.passed + len(self.failed)

    @property
    def ok(self) -> bool:
        return self.passed == self.expected


def environment(directory: Path) -> Path:
    """A Python environment with Tempest in it, made once; returns its ``bin``."""
    stamp = directory / "installed"
    if not stamp.exists() or stamp.read_text() != " ".join(TEMPEST):
        print(f"Installing {', '.join(TEMPEST[:2])} into {directory} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        subprocess.run([directory / "bin/pip", "install", "--quiet", *TEMPEST], check=True)
        stamp.write_text(" ".join(TEMPEST))
    return directory / "bin"


def name_of(test_id: str) -> str:
    """A test id without its ``[id-…,tags]``."""
    return re.sub(r"\[.*\]$", "", test_id.strip())


class TempestRun:
    """One workspace of Tempest for one cloud."""

    def __init__(self, tools: Path, workspace: Path, admin: Admin, hosts: int, validation: bool) -> None:
        self.tools = tools
        self.workspace = workspace
        workspace.mkdir(parents=True, exist_ok=True)
        for name in ("logs", "lock", "etc"):
            (workspace / name).mkdir(exist_ok=True)
        tempest_conf.write(workspace / "etc/tempest.conf", admin, workspace, hosts, validation)
        self.environ = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "TEMPEST_CONFIG_DIR": str(workspace / "etc"),
            "OS_TEST_TIMEOUT": "900",
        }
        self.environ.pop("PYTHONPATH", None)
        if not (workspace / ".stestr").exists():
            self._init()

    def _init(self) -> None:
        found = subprocess.run(
            [self.tools / "python", "-c", "import tempest; print(tempest.__path__[0])"],
            check=True, capture_output=True, text=True, env=self.environ,
        ).stdout.strip()  # fmt: skip
        (self.workspace / ".stestr.conf").write_text(
            f"[DEFAULT]\ntest_path={found}/test_discover\ntop_dir={Path(found).parent}\n"
            "group_regex=([^\\.]*\\.)*\n"
        )
        subprocess.run([self.tools / "stestr", "init"], cwd=self.workspace, env=self.environ, check=True)

    def existing(self) -> dict[str, str]:
        """Every test this Tempest has: name to full id."""
        listed = subprocess.run(
            [self.tools / "stestr", "list"],
            cwd=self.workspace, env=self.environ, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        return {
            name_of(line): line.strip()
            for line in listed.splitlines()
            if line.startswith(("tempest", "neutron"))
        }

    def run(self, suite: str, names: list[str], concurrency: int) -> Outcome:
        """Run the named tests and count what happened to each."""
        there = self.existing()
        wanted = sorted(set(names))
        outcome = Outcome(suite, expected=len(wanted), missing=[n for n in wanted if n not in there])
        load = self.workspace / "load.txt"
        load.write_text("".join(f"{there[n]}\n" for n in wanted if n in there))
        began = time.monotonic()
        subprocess.run(
            [self.tools / "stestr", "run", "--load-list", load, "--concurrency", str(concurrency)],
            cwd=self.workspace, env=self.environ, check=False,
        )  # fmt: skip
        outcome.seconds = round(time.monotonic() - began, 1)
        self._read(outcome)
        return outcome

    def _read(self, outcome: Outcome) -> None:
        stream = subprocess.run(
            [self.tools / "stestr", "last", "--subunit"],
            cwd=self.workspace, env=self.environ, check=False, capture_output=True,
        ).stdout  # fmt: skip
        lines = subprocess.run(
            [self.tools / "python", Path(__file__).with_name("read_subunit.py")],
            input=stream, env=self.environ, check=True, capture_output=True,
        ).stdout.decode()  # fmt: skip
        for line in lines.splitlines():
            test = json.loads(line)
            name = name_of(test["id"])
            if test["status"] == "success" and not name.startswith("setUpClass"):
                outcome.passed += 1
            elif test["status"] == "skip":
                outcome.skipped[name] = test["text"]
            elif test["status"] not in ("success", "exists"):
                outcome.failed[name] = test["text"]


def names_in(path: Path) -> list[str]:
    """The test names of a load list; comments and blank lines apart, both spellings of a name folded into one."""
    lines = path.read_text().splitlines()
    return sorted({name_of(line) for line in lines if line.strip() and not line.startswith("#")})


def report(outcome: Outcome, path: Path | None) -> None:
    """Print the totals, the failures and the skips; keep them as JSON where asked."""
    for name, text in outcome.failed.items():
        print(f"FAILED   {name}: {text}")
    for name, text in outcome.skipped.items():
        print(f"SKIPPED  {name}: {text}")
    for name in outcome.missing:
        print(f"MISSING  {name}")
    print(
        f"{outcome.suite}: expected {outcome.expected}, ran {outcome.ran}, passed {outcome.passed}, "
        f"failed {len(outcome.failed)}, skipped {len(outcome.skipped)}, missing {len(outcome.missing)}, "
        f"{outcome.seconds:.0f} s"
    )
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**asdict(outcome), "ran": outcome.ran}, indent=2) + "\n")
