"""What a guest may know about itself: the trees at 169.254.169.254 and the same on its config drive."""

from __future__ import annotations

from virga.db.tx import Tx
from virga.services.compute.server import Server


def drive(tx: Tx, row: Server) -> dict[str, bytes]:
    """Path on the config drive to content."""
    return {}
