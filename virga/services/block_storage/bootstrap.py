"""What Block Storage needs before the first request: a volume type."""

from __future__ import annotations

from virga.db.tx import Tx
from virga.services.block_storage.volume_type import ensure_default
from virga.settings import Settings


def run(tx: Tx, settings: Settings) -> None:
    """Idempotent; called at every start of the control plane."""
    ensure_default(tx)
