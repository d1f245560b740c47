"""Hashes passwords and secrets with bcrypt. Slow on purpose: call it outside a transaction."""

from __future__ import annotations

import base64
import hashlib
from functools import cache

import bcrypt


def hash_secret(text: str, rounds: int) -> str:
    """A salted hash; the cost is 2 to the power of ``rounds``."""
    return bcrypt.hashpw(_material(text), bcrypt.gensalt(rounds)).decode()


def matches(text: str, hashed: str) -> bool:
    """Whether the hash was made of the text."""
    try:
        return bcrypt.checkpw(_material(text), hashed.encode())
    except ValueError:
        return False


def spend_time(text: str, rounds: int) -> None:
    """As slow as ``matches``: an unknown user takes as long to refuse as a wrong password."""
    matches(text, _decoy(rounds))


@cache
def _decoy(rounds: int) -> str:
    return hash_secret("nobody", rounds)


def _material(text: str) -> bytes:
    """bcrypt reads 72 bytes and stops at NUL; longer ones are digested first so that every byte counts."""
    raw = text.encode()
    if len(raw) <= 72 and b"\0" not in raw:
        return raw
    return base64.b64encode(hashlib.sha384(raw).digest())
