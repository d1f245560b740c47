"""What the durable jobs of Block Storage are told."""

from __future__ import annotations

from typing import Any

import msgspec


class VolumeJob(msgspec.Struct, frozen=True):
    """Work on one volume; it reads everything else from the row."""

    volume_id: str
    extra: dict[str, Any] = {}
