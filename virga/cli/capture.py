"""`virga capture`: frames at one or all places of an instance's way, live in the terminal or into one pcapng file."""

from __future__ import annotations

import base64
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from virga.cli.options import existing_cloud, state_dir_option

if TYPE_CHECKING:
    from virga.lab.wire import Wire

SORTED_WITHIN_NS = 500_000_000
"""Frames of different hosts are put in order of time within this; later ones come as they come."""
WAIT_S = 0.25


@click.command()
@state_dir_option
@click.option(
    "--hops", "every", is_flag=True, help="At all places of the way; without it at the instance's taps."
)
@click.option(
    "--hop",
    "names",
    multiple=True,
    metavar="KIND|DEVICE",
    help="At these: tap, br-int, nic, qr, qg, dhcp, or a device.",
)
@click.option("--seconds", type=float, default=60.0, show_default=True, help="End after so long.")
@click.option("--count", type=click.IntRange(1), help="End after so many frames, all places together.")
@click.option(
    "-w",
    "--write",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Into this pcapng file; `-` is standard output.",
)
@click.argument("instance")
@click.argument("filter", default="")
def capture(
    state_dir: Path | None,
    every: bool,
    names: tuple[str, ...],
    seconds: float,
    count: int | None,
    file: Path | None,
    instance: str,
    filter: str,
) -> None:
    """Show what passes on the way of INSTANCE (name or id); FILTER is one of tcpdump's: 'icmp', 'tcp port 22'.

    Ctrl-C ends it. Nothing of it is left on the hosts, also when this command is killed.
    """
    from virga.lab.credentials import accounts
    from virga.lab.wire import Wire, WireError

    settings = existing_cloud(state_dir).settings
    wire = Wire(settings, accounts(settings)[0])
    wish = {
        "instance": instance,
        "filter": filter,
        "hops": ["all"] if every else list(names),
        "seconds": seconds,
    }
    try:
        begun = wire.post("/v1/captures", wish)["capture"]
    except WireError as error:
        if error.status not in (400, 404, 409):
            raise
        raise click.ClickException(_reason(str(error))) from None
    _report(begun)
    source = Source(wire, begun["id"], begun["hops"])
    with _interruptible(), source.ended_after():
        frames = _limited(source.frames(), count)
        if file is None:
            shown = _print(frames, begun["hops"])
        else:
            shown = _write(frames, begun["hops"], file)
    lost = f", {source.lost} lost" if source.lost else ""
    click.echo(f"{shown} frame{'' if shown == 1 else 's'}{lost}.", err=True)


def _reason(text: str) -> str:
    """The sentence of the API inside of the wire's error."""
    import re

    found = re.search(r'"message":"((?:[^"\\]|\\.)*)', text)
    return found[1].replace('\\"', '"') if found else text


def _report(begun: dict[str, Any]) -> None:
    for name, why in begun["refused"].items():
        click.echo(f"Not at {name}: {why}", err=True)
    if not begun["hops"]:
        raise click.ClickException("There is no place left to listen at.")
    click.echo(f"Listening at {', '.join(hop['name'] for hop in begun['hops'])}; Ctrl-C ends it.", err=True)


@dataclass(frozen=True, slots=True, order=True)
class Seen:
    """A frame at a hop."""

    time_ns: int
    hop: str
    length: int
    data: bytes


class Source:
    """The capture as a stream of frames in order of time."""

    def __init__(self, wire: Wire, capture_id: str, hops: Sequence[dict[str, Any]]) -> None:
        self._wire = wire
        self._id = capture_id
        self._hosts = sorted({hop["host"] for hop in hops})
        self._next = dict.fromkeys(self._hosts, 0)
        self._open = set(self._hosts)
        self._lost: dict[str, int] = {}

    @property
    def lost(self) -> int:
        return sum(self._lost.values())

    def frames(self) -> Iterator[Seen]:
        waiting: list[Seen] = []
        with ThreadPoolExecutor(len(self._hosts)) as pool:
            while self._open:
                for found in pool.map(self._read, sorted(self._open)):
                    waiting += found
                waiting.sort()
                ripe = time.time_ns() - SORTED_WITHIN_NS
                while waiting and (waiting[0].time_ns < ripe or not self._open):
                    yield waiting.pop(0)

    def _read(self, host: str) -> list[Seen]:
        path = f"/v1/captures/{self._id}/{host}"
        answer = self._wire.get(path, after=str(self._next[host]), wait=str(WAIT_S))
        self._next[host], self._lost[host] = answer["next"], answer["lost"]
        if answer["done"]:
            self._open.discard(host)
        return [
            Seen(each["time_ns"], each["hop"], each["length"], base64.b64decode(each["data"]))
            for each in answer["frames"]
        ]

    @contextmanager
    def ended_after(self) -> Iterator[None]:
        """Ctrl-C too: a second one must not keep the hosts from being told."""
        from virga.lab.wire import WireError

        try:
            yield
        except KeyboardInterrupt:
            click.echo("", err=True)
        finally:
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            for host in self._hosts:
                try:
                    self._wire.send("DELETE", f"/v1/captures/{self._id}/{host}")
                except WireError as error:
                    click.echo(f"{host} will end it by itself: {error}", err=True)
            signal.signal(signal.SIGINT, before)


@contextmanager
def _interruptible() -> Iterator[None]:
    """TERM ends it as Ctrl-C does."""

    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _limited(frames: Iterator[Seen], count: int | None) -> Iterator[Seen]:
    for number, frame in enumerate(frames, 1):
        yield frame
        if number == count:
            return


def _print(frames: Iterator[Seen], hops: Sequence[dict[str, Any]]) -> int:
    from virga.lib.frame_text import describe

    width = max(len(hop["name"]) for hop in hops)
    return _each(frames, lambda each: click.echo(
        f"{_clock(each.time_ns)} {each.hop:<{width}} {describe(each.data, each.length)}"
    ))  # fmt: skip


def _clock(time_ns: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(time_ns // 10**9)) + f".{time_ns // 1000 % 10**6:06d}"


def _write(frames: Iterator[Seen], hops: Sequence[dict[str, Any]], file: Path) -> int:
    from virga.lib import pcapng

    numbers = {hop["name"]: number for number, hop in enumerate(hops)}
    stream: BinaryIO = sys.stdout.buffer if str(file) == "-" else file.open("wb")
    try:
        stream.write(pcapng.header(list(numbers), "virga capture"))
        stream.flush()

        def write(each: Seen) -> None:
            stream.write(pcapng.packet(numbers[each.hop], each.time_ns, each.length, each.data))
            stream.flush()

        return _each(frames, write)
    finally:
        if stream is not sys.stdout.buffer:
            stream.close()


def _each(frames: Iterator[Seen], work: Callable[[Seen], None]) -> int:
    """How many there were, also when somebody ended it."""
    shown = 0
    try:
        for frame in frames:
            work(frame)
            shown += 1
    except KeyboardInterrupt:
        click.echo("", err=True)
    return shown
