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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from conformance import tempest_conf
from conformance.cloud import Admin

TEMPEST = ("tempest==47.0.0", "neutron-tempest-plugin==3.3.0", "setuptools<81")

_SET_UP = re.compile(r"setUpClass \((.+)\)")


@dataclass(frozen=True)
class Result:
    """What became of one test: ``success``, ``skip``, ``fail`` ..., and what a skip or failure said."""

    status: str
    text: str = ""


@dataclass
class Outcome:
    """What a run gave for one suite.

    ``missing`` are names that this Tempest does not have, or that never ran since their class failed to set up.
    """

    suite: str
    expected: int
    passed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def ran(self) -> int:
        return self.passed + len(self.failed)

    @property
    def ok(self) -> bool:
        return self.passed == self.expected


def outcome(suite: str, names: Iterable[str], results: Mapping[str, Result]) -> Outcome:
    """What became of the tests of a suite, out of the results of a run."""
    wanted = sorted(set(names))
    counted = Outcome(suite, expected=len(wanted))
    for name in wanted:
        result = results.get(name)
        if result is None:
            counted.missing.append(name)
        elif result.status == "success":
            counted.passed += 1
        elif result.status == "skip":
            counted.skipped[name] = result.text
        else:
            counted.failed[name] = result.text
    return counted


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


def _sudo(directory: Path) -> Path:
    """The suites look at the machine they run on by ``sudo``; root need not have it installed."""
    directory.mkdir(exist_ok=True)
    script = directory / "sudo"
    script.write_text('#!/bin/sh\nexec "$@"\n')
    script.chmod(0o755)
    return directory


class TempestRun:
    """One workspace of Tempest for one cloud."""

    def __init__(
        self,
        tools: Path,
        workspace: Path,
        admin: Admin,
        hosts: int,
        validation: bool,
        local_volumes: bool = False,
    ) -> None:
        self.tools = tools
        self.workspace = workspace
        workspace.mkdir(parents=True, exist_ok=True)
        for name in ("logs", "lock", "etc"):
            (workspace / name).mkdir(exist_ok=True)
        target = workspace / "etc/tempest.conf"
        tempest_conf.write(target, admin, workspace, hosts, validation, local_volumes)
        own = _sudo(workspace / "bin")
        self.environ = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}:{own}",
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
            if line.startswith(("tempest", "neutron", "cinder"))
        }

    def run(self, names: Iterable[str], concurrency: int) -> dict[str, Result]:
        """Run the named tests; results by name."""
        there = self.existing()
        load = self.workspace / "load.txt"
        load.write_text("".join(f"{there[n]}\n" for n in sorted(set(names)) if n in there))
        subprocess.run(
            [self.tools / "stestr", "run", "--load-list", load, "--concurrency", str(concurrency)],
            cwd=self.workspace, env=self.environ, check=False,
        )  # fmt: skip
        return spread(self._read(), there)

    def _read(self) -> dict[str, Result]:
        stream = subprocess.run(
            [self.tools / "stestr", "last", "--subunit"],
            cwd=self.workspace, env=self.environ, check=False, capture_output=True,
        ).stdout  # fmt: skip
        lines = subprocess.run(
            [self.tools / "python", Path(__file__).with_name("read_subunit.py")],
            input=stream, env=self.environ, check=True, capture_output=True,
        ).stdout.decode()  # fmt: skip
        results: dict[str, Result] = {}
        for line in lines.splitlines():
            test = json.loads(line)
            if test["status"] != "exists":
                results[name_of(test["id"])] = Result(test["status"], test["text"])
        return results


def spread(results: Mapping[str, Result], names: Iterable[str]) -> dict[str, Result]:
    """A class that could not be set up, or said that it is to be skipped, says so for each of its tests."""
    found = dict(results)
    classes = {match[1]: result for id_, result in results.items() if (match := _SET_UP.fullmatch(id_))}
    for name in names:
        of_class = classes.get(name.rpartition(".")[0])
        if of_class is not None and name not in found:
            found[name] = of_class
    return found


def names_in(path: Path) -> list[str]:
    """The test names of a load list; comments and blank lines apart, both spellings of a name folded into one."""
    lines = path.read_text().splitlines()
    return sorted({name_of(line) for line in lines if line.strip() and not line.startswith("#")})


def report(found: Outcome) -> None:
    """Print the totals, the failures and the skips."""
    for name, text in found.failed.items():
        print(f"FAILED   {name}: {text}")
    for name, text in found.skipped.items():
        print(f"SKIPPED  {name}: {text}")
    for name in found.missing:
        print(f"MISSING  {name}")
    print(
        f"{found.suite}: expected {found.expected}, ran {found.ran}, passed {found.passed}, "
        f"failed {len(found.failed)}, skipped {len(found.skipped)}, missing {len(found.missing)}"
    )
