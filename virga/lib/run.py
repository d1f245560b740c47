"""Running a command to its end: bounded in time, never through a shell, and an error that says what was attempted."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class CommandError(Exception):
    """A command ended badly, did not end in time, or is not installed."""

    def __init__(self, completed: Completed) -> None:
        self.completed = completed
        detail = (completed.stderr.strip() or completed.stdout.strip() or "no output").splitlines()
        text = " ".join(completed.argv)
        super().__init__(f"{text[:200]}: exit status {completed.returncode}: {'; '.join(detail)[:400]}")


class Runner(Protocol):
    """How drivers start commands; tests hand in a fake that behaves."""

    def __call__(
        self, argv: Sequence[str], *, stdin: str | None = None, timeout_s: float = 30.0, check: bool = True
    ) -> Completed: ...


def run(
    argv: Sequence[str], *, stdin: str | None = None, timeout_s: float = 30.0, check: bool = True
) -> Completed:
    """Run ``argv``; with ``check`` any exit status but 0 raises CommandError. 124 is a timeout, 127 not installed."""
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
        completed = Completed(tuple(argv), done.returncode, done.stdout, done.stderr)
    except subprocess.TimeoutExpired:
        raise CommandError(Completed(tuple(argv), 124, "", f"not done after {timeout_s:g} s")) from None
    except FileNotFoundError:
        raise CommandError(Completed(tuple(argv), 127, "", f"{argv[0]} is not installed")) from None
    if check and completed.returncode != 0:
        raise CommandError(completed)
    return completed


def in_namespace(namespace: str, *argv: str) -> tuple[str, ...]:
    """The command that runs ``argv`` inside a named network namespace; an empty name is the host itself."""
    if not namespace:
        return argv
    return ("ip", "netns", "exec", namespace, *argv)
