"""docs/performance.md, from what ``make bench`` measured and what Neutron gave on the same kind of machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NEUTRON = {
    # OpenStack Neutron 29.0.0 with MariaDB and RabbitMQ, uWSGI with two processes, no authentication, no agents
    # alive, on two virtual cores of the same kind, other work running beside it: requests a second, 1 and 8 clients.
    ("create network", 1): 9.71,
    ("create network", 8): 20.44,
    ("create subnet", 1): 9.58,
    ("create subnet", 8): 11.36,
    ("create port", 1): 3.91,
    ("create port", 8): 9.35,
    ("get port", 1): 39.53,
    ("get port", 8): 46.39,
    ("list 100 networks", 1): 9.50,
    ("list 100 networks", 8): 14.30,
    ("list 1000 networks", 1): 1.20,
    ("list 1000 networks", 8): 1.50,
    ("list 5000 networks", 1): 0.20,
    ("list 5000 networks", 8): 0.50,
}
NEUTRON_WIRING_MS = 2040

HEAD = """# Speed and memory

Made by `make bench ARGS="--page docs/performance.md"`; run it to get the figures of your machine. These are of a virtual
machine with 2 cores without hardware virtualisation (guests are translated by QEMU, TCG), Debian 12.

Neutron's column is Neutron 29.0.0 with MariaDB and RabbitMQ on the same kind of machine, measured in a run of its own while other
work used its cores, so the ratios are good to about a factor of two. Neutron ran without authentication; Virga checks a
token in each request.
"""


def render(results: Mapping[str, Any]) -> str:
    """The page."""
    parts = [HEAD]
    if "start" in results:
        parts.append(_pairs("Start of a prepared cloud", results["start"], "s"))
    if "instance" in results:
        parts.append(_pairs("First instance: from the first API call (network, router, floating IP, server)",
                            results["instance"], "s"))  # fmt: skip
    if "memory_mb" in results:
        parts.append(_memory(results["memory_mb"]))
    if "api" in results:
        parts.append(_api(results["api"]))
    if "wiring" in results:
        parts.append(_wiring(results["wiring"]))
    return "\n".join(parts)


def _pairs(title: str, figures: Mapping[str, float], unit: str) -> str:
    rows = "".join(
        f"| {name.removesuffix('_s').replace('_', ' ')} | {value} {unit} |\n"
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


def _api(timings: list[Mapping[str, Any]]) -> str:
    rows = []
    for t in timings:
        peer = NEUTRON.get((t["name"], t["clients"]))
        ratio = f"{peer} | {t['per_second'] / peer:.0f} times" if peer else " | "
        rows.append(
            f"| {t['name']} | {t['clients']} | {t['p50_ms']} | {t['p95_ms']} | {t['per_second']} | {ratio} |\n"
        )
    return (
        "## Network API\n\n| request | clients | p50 ms | p95 ms | a second | Neutron, a second | ratio |\n"
        "|---|---|---|---|---|---|---|\n" + "".join(rows)
    )


def _wiring(rows: list[Mapping[str, Any]]) -> str:
    body = "".join(f"| {r['ports']} | {r['p50_ms']} ms | {r['max_ms']} ms |\n" for r in rows)
    return (
        "## Port wiring: API call to ACTIVE, flows in\n\n"
        f"Neutron with its agents, 10 ports on the host: {NEUTRON_WIRING_MS} ms.\n\n"
        f"| ports on the host | p50 | worst of ten |\n|---|---|---|\n{body}"
    )
