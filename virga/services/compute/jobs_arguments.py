"""What the durable jobs of Compute are told."""

from __future__ import annotations

from typing import Any

import msgspec


class ServerJob(msgspec.Struct, frozen=True):
    """Work on one server; it reads everything else from the row."""

    server_id: str
    extra: dict[str, Any] = {}
