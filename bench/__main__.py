"""``make bench``: prints tables and writes JSON. Figures are of this machine; claims are made as ratios."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench import api, clouds, performance_page, start, wiring
from bench.clouds import ROOT, VIRGA

PARTS = ("start", "instance", "memory", "api", "wiring")


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only these parts.")
@click.option("--json", "target", type=click.Path(path_type=Path), default=ROOT / ".cache/bench.json")
@click.option("--page", type=click.Path(path_type=Path), default=None, help="Write docs/performance.md here.")
@click.option("--flavor", default="m1.nano", help="Flavor of the first instance.")
def main(parts: tuple[str, ...], target: Path, page: Path | None, flavor: str) -> None:
    """Measure this machine."""
    wanted = parts or PARTS
    results: dict[str, Any] = json.loads(target.read_text()) if target.exists() else {}
    if {"start", "instance", "memory", "wiring"} & set(wanted):
        with clouds.cloud("lab") as running:
            results |= on_the_lab(running, wanted, flavor)
    if "api" in wanted:
        with clouds.server_alone(clouds.MANY_NETWORKS) as running:
            client = running.client()
            client.lift_quotas()
            results["api"] = [asdict(t) for t in [*api.creates(client), *api.lists(client)]]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(results, indent=2) + "\n")
    show(results)
    if page is not None:
        page.write_text(performance_page.render(results))


def on_the_lab(running: clouds.Running, wanted: tuple[str, ...], flavor: str) -> dict[str, Any]:
    """What needs packets, on one lab."""
    results: dict[str, Any] = {}
    if "start" in wanted:
        where = running.settings.state_dir
        subprocess.run(
            [*VIRGA, "down", "--state-dir", str(where)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL
        )
        results["start"] = start.timed_start(where)
    if "instance" in wanted:
        results["instance"] = start.first_instance(running, flavor)
    if "memory" in wanted:
        results["memory_mb"] = {
            name: round(clouds.resident_mb(pid), 1) for pid, name in running.pids().items()
        }
    if "wiring" in wanted:
        client = running.client()
        client.lift_quotas()
        results["wiring"] = wiring.port_wiring(client, "host1")
    return results


def show(results: dict[str, Any]) -> None:
    """Tables for people."""
    console = Console()
    for name in ("start", "instance", "memory_mb"):
        if name in results:
            table = Table("what", "figure", title=name)
            for key, value in results[name].items():
                table.add_row(key, str(value))
            if name == "memory_mb":
                table.add_row("together", str(round(sum(results[name].values()), 1)))
            console.print(table)
    for name in ("api", "wiring"):
        rows = results.get(name)
        if rows:
            table = Table(*rows[0], title=name)
            for row in rows:
                table.add_row(*(str(value) for value in row.values()))
            console.print(table)


if __name__ == "__main__":
    main()
