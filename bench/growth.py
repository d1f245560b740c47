"""``make bench-growth``: what one more port costs while there are 100, 1,000, 10,000 of them, on 1, 10 and 100 hosts.

The data plane is the one in memory, so that this is the cost of the control plane and of the agents'
own thinking: the processor time of the one process that they all share, all agents included. The slope is that of cost
over size in powers of ten: 0 where one more port costs the same at every size, 1 where it costs ten times as much
beside ten times as many.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench import clouds
from bench.client import Client
from bench.wiring import bound_port, until_active

SAMPLES = 50
READS = 200
QUIET_MS = 20.0
"""What idle agents use in a fifth of a second, at most."""
PORTS = "/network/v2.0/ports"
Act = Callable[[int], object]
RESULT = clouds.ROOT / ".cache/bench-growth.json"


@click.command()
@click.argument("sizes", nargs=-1, type=int)
@click.option("--hosts", default="1,10,100", help="Numbers of hosts, with commas.")
@click.option("--json", "target", type=click.Path(path_type=Path), default=RESULT)
def main(sizes: tuple[int, ...], hosts: str, target: Path) -> None:
    """Measure at these numbers of ports; by default 100, 1,000 and 10,000."""
    results: dict[str, Any] = json.loads(target.read_text()) if target.exists() else {}
    for number in (int(text) for text in hosts.split(",")):
        with clouds.cloud("fake", hosts=number) as running:
            results[str(number)] = curve(running, number, sizes or (100, 1000, 10_000))
        show(number, results[str(number)])
    ordered = dict(sorted(results.items(), key=lambda item: int(item[0])))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(ordered, indent=1) + "\n")


def curve(running: clouds.Running, hosts: int, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """One row of figures for each size."""
    client = running.client()
    client.lift_quotas()
    network = client.json("POST", "/network/v2.0/networks", {"network": {"name": "growth"}})["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.128.0.0/12"}
    client.json("POST", "/network/v2.0/subnets", {"subnet": subnet})
    rows = []
    there = 0
    for size in sizes:
        last = ""
        while there < size:
            step = min(100, size - there)
            body = {"ports": [_port(network, hosts, there + i) for i in range(step)]}
            last = client.json("POST", PORTS, body)["ports"][-1]["id"]
            there += step
        until_active(client, last, 600)
        until_quiet(running.server_pid())
        rows.append({"ports": size, **operations(client, running.server_pid(), network, hosts)})
    return rows


def operations(client: Client, pid: int, network: str, hosts: int) -> dict[str, float]:
    """Processor milliseconds of one request of each kind; what was made is removed again."""
    made: list[str] = []

    def create(number: int) -> None:
        body = {"port": _port(network, hosts, 1_000_000 + number)}
        made.append(client.json("POST", PORTS, body)["port"]["id"])
        if number == SAMPLES - 1:
            until_active(client, made[-1], 600)

    def cost(act: Act, samples: int = READS) -> float:
        before = clouds.cpu_ms(pid)
        for number in range(samples):
            act(number % SAMPLES)
        if samples == SAMPLES:
            until_quiet(pid)
        return round((clouds.cpu_ms(pid) - before) / samples, 2)

    return {
        "create and bind, until ACTIVE": cost(create, SAMPLES),
        "show": cost(lambda n: client.json("GET", f"{PORTS}/{made[n]}")),
        "list of one device": cost(lambda n: client.json("GET", f"{PORTS}?device_id=bench-{1_000_000 + n}")),
        "first page of 20": cost(lambda n: client.json("GET", f"{PORTS}?limit=20")),
        "update": cost(
            lambda n: client.json("PUT", f"{PORTS}/{made[n]}", {"port": {"dns_name": "x"}}), SAMPLES
        ),
        "delete": cost(lambda n: client.json("DELETE", f"{PORTS}/{made.pop()}"), SAMPLES),
    }


def until_quiet(pid: int) -> None:
    """Until the process, with the agents in it, has nothing left to do."""
    before = clouds.cpu_ms(pid)
    while True:
        time.sleep(0.2)
        now = clouds.cpu_ms(pid)
        if now - before < QUIET_MS:
            return
        before = now


def _port(network: str, hosts: int, number: int) -> dict[str, str]:
    return bound_port(network, f"host{number % hosts + 1}", number)


def slope(rows: list[dict[str, Any]], name: str) -> float:
    """Of a straight line through the logarithms of size and cost."""
    points = [(math.log10(row["ports"]), math.log10(row[name])) for row in rows]
    x, y = statistics.fmean(p[0] for p in points), statistics.fmean(p[1] for p in points)
    spread = sum((p[0] - x) ** 2 for p in points)
    return round(sum((p[0] - x) * (p[1] - y) for p in points) / spread, 2) if spread else 0.0


def show(hosts: int, rows: list[dict[str, Any]]) -> None:
    """The curve and its slope."""
    table = Table(
        "one more port, ms", *(f"{row['ports']} ports" for row in rows), "slope", title=f"{hosts} hosts"
    )
    for name in rows[0]:
        if name != "ports":
            table.add_row(name, *(str(row[name]) for row in rows), str(slope(rows, name)))
    Console().print(table)


if __name__ == "__main__":
    main()
