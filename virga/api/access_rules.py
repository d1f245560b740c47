"""Access rules: an application credential may be good for some requests only.

A rule names a service, a method and a path in which ``*`` (or ``{name}``) is one segment and ``**`` any number.
Checked in front of every service, as OpenStack's token middleware does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_PIECE = re.compile(r"(?P<one>\{[^}]*\}|\*(?!\*))|(?P<any>\*\*)|(?P<literal>[^{}*])")
_TYPES = {"block_storage": ("block-storage", "block-store", "volumev3"), "load_balancer": ("load-balancer",)}


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One kind of request that is allowed."""

    service: str
    method: str
    path: str


def allows(rules: Sequence[AccessRule], service: str, method: str, paths: Sequence[str]) -> bool:
    """Whether a rule covers the request, under any of the paths it is known by."""
    types = _TYPES.get(service, (service,))
    return any(
        rule.service in types and rule.method == method and any(_pattern(rule.path).match(p) for p in paths)
        for rule in rules
    )


@lru_cache(1024)
def _pattern(path: str) -> re.Pattern[str]:
    text = ""
    for piece in _PIECE.finditer(path):
        if piece["one"]:
            text += "[^/]+"
        elif piece["any"]:
            text += ".*"
        else:
            text += re.escape(piece["literal"])
    return re.compile(text + r"\Z")
