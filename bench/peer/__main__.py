"""``make bench-peer``: Neutron and Virga on the same cores, the same requests to one and then to the other.

Where Neutron cannot be installed its recorded figures stand in, and the result says so.
"""

from __future__ import annotations

import contextlib
import json
import signal
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.client import Client, Timing
from bench.clouds import MANY_NETWORKS, ROOT, server_alone
from bench.peer import neutron
from bench.peer.install import HERE, NotInstalled, install
from bench.peer.load import Target, steps

RESULT = ROOT / ".cache/bench-peer.json"


@click.command()
@click.option("--rounds", default=2, help="How often each kind of request is measured; the median counts.")
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULT)
@click.option("--recorded", is_flag=True, help="Do not run Neutron, compare with its recorded figures.")
def main(rounds: int, target: Path, recorded: bool) -> None:
    """Measure both."""
    console = Console()
    # Told to end, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    with contextlib.ExitStack() as stack:
        note, theirs, peers = _peer(stack, recorded, console)
        virga = stack.enter_context(server_alone(MANY_NETWORKS))
        client = virga.client()
        client.lift_quotas()
        targets = [*peers, Target("virga", client, "/network/v2.0", weight=5)]
        figures = _measure(targets, rounds, console)
    result = {"note": note, "neutron": theirs, **figures}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    _show(result, console)


def _peer(
    stack: contextlib.ExitStack, recorded: bool, console: Console
) -> tuple[str, list[dict[str, Any]], list[Target]]:
    """What to say of Neutron's figures, the recorded ones, or a running Neutron."""
    kept = json.loads((HERE / "recorded.json").read_text())
    if not recorded:
        console.print("Installing Neutron where it is missing ...")
        try:
            environment = install()
            console.print("Starting MariaDB, RabbitMQ and Neutron ...")
            endpoint = stack.enter_context(neutron.running(environment))
        except NotInstalled as problem:
            console.print(f"Neutron cannot be installed here ({problem}): its recorded figures stand in.")
        else:
            client = Client(endpoint, token="none")
            return "Both on this machine, in turn.", [], [Target("neutron", client, "/v2.0")]
    return f"Neutron did not run here; its figures are recorded ones: {kept['note']}.", kept["neutron"], []


def _measure(targets: list[Target], rounds: int, console: Console) -> dict[str, list[dict[str, Any]]]:
    """In turn: a step on one server, the same step on the other."""
    found: dict[str, dict[tuple[str, int], list[Timing]]] = {t.name: {} for t in targets}
    for number in range(rounds):
        for row in _together(targets, number, fill=number == rounds - 1):
            for target, timing in zip(targets, row, strict=True):
                found[target.name].setdefault((timing.name, timing.clients), []).append(timing)
                console.print(
                    f"  {target.name:8} {timing.name}, {timing.clients} clients: {timing.per_second} a second"
                )
    return {name: [_median(timings) for timings in by.values()] for name, by in found.items()}


def _together(targets: list[Target], number: int, fill: bool) -> Iterator[tuple[Timing, ...]]:
    return zip(*(steps(target, number, fill) for target in targets), strict=True)


def _median(timings: list[Timing]) -> dict[str, Any]:
    """Of several rounds."""
    result = asdict(timings[0])
    for name in ("p50_ms", "p95_ms", "per_second"):
        result[name] = round(statistics.median(getattr(t, name) for t in timings), 4)
    result["requests"] = sum(t.requests for t in timings)
    result["errors"] = sum(t.errors for t in timings)
    return result


def _show(result: dict[str, Any], console: Console) -> None:
    console.print(result["note"])
    peer = {(t["name"], t["clients"]): t["per_second"] for t in result["neutron"]}
    table = Table("request", "clients", "Neutron, a second", "Virga, a second", "ratio", "errors")
    for t in result["virga"]:
        theirs = peer.get((t["name"], t["clients"]))
        ratio = f"{t['per_second'] / theirs:.0f}" if theirs else ""
        table.add_row(
            t["name"], str(t["clients"]), str(theirs or ""), str(t["per_second"]), ratio, str(t["errors"])
        )
    console.print(table)


if __name__ == "__main__":
    main()
