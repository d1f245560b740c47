"""`virga logs`: the lines of all processes as one story, in order of time."""

from __future__ import annotations

import contextlib
import heapq
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import click

from virga.cli.options import existing_cloud, state_dir_option

HIDDEN = ("time", "level", "event", "process", "pid", "logger", "traceback")
TICK_S = 0.2
Line = dict[str, Any]


@click.command()
@state_dir_option
@click.option(
    "-f", "--follow", "following", is_flag=True, help="Stay and show what is written from now on, too."
)
@click.option("--request", metavar="REQ-ID", help="Only what belongs to this request, wherever it went.")
@click.option("-n", "--lines", type=int, help="Only the last so many lines.")
@click.option("--json", "as_json", is_flag=True, help="The lines as they are.")
@click.argument("about", nargs=-1, metavar="[HOST|SERVER|ID]...")
def logs(
    state_dir: Path | None,
    following: bool,
    request: str | None,
    lines: int | None,
    as_json: bool,
    about: tuple[str, ...],
) -> None:
    """Show the logs of all processes, merged by time.

    ABOUT is a host (`host1`), a process (`server`, `supervisor`), or the id or name of any object.
    """
    directory = existing_cloud(state_dir).directory / "logs"
    show = _raw if as_json else _pretty
    story = Story(about, request)
    if following:
        try:
            follow(directory, story, show, lines)
        except KeyboardInterrupt:
            return
        return
    found = [line for line in merged(directory) if story.has(line)]
    for line in found[-lines:] if lines else found:
        show(line)


def files(directory: Path) -> list[list[Path]]:
    """Each process's files, oldest first."""
    found = []
    for path in sorted(directory.glob("*.log")):
        older = sorted(directory.glob(f"{path.name}.*"), key=lambda old: -int(old.suffix[1:] or 0))
        found.append([*older, path])
    return found


def merged(directory: Path) -> Iterator[Line]:
    """Every line of every process, by time."""
    return heapq.merge(
        *(_lines_of(paths) for paths in files(directory)), key=lambda line: str(line.get("time", ""))
    )


def _lines_of(paths: Sequence[Path]) -> Iterator[Line]:
    for path in paths:
        try:
            with path.open(errors="replace") as stream:
                yield from (line for text in stream if (line := parse(text)))
        except FileNotFoundError:
            continue


def parse(text: str) -> Line | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


class Story:
    """Chooses the lines that belong to a request and mention everything in ``about``, in order of time.

    Hosts are told what must be so, not who asked for it. So the lines of agents are chosen by the ids of the objects
    that the request touched, which the control plane logged before.
    """

    def __init__(self, about: Sequence[str], request: str | None) -> None:
        self._about, self._request = about, request
        self._objects: set[str] = set()

    def has(self, line: Line) -> bool:
        return self._of_request(line) and all(_mentions(line, word) for word in self._about)

    def _of_request(self, line: Line) -> bool:
        if not self._request:
            return True
        if self._request in (line.get("request_id"), line.get("global_request_id")):
            self._objects |= _ids(line)
            return True
        return str(line.get("process", "")).startswith("agent-") and not self._objects.isdisjoint(_ids(line))


OTHERS_IDS = ("request_id", "global_request_id", "project_id", "user_id", "domain_id")
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def _ids(line: Line) -> set[str]:
    """Ids of the objects that a line is about."""
    values = (value for key, value in line.items() if key not in OTHERS_IDS and isinstance(value, str | list))
    return set(
        ID.findall(
            " ".join(value if isinstance(value, str) else " ".join(map(str, value)) for value in values)
        )
    )


def _mentions(line: Line, word: str) -> bool:
    if word in (line.get("process"), str(line.get("process", "")).removeprefix("agent-")):
        return True
    return any(
        word == value or (isinstance(value, str) and len(word) >= 8 and word in value)
        for value in line.values()
    )


def follow(
    directory: Path,
    story: Story | None = None,
    show: Callable[[Line], None] | None = None,
    lines: int | None = None,
) -> None:
    """Show the last lines there are, then new ones until interrupted. Rotation loses nothing."""
    show = show or _pretty
    with contextlib.closing(Tails(directory)) as tails:
        _follow(tails, story or Story((), None), show, lines or 20)


def _follow(tails: Tails, story: Story, show: Callable[[Line], None], lines: int) -> None:
    from virga.lib.wait import wait_until

    past = [line for line in tails.news() if story.has(line)]
    for line in past[-lines:]:
        show(line)
    while True:
        fresh = wait_until(tails.news, 3600.0, TICK_S) or []
        for line in fresh:
            if story.has(line):
                show(line)


class Tails:
    """All log files of a directory, read onwards; a file that was renamed away is read to its end first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: dict[Path, tuple[int, TextIO]] = {}
        self._half: dict[Path, str] = {}

    def news(self) -> list[Line]:
        found: list[Line] = []
        for path in sorted(self._directory.glob("*.log")):
            found += self._read(path)
        return sorted(found, key=lambda line: str(line.get("time", "")))

    def close(self) -> None:
        for _, stream in self._open.values():
            stream.close()

    def _read(self, path: Path) -> list[Line]:
        inode, stream = self._open.get(path, (0, None))
        texts = stream.readlines() if stream else []
        try:
            now = path.stat().st_ino
        except FileNotFoundError:
            now = inode
        if now != inode:
            if stream:
                texts += stream.readlines()
                stream.close()
            fresh = path.open(errors="replace")
            self._open[path] = (path.stat().st_ino, fresh)
            texts += fresh.readlines()
        if texts and self._half.get(path):
            texts[0] = self._half.pop(path) + texts[0]
        if texts and not texts[-1].endswith("\n"):
            self._half[path] = texts.pop()
        return [line for text in texts if (line := parse(text))]


def _raw(line: Line) -> None:
    click.echo(json.dumps(line))


COLOURS = {"warning": "yellow", "error": "red", "debug": "bright_black"}


def _pretty(line: Line) -> None:
    extras = " ".join(f"{key}={value}" for key, value in line.items() if key not in HIDDEN)
    level, clock = str(line.get("level", "")), str(line.get("time", ""))[11:23]
    event = click.style(str(line.get("event", "")), fg=COLOURS.get(level))
    click.echo(f"{clock} {line.get('process', '')!s:<12} {event} {click.style(extras, dim=True)}".rstrip())
    if trace := line.get("traceback"):
        click.echo(click.style(str(trace), dim=True))
