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


def lookup(routes: Sequence[KernelRoute], address: str, table: str = "main") -> KernelRoute | None:
    """The most particular route of a table."""
    wanted = ip_address(address)
    best: tuple[int, int] | None = None
    found = None
    for route in routes:
        if (route.table or "main") != table or "linkdown" in route.line.split():
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


def decide(
    routes: Sequence[KernelRoute], policies: Sequence[str], source: str, destination: str, came_in: str = ""
) -> tuple[str, KernelRoute | None]:
    """The policy rule that decides, empty where it is one that every system has, and the route that it leads to."""
    for line in policies:
        words = line.split()
        if not _applies(words, source, destination, came_in):
            continue
        if any(kind in words for kind in REFUSALS):
            return line, None
        table = words[words.index("lookup") + 1] if "lookup" in words[:-1] else ""
        if table in ("", "local"):
            continue
        found = lookup(routes, destination, table)
        if found is not None and found.kind != "throw":
            return ("" if table in ("main", "default") else line), found
    return "", lookup(routes, destination)


UNKNOWN_SELECTORS = (
    "fwmark",
    "oif",
    "ipproto",
    "sport",
    "dport",
    "tos",
    "dsfield",
    "uidrange",
    "not",
    "tun_id",
)


def _applies(words: Sequence[str], source: str, destination: str, came_in: str) -> bool:
    """A rule that asks for what is not known here is passed over."""
    if any(word in words for word in UNKNOWN_SELECTORS):
        return False
    if "iif" in words[:-1] and words[words.index("iif") + 1] != came_in:
        return False
    return _selects(words, "from", source) and _selects(words, "to", destination)


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
