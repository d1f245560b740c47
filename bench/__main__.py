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

from bench import (
    agent,
    api,
    clouds,
    compute,
    datapath,
    image,
    performance_page,
    start,
    token,
    volumes,
    wiring,
)
from bench.clouds import ROOT, VIRGA

ON_THE_LAB = ("start", "instance", "memory", "wiring")
BY_NAMESPACES = ("datapath", "agent")
ALONE = ("api", "image", "token")
PARTS = (*ON_THE_LAB, *BY_NAMESPACES, *ALONE, "servers", "volumes")
KEPT = {"peer": ROOT / ".cache/bench-peer.json", "growth": ROOT / ".cache/bench-growth.json"}
"""What other targets measured: it is on the page, too."""


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only these parts.")
@click.option("--json", "target", type=click.Path(path_type=Path), default=ROOT / ".cache/bench.json")
@click.option("--page", type=click.Path(path_type=Path), default=None, help="Write docs/performance.md here.")
@click.option("--flavor", default="m1.nano", help="Flavor of the first instance.")
def main(parts: tuple[str, ...], target: Path, page: Path | None, flavor: str) -> None:
    """Measure this machine."""
    wanted = parts or PARTS
    results: dict[str, Any] = json.loads(target.read_text()) if target.exists() else {}
    if set(ON_THE_LAB) & set(wanted):
        with clouds.cloud("lab") as running:
            results |= on_the_lab(running, wanted, flavor)
    if set(BY_NAMESPACES) & set(wanted):
        with clouds.cloud("lab", toml=datapath.LAB) as running:
            results |= by_namespaces(running, wanted)
    if set(ALONE) & set(wanted):
        with clouds.server_alone(clouds.MANY_NETWORKS) as running:
            results |= alone(running, wanted)
    if "servers" in wanted:
        with clouds.cloud("fake", hosts=compute.HOSTS) as running:
            results["servers"] = compute.long_list(running.client())
    if "volumes" in wanted:
        results |= volumes.all_of_it()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(results, indent=2) + "\n")
    show(results)
    if page is not None:
        kept = {name: json.loads(path.read_text()) for name, path in KEPT.items() if path.exists()}
        page.write_text(performance_page.render({**results, **kept}))


def by_namespaces(running: clouds.Running, wanted: tuple[str, ...]) -> dict[str, Any]:
    """What needs packets and no emulator, on one lab."""
    results: dict[str, Any] = {}
    if "datapath" in wanted:
        results["datapath"] = datapath.throughput(running)
    if "agent" in wanted:
        results["agent"] = agent.plug_and_restart(running)
    return results


def alone(running: clouds.Running, wanted: tuple[str, ...]) -> dict[str, Any]:
    """What is of the server alone."""
    client = running.client()
    client.lift_quotas()
    results: dict[str, Any] = {}
    if "token" in wanted:
        results["token"] = token.validation(running, client)
    if "image" in wanted:
        results["image"] = image.transfers(client, running.server_pid())
    if "api" in wanted:
        results["api"] = [asdict(t) for t in [*api.creates(client), *api.lists(client)]]
    return results


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
    for name in (
        "start",
        "instance",
        "memory_mb",
        "datapath",
        "agent",
        "image",
        "token",
        "servers",
        "volume_attach",
    ):
        if name in results:
            table = Table("what", "figure", title=name)
            for key, value in results[name].items():
                table.add_row(key, str(value))
            if name == "memory_mb":
                table.add_row("together", str(round(sum(results[name].values()), 1)))
            console.print(table)
    for name in ("api", "wiring", "volumes", "volume_throughput"):
        rows = results.get(name)
        if rows:
            table = Table(*rows[0], title=name)
            for row in rows:
                table.add_row(*(str(value) for value in row.values()))
            console.print(table)


if __name__ == "__main__":
    main()
