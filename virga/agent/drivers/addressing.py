"""Pure half of the address driver: what a namespace shall look like, what it looks like, and the steps between.

Ours, by which a fresh agent recognises them: every global address on a device that we want, and every
route of protocol ``static``. Kernel routes and link-local addresses come and go with their devices.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from typing import Any

METADATA_V6 = "fe80::a9fe:a9fe/128"


@dataclass(frozen=True, slots=True)
class Device:
    """A device inside a namespace. Made by the link driver; up, addresses and sysctls are ours."""

    name: str
    addresses: frozenset[str] = frozenset()
    """With prefix length: ``10.10.10.1/24``, ``2001:db8::1/64``."""
    up: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """A static route. Several ``nexthops`` share the load; none means: on link at ``device``.

    A link-local next hop needs the ``device`` too.
    """

    destination: str
    """A canonical CIDR; the default routes are ``0.0.0.0/0`` and ``::/0``."""
    nexthops: tuple[str, ...] = ()
    device: str = ""

    @property
    def version(self) -> int:
        return 6 if ":" in self.destination else 4

    @property
    def identity(self) -> tuple[str, tuple[str, ...], str]:
        """What makes two routes the same. The device of a next hop is the kernel's business, except on link."""
        return (self.destination, tuple(sorted(self.nexthops)), "" if self.nexthops else self.device)


@dataclass(frozen=True, slots=True)
class Addressing:
    """All of layer 3 in one namespace that is not a rule or a daemon."""

    devices: tuple[Device, ...] = ()
    routes: frozenset[Route] = frozenset()
    sysctls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ActualDevice:
    up: bool
    addresses: frozenset[str]
    link_local: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Actual:
    devices: dict[str, ActualDevice] = field(default_factory=dict)
    routes: frozenset[Route] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """``ip -batch`` lines in the order that works, and what is new and deserves an announcement."""

    lines: tuple[str, ...]
    missing_devices: tuple[str, ...] = ()
    added: tuple[tuple[str, str], ...] = ()
    """``(device, address)`` of addresses that the plan adds."""


def parse_documents(text: str) -> list[Any]:
    """All JSON documents of ``ip -json -batch``, which writes one after the other."""
    decoder = json.JSONDecoder()
    documents = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        document, position = decoder.raw_decode(text, position)
        documents.append(document)
    return documents


def parse_devices(links: list[dict[str, Any]]) -> dict[str, ActualDevice]:
    return {link["ifname"]: _parse_device(link) for link in links}


def _parse_device(link: dict[str, Any]) -> ActualDevice:
    ours: set[str] = set()
    link_local: set[str] = set()
    for info in link.get("addr_info", []):
        if "local" not in info:
            continue
        text = f"{info['local']}/{info['prefixlen']}"
        (link_local if info["scope"] == "link" and text != METADATA_V6 else ours).add(text)
    return ActualDevice("UP" in link["flags"], frozenset(ours), frozenset(link_local))


def parse_routes(entries: list[dict[str, Any]], version: int) -> frozenset[Route]:
    """Only static ones: the rest is the kernel's or the user's."""
    found: dict[str, tuple[set[str], str]] = {}
    for entry in entries:
        if entry.get("protocol") != "static":
            continue
        destination = _canonical(entry["dst"], version)
        hops, _ = found.setdefault(destination, (set(), ""))
        hops.update(hop["gateway"] for hop in entry.get("nexthops", []))
        if "gateway" in entry:
            hops.add(entry["gateway"])
        # IPv6 lists the members of a multipath route either way, so the device is noted only for routes on link.
        found[destination] = (hops, "" if hops else entry.get("dev", ""))
    return frozenset(Route(d, tuple(sorted(hops)), dev) for d, (hops, dev) in found.items())


def _canonical(destination: str, version: int) -> str:
    if destination == "default":
        return "0.0.0.0/0" if version == 4 else "::/0"
    return str(ipaddress.ip_network(destination))


