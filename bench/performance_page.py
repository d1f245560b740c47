"""docs/performance.md, from what the bench targets measured, and from what Neutron gave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.growth import slope

RECORDED = Path(__file__).resolve().parent / "peer/recorded.json"
NEUTRON_WIRING_MS = 2040

HEAD = """# Speed and memory

    make bench-peer     # a real Neutron beside Virga, the same requests to both in turn; 10 minutes and more
    make bench-growth   # what one more port costs beside 100, 1,000 and 10,000 others
    make bench ARGS="--page docs/performance.md"   # the rest, and this page from all of it
    make bench-page     # the last two, growth with 1 and 10 hosts only; 10 minutes

Figures are of one machine and of one moment; claims are made as ratios. These are of a virtual machine with 2 cores
without hardware virtualisation (guests are translated by QEMU, TCG; Open vSwitch switches in user space), Debian 12.
"""


def render(results: Mapping[str, Any]) -> str:
    """The page."""
    recorded = json.loads(RECORDED.read_text())
    parts = [HEAD]
    if "peer" in results:
        parts.append(_peer(results["peer"]))
    for name, title, unit in PAIRS:
        if name in results:
            parts.append(_pairs(title, results[name], unit))
    if "memory_mb" in results:
        parts.append(_memory(results["memory_mb"]))
    if "api" in results:
        parts.append(_api(results["api"], recorded))
    if "wiring" in results:
        parts.append(_wiring(results["wiring"]))
    if "growth" in results:
        parts.append(_growth(results["growth"]))
    return "\n".join(parts)


PAIRS = (
    ("start", "Start of a prepared cloud", "s"),
    ("instance", "First instance: from the first API call (network, router, floating IP, server)", "s"),
    ("token", "To know the caller of a request by the token", "ms"),
    ("servers", "A list of servers with details, ports and groups", "ms"),
    ("image", "An image up and down over loopback, hashed twice on its way in", ""),
    ("datapath", "TCP between two instances of a host, beside plain switching by the same Open vSwitch", ""),
    ("agent", "An agent at work (Neutron: 10.8 s for 50 ports, 50.6 s for a restart beside 200)", "s"),
)


def _peer(figures: Mapping[str, Any]) -> str:
    """Both servers, in turn."""
    theirs = {(t["name"], t["clients"]): t["per_second"] for t in figures["neutron"]}
    rows = []
    for t in figures["virga"]:
        peer = theirs.get((t["name"], t["clients"]))
        ratio = f"{t['per_second'] / peer:.0f} times" if peer else ""
        rows.append(f"| {t['name']} | {t['clients']} | {peer or ''} | {t['per_second']} | {ratio} |\n")
    return (
        f"## Beside Neutron\n\n{figures['note']} Neutron 29.0.0 with MariaDB and RabbitMQ, uWSGI with two processes, no "
        "authentication, no agents; Virga checks a token in each request. Requests a second.\n\n"
        "| request | clients | Neutron | Virga | ratio |\n|---|---|---|---|---|\n" + "".join(rows)
    )


def _growth(figures: Mapping[str, list[Mapping[str, Any]]]) -> str:
    """A table a number of hosts."""
    parts = [
        "## Growth: processor milliseconds of the control plane and all agents, data plane in memory\n\n"
        "The slope is that of a line through the logarithms: 0 is no growth, 1 is ten times the cost beside ten times as many.\n"
    ]
    for hosts, rows in figures.items():
        heads = " | ".join(f"{row['ports']} ports" for row in rows)
        lines = [
            f"| {name} | {' | '.join(str(row[name]) for row in rows)} | {slope(list(rows), name)} |\n"  # type: ignore[arg-type]
            for name in rows[0]
            if name != "ports"
        ]
        parts.append(
            f"| {hosts} host{'s' if hosts != '1' else ''} | {heads} | slope |\n|---|{'---|' * (len(rows) + 1)}\n"
            + "".join(lines)
        )
    return "\n".join(parts)


def _pairs(title: str, figures: Mapping[str, float], unit: str) -> str:
    rows = "".join(
        f"| {name.removesuffix('_s').replace('_', ' ')} | {value} {unit} |\n".replace("  |", " |")
        for name, value in figures.items()
    )
    return f"## {title}\n\n| what | figure |\n|---|---|\n{rows}"


def _memory(figures: Mapping[str, float]) -> str:
    named: dict[str, float] = {}
    for line, value in figures.items():
        words = [word for word in line.split() if word.startswith("virga.")]
        name = words[0] if words else "virga"
        named[name] = round(named.get(name, 0) + value, 1)
    named["together"] = round(sum(named.values()), 1)
    rows = "".join(f"| `{name}` | {value} MB |\n" for name, value in named.items())
    return f"## Resident memory of our own processes\n\n| process | resident |\n|---|---|\n{rows}"


def _api(timings: list[Mapping[str, Any]], recorded: Mapping[str, Any]) -> str:
    neutron = {(t["name"], t["clients"]): t["per_second"] for t in recorded["neutron"]}
    rows = []
    for t in timings:
        peer = neutron.get((t["name"], t["clients"]))
        ratio = f"{peer} | {t['per_second'] / peer:.0f} times" if peer else " | "
        rows.append(
            f"| {t['name']} | {t['clients']} | {t['p50_ms']} | {t['p95_ms']} | {t['per_second']} | {ratio} |\n"
        )
    return (
        "## Network API\n\nNeutron's column is of a run on a machine of the same kind, beside other work: good to about a "
        "factor of two.\n\n| request | clients | p50 ms | p95 ms | a second | Neutron, a second | ratio |\n"
        "|---|---|---|---|---|---|---|\n" + "".join(rows)
    )


def _wiring(rows: list[Mapping[str, Any]]) -> str:
    body = "".join(f"| {r['ports']} | {r['p50_ms']} ms | {r['max_ms']} ms |\n" for r in rows)
    return (
        "## Port wiring: API call to ACTIVE, flows in\n\n"
        f"Neutron with its agents, 10 ports on the host: {NEUTRON_WIRING_MS} ms.\n\n"
        f"| ports on the host | p50 | worst of ten |\n|---|---|---|\n{body}"
    )
