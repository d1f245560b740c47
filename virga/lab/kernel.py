"""What the kernel must be able to do, tried in a fresh network namespace that is gone a moment later.

A feature that is missing is better named before a start than met as a strange failure an hour later.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from virga.lib.run import CommandError, run


@dataclass(frozen=True, slots=True)
class Feature:
    """One ability: how it is tried, what needs it, and whether there is no cloud without it."""

    name: str
    needed_for: str
    argv: tuple[str, ...]
    stdin: str = ""
    essential: bool = True


class Lack(msgspec.Struct, frozen=True):
    """A feature that is missing."""

    name: str
    needed_for: str
    essential: bool


def features(iptables: str) -> Sequence[Feature]:
    """All that is tried; ``iptables`` is ``nft`` or ``legacy``."""
    tables = f"iptables-{iptables}"
    ingress = (
        'table netdev t { chain c { type filter hook ingress device "lo" priority 0; policy drop; }\n}\n'
    )
    hybrid = "the hybrid plug"
    return (
        Feature(
            "veth",
            "cables between hosts",
            ("ip", "link", "add", "try0", "type", "veth", "peer", "name", "try1"),
        ),
        Feature("bridge", "the underlay", ("ip", "link", "add", "try0", "type", "bridge")),
        Feature("tap", "network cards of instances", ("ip", "tuntap", "add", "try0", "mode", "tap")),
        Feature("nat", "floating IPs", (tables, "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")),
        Feature("conntrack", "security groups", ("conntrack", "-L")),
        Feature("nftables-netdev", "keeping tenants away from the host", ("nft", "-f", "-"), ingress),
        Feature("ipset", hybrid, ("ipset", "create", "s", "hash:net"), essential=False),
        Feature(
            "physdev",
            hybrid,
            (tables, "-A", "FORWARD", "-m", "physdev", "--physdev-is-bridged", "-j", "ACCEPT"),
            essential=False,
        ),
    )


def lacks(iptables: str) -> list[Lack]:
    """What is missing. Needs root; changes nothing that stays."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        tried = features(iptables)
        works = pool.map(_works, tried)
        found = [
            Lack(one.name, one.needed_for, one.essential)
            for one, ok in zip(tried, works, strict=True)
            if not ok
        ]
    if not Path("/proc/sys/net/ipv6").exists():
        found.append(Lack("ipv6", "IPv6 subnets", False))
    return found


def _works(feature: Feature) -> bool:
    try:
        return run(("unshare", "--net", *feature.argv), stdin=feature.stdin, check=False).returncode == 0
    except CommandError:
        return False