def plan(wanted: Addressing, actual: Actual) -> Plan:
    """The least that makes ``actual`` as ``wanted``: devices up, addresses, then routes that need them."""
    removals: list[str] = []
    additions: list[str] = []
    added: list[tuple[str, str]] = []
    missing = []
    for device in wanted.devices:
        found = actual.devices.get(device.name)
        if found is None:
            missing.append(device.name)
            continue
        if found.up != device.up:
            additions.append(f"link set dev {device.name} {'up' if device.up else 'down'}")
        removals += [f"addr del {a} dev {device.name}" for a in sorted(found.addresses - device.addresses)]
        for address in sorted(device.addresses - found.addresses - found.link_local):
            additions.append(_add_address(address, device.name))
            added.append((device.name, address))
    stale, fresh = _route_lines(wanted.routes, actual.routes)
    if missing:
        # Routes would be refused for a reason that says nothing: they follow when the device is there.
        fresh = []
    return Plan((*stale, *removals, *additions, *fresh), tuple(missing), tuple(added))


def _add_address(address: str, device: str) -> str:
    if ":" in address:
        return f"addr add {address} dev {device} nodad"
    if address.endswith("/32"):
        return f"addr add {address} brd {address.partition('/')[0]} dev {device}"
    return f"addr add {address} brd + dev {device}"


def _route_lines(wanted: frozenset[Route], actual: frozenset[Route]) -> tuple[list[str], list[str]]:
    destinations = {route.destination for route in wanted}
    gone = [r for r in actual if r.destination not in destinations]
    stale = [f"route del {r.destination} proto static" for r in sorted(gone, key=_route_order)]
    there = {route.identity for route in actual}
    missing = [r for r in wanted if r.identity not in there]
    fresh = [_replace_route(r) for r in sorted(missing, key=_route_order)]
    return stale, fresh


def _route_order(route: Route) -> tuple[bool, str]:
    """Routes on link first: others may reach their next hop through them."""
    return (bool(route.nexthops), route.destination)


def _replace_route(route: Route) -> str:
    start = f"route replace {route.destination} proto static"
    if not route.nexthops:
        return (
            f"{start} dev {route.device} scope link" if route.version == 4 else f"{start} dev {route.device}"
        )
    at = f" dev {route.device}" if route.device else ""
    if len(route.nexthops) == 1:
        return f"{start} via {route.nexthops[0]}{at}"
    return start + "".join(f" nexthop via {hop}{at}" for hop in route.nexthops)


PLAIN_TABLES = {"local", "main", "default"}
KERNEL_OR_OURS = {"kernel", "ra", "static"}


def stranger(entry: dict[str, Any]) -> str:
    """A policy rule, route or neighbour of ``ip -json`` that somebody else put there, in words; empty when it is not."""
    if "priority" in entry and "table" in entry and "src" in entry:
        plain = entry["src"] == "all" and not {"fwmark", "iif", "oif", "dst", "action"} & entry.keys()
        known = plain and str(entry["table"]) in PLAIN_TABLES
        return (
            ""
            if known
            else f"rule {entry['priority']}: from {entry['src']} {entry.get('action', '')} {entry['table']}"
        )
    if "priority" in entry and "action" in entry:
        return f"rule {entry['priority']}: {entry['action']}"
    if "lladdr" in entry and "PERMANENT" in entry.get("state", ()):
        return f"neighbour {entry.get('dst')} at {entry['lladdr']} on {entry.get('dev')}, permanent"
    # A route that a person adds is of protocol boot, which ip(8) does not name.
    protocol = entry.get("protocol", "boot")
    if "dst" in entry and "state" not in entry and protocol not in KERNEL_OR_OURS:
        return " ".join(
            filter(None, ["route", entry.get("type", ""), str(entry["dst"]), f"of protocol {protocol}"])
        )
    return ""
