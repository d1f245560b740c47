"""What a guest may know about itself: the trees at 169.254.169.254 and the same on its config drive."""

from __future__ import annotations

from virga.contract.calls import MetadataAnswer, MetadataRequest
from virga.db.tx import Tx
from virga.services.compute.server import Server
from virga.settings import Settings


def drive(tx: Tx, row: Server) -> dict[str, bytes]:
    """Path on the config drive to content."""
    return {}


def answer(tx: Tx, settings: Settings, request: MetadataRequest) -> MetadataAnswer:
    """What the guest behind this address gets."""
    return MetadataAnswer(status=404, body=b"")
