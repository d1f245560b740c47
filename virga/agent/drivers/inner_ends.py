"""What the inner ends of our pairs look like, and what a stranger did to a device: read only, for ``check``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from virga.lib.run import CommandError, Runner

DELAYING = "netem"
"""A queueing discipline that nobody but an experiment asks for: it loses, delays or corrupts."""


@dataclass(frozen=True, slots=True)
class InnerEnd:
    """The end of a pair that is inside a namespace."""

    name: str
    namespace: str
    mac: str | None
    mtu: int


def inner_faults(run: Runner, ends: Mapping[str, InnerEnd]) -> dict[str, str]:
    """Key of each end that is not as it must be, with what it is instead. One command a namespace."""
    spaces: dict[str, dict[str, dict[str, Any]]] = {}
    for namespace in {end.namespace for end in ends.values()}:
        try:
            text = run(["ip", "-n", namespace, "-d", "-j", "link", "show"]).stdout
        except CommandError as error:
            spaces[namespace] = {"": {"error": str(error)}}
        else:
            spaces[namespace] = {link["ifname"]: link for link in json.loads(text or "[]")}
    found = {key: _fault(end, spaces[end.namespace]) for key, end in ends.items()}
    return {key: fault for key, fault in found.items() if fault}


def _fault(end: InnerEnd, links: Mapping[str, dict[str, Any]]) -> str:
    link = links.get(end.name)
    if link is None:
        known = links.get("", {}).get("error")
        return str(known or f"{end.name} is not in {end.namespace}")
    faults = []
    if end.mac and link.get("address") != end.mac.lower():
        faults.append(f"address {link.get('address')}")
    if link.get("mtu") != end.mtu:
        faults.append(f"mtu {link.get('mtu')}")
    return ", ".join([*faults, *strange(link)])


def strange(link: Mapping[str, Any]) -> list[str]:
    """What somebody put on a device."""
    return [f"qdisc {DELAYING}"] if link.get("qdisc") == DELAYING else []


def strangely_treated(links: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Devices with something on them that nobody of ours put there."""
    return {str(link["ifname"]): ", ".join(strange(link)) for link in links if strange(link)}
