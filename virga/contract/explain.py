"""What an explanation of a path says: hops with three columns, and one verdict.

The JSON of ``/v1/explain`` and of ``virga explain --json``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["ok", "stopped", "missing", "unknown", "skipped"]
"""Of one column at one hop: the packet passes, is stopped here, never came, cannot be told, was not looked at."""


class Ref(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An object of the API, a thing in the kernel or a process. ``kind`` is its API word, or ``flow``, ``rule``, ``device``."""

    kind: str
    id: str = ""
    name: str = ""
    host: str = ""


class Column(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one hop from one side. ``details`` are the flows, rules, routes or frames themselves."""

    state: State = "skipped"
    text: str = ""
    details: list[str] = []


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One place that the packet passes. ``direction`` tells the request from the reply."""

    direction: Literal["there", "back"]
    host: str
    kind: str
    """tap, qbr, qvb, qvo, br-int, patch, br-provider, br-ex, br-tun, nic, underlay, qrouter, qr, qg, qdhcp, guest, outside."""
    name: str
    expected: Column = Column()
    realised: Column = Column()
    observed: Column = Column()
    objects: list[Ref] = []
    """Objects of the API that decide here."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The culprit, and how to mend it. ``code`` is stable: REACHABLE, or one of the codes of ``virga/trace/verdicts.py``."""

    code: str
    reachable: bool | None
    """None: cannot be told (UNKNOWN)."""
    sentence: str
    culprit: Ref | None = None
    changed_by: str = ""
    changed_at: str = ""
    evidence: list[str] = []
    mend: str = ""
    """The command that mends it."""


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change of an object on the path, for ``--since``."""

    at: str
    object: Ref
    what: str
    by: str = ""
    request_id: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole answer."""

    id: str
    source: Ref
    destination: Ref
    traffic: str
    """``icmp``, ``tcp/5432``, ``udp/53``, ``dhcp``, ``metadata``, ``dns``."""
    ip_version: int
    verdict: Verdict
    hops: list[Hop] = []
    changes: list[Change] = []
    seconds: float = 0.0
