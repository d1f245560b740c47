"""Reads routes as ``ip route`` prints them, and finds the one that the kernel would take. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import pairwise

REFUSALS = ("blackhole", "unreachable", "prohibit", "throw")


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """``kind`` is empty for an ordinary route."""

    destination: str
    via: tuple[str, ...]
    device: str
    kind: str
    line: str
    table: str = ""
    metric: int = 0


def parse(lines: Sequence[str]) -> list[KernelRoute]:
    joined: list[str] = []
    for line in lines:
        if line[:1].isspace() and joined:
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    return [route for route in map(_route, joined) if route is not None]


def _route(line: str) -> KernelRoute | None:
    words = line.split()
    kind = words.pop(0) if words and words[0] in REFUSALS else ""
    if not words:
        return None
    destination = words[0]
    pairs = list(pairwise(words))

    def value(name: str) -> str:
        return next((second for first, second in pairs if first == name), "")

    via = tuple(second for first, second in pairs if first == "via" and second not in ("inet", "inet6"))
    metric = value("metric")
    return KernelRoute(
        destination, via, value("dev"), kind, line, value("table"), int(metric) if metric.isdigit() else 0
    )


def lookup(routes: Sequence[KernelRoute], address: str) -> KernelRoute | None:
    """The most particular route of the main table."""
    wanted = ip_address(address)
    best: tuple[int, int] | None = None
    found = None
    for route in routes:
        if route.table not in ("", "main") or "linkdown" in route.line.split():
            continue
        network = _network(route, wanted.version)
        if network is None or wanted not in network:
            continue
        rank = (network.prefixlen, -route.metric)
        if best is None or rank > best:
            best, found = rank, route
    return found


def _network(route: KernelRoute, version: int):  # type: ignore[no-untyped-def]
    text = route.destination
    if text == "default":
        six = any(":" in hop for hop in route.via) or " pref " in route.line
        if route.kind or not route.via:
            six = six or "metric 1024" in route.line
        if six != (version == 6):
            return None
        text = "::/0" if version == 6 else "0.0.0.0/0"
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    return network if network.version == version else None


def refusing_policies(policies: Sequence[str], source: str, destination: str) -> list[str]:
    """Lines of ``ip rule`` that refuse packets between these addresses."""
    found = []
    for line in policies:
        words = line.split()
        if not any(kind in words for kind in REFUSALS):
            continue
        if _selects(words, "from", source) and _selects(words, "to", destination):
            found.append(line)
    return found


def _selects(words: Sequence[str], which: str, address: str) -> bool:
    if which not in words:
        return True
    value = words[words.index(which) + 1]
    if value == "all":
        return True
    try:
        return ip_address(address) in ip_network(value, strict=False)
    except ValueError:
        return False
