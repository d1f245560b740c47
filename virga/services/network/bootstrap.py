"""What the Network service needs before its first request: segment ranges and the default rules of groups."""

from __future__ import annotations

from virga.db.tx import Tx
from virga.services.network import security_group_default, segment_allocation
from virga.settings import Settings


def run(tx: Tx, settings: Settings) -> None:
    """Idempotent; called at every start of the control plane."""
    segment_allocation.sync_ranges(tx, settings)
    security_group_default.sync_templates(tx)
