"""Identifiers in the two shapes OpenStack uses."""

from __future__ import annotations

import re
import uuid

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\Z", re.IGNORECASE)


def new_uuid() -> str:
    """``2f1c…-…``: Network, Image, Compute, Block Storage."""
    return str(uuid.uuid4())


def new_hex() -> str:
    """Thirty-two hexadecimal digits: Identity."""
    return uuid.uuid4().hex


def is_uuid_like(text: object) -> bool:
    """True for a UUID with or without hyphens, in either case."""
    return isinstance(text, str) and _UUID.match(text) is not None
