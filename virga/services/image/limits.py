"""How much one image may carry: OpenStack's default numbers."""

from __future__ import annotations

from virga.services.image.faults import too_large

MEMBERS = 128
PROPERTIES = 128
TAGS = 128
SIZE_CAP = 1 << 40
"""The greatest number of bytes of one image."""
PAGE_DEFAULT = 25
PAGE_MAX = 1000


def _check(attempted: int, maximum: int, what: str) -> None:
    if attempted > maximum:
        raise too_large(
            f"The limit has been exceeded on the number of allowed image {what}. "
            f"Attempted: {attempted}, Maximum: {maximum}"
        )


def check_properties(count: int) -> None:
    _check(count, PROPERTIES, "properties")


def check_tags(count: int) -> None:
    _check(count, TAGS, "tags")


def check_members(count: int) -> None:
    _check(count, MEMBERS, "members")
