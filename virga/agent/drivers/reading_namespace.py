"""Reads one network namespace for an explanation: devices, routes, neighbours, switches, rules. Changes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from virga.contract.trace import LinkReading, NamespaceReading
from virga.lib.run import CommandError, Runner, in_namespace, run

SCRIPT = Path(__file__).with_name("reading_namespace.sh")
PATIENCE_S = 4.0
ORDINARY_QUEUES = ("noqueue", "pfifo_fast", "fq_codel", "mq", "fq")
_LOCAL_ROUTE = re.compile(r"^(local|broadcast|anycast|multicast|ff00::/8|fe80::/64)\b|table local\b")


def read_namespace(name: str, addresses: Sequence[str], runner: Runner = run) -> NamespaceReading:
    """Everything at once, by one child inside the namespace. A namespace that is not there is told as such."""
    wanted = "|".join(re.escape(address) for address in addresses)
    command = in_namespace(name, "sh", str(SCRIPT), wanted)
    try:
        done = runner(command, timeout_s=PATIENCE_S, check=False)
    except CommandError:
        return NamespaceReading(name=name, exists=False)
    if "@@@ links" not in done.stdout:
        return NamespaceReading(name=name, exists=False)
    return parse(name, done.stdout)


def parse(name: str, text: str) -> NamespaceReading:
    """What the script printed, as a value."""
    parts: dict[str, list[str]] = {}
    for block in text.split("\n@@@ ")[1:]:
        title, _, content = block.partition("\n")
        parts[title.strip()] = [line.rstrip() for line in content.splitlines() if line.strip()]
    routes = [*parts.get("routes4", []), *parts.get("routes6", [])]
    policies = [*parts.get("policies4", []), *parts.get("policies6", [])]
    return NamespaceReading(
        name=name,
        links=_links("\n".join(parts.get("links", []))),
        routes=[line for line in routes if not _LOCAL_ROUTE.search(line)],
        policies=[" ".join(line.split()) for line in policies],
        neighbours=parts.get("neighbours", []),
        sysctls=_sysctls(parts.get("sysctls", [])),
        rules=[
            *_rules(4, parts.get("rules4", [])),
            *_rules(6, parts.get("rules6", [])),
            *_foreign_nft(parts.get("ruleset", [])),
        ],
        connections=parts.get("connections", []),
        queues=[q for q in parts.get("queues", []) if q.split()[1] not in ORDINARY_QUEUES],
    )


def _links(text: str) -> list[LinkReading]:
    try:
        found: list[dict[str, Any]] = json.loads(text or "[]")
    except json.JSONDecodeError:
        return []
    return [_link(each) for each in found if each.get("ifname")]


def _link(each: dict[str, Any]) -> LinkReading:
    flags = each.get("flags", [])
    return LinkReading(
        name=each["ifname"],
        mac=each.get("address", ""),
        up="UP" in flags,
        carrier="LOWER_UP" in flags,
        mtu=each.get("mtu", 0),
        master=each.get("master", ""),
        addresses=[_address(one) for one in each.get("addr_info", []) if "local" in one],
    )


def _address(one: dict[str, Any]) -> str:
    bad = "dadfailed" if one.get("dadfailed") else "tentative" if one.get("tentative") else ""
    return f"{one['local']}/{one.get('prefixlen', 0)}" + (f" {bad}" if bad else "")


def _sysctls(lines: list[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        path, colon, value = line.partition(":")
        # Names of devices have no colon, addresses of IPv6 do not occur in these paths.
        if colon:
            found[path.removeprefix("/proc/sys/")] = value.strip()
    return found


def _rules(family: int, lines: list[str]) -> list[str]:
    """With family and table in front; policies of built-in chains as ``-P``."""
    found, table = [], ""
    for line in lines:
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            found += [f"{family}/{table} -P {chain} {policy}"] if policy not in ("ACCEPT", "-") else []
        elif line.startswith("-"):
            found.append(f"{family}/{table} {line}")
    return found


def _foreign_nft(lines: list[str]) -> list[str]:
    """Tables that iptables does not know of, line by line as ``nft TABLE …``."""
    found, table, depth = [], "", 0
    for line in lines:
        if depth == 0 and line.startswith("table "):
            words = line.split()
            native = words[1] in ("ip", "ip6") and words[2] in ("nat", "filter", "mangle", "raw", "security")
            table = "" if native else " ".join(words[1:3])
        elif table and line.strip() not in ("{", "}"):
            found.append(f"nft {table}: {line.strip()}")
        depth += line.count("{") - line.count("}")
    return found
