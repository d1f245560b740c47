"""Moments in the future that clients name: when trusts and application credentials end."""

from __future__ import annotations

from virga.db.tx import Tx
from virga.lib.clock import parse_iso
from virga.services.identity.faults import ValidationError

_BLAME = (
    "The server could not comply with the request since it is either malformed or otherwise incorrect. "
    "The client is assumed to be in error."
)


def parse(tx: Tx, text: str | None) -> int | None:
    """The moment; None for never. Raises ValidationError for the past and for nonsense."""
    if not text:
        return None
    try:
        moment = parse_iso(text)
    except (ValueError, OverflowError):
        raise ValidationError(f"Timestamp not in expected format. {_BLAME}") from None
    if moment < tx.now:
        raise ValidationError(f"The 'expires_at' must not be before now. {_BLAME}")
    return moment
