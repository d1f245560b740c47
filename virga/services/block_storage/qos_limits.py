"""What a volume's type says of its speed, as numbers for whoever shows the volume to a guest.

Only specs whose consumer is the front end (or both) count here. Those per GB grow with the volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from virga.db.tx import Tx
from virga.services.block_storage.models import volume_qos_specs, volume_type

_RATES = tuple(f"{who}_{what}_sec" for who in ("total", "read", "write") for what in ("bytes", "iops"))
_PLAIN = (
    *_RATES,
    *(f"{rate}_max" for rate in _RATES),
    *(f"{rate}_max_length" for rate in _RATES),
    "size_iops_sec",
)


def of_volume(tx: Tx, row: Any) -> dict[str, int] | None:
    """The limits of a volume; None when its type sets none for the front end."""
    if not row.volume_type_id:
        return None
    found = tx.first(
        select(volume_qos_specs.c.consumer, volume_qos_specs.c.specs)
        .join(volume_type, volume_type.c.qos_specs_id == volume_qos_specs.c.id)
        .where(volume_type.c.id == row.volume_type_id)
    )
    if found is None or found.consumer == "back-end":
        return None
    return limits(found.specs, row.size) or None


def limits(specs: Mapping[str, str], size_gb: int) -> dict[str, int]:
    """Numbers out of specs; what is no number or no limit is not ours to understand."""
    known = {name: number for name in _PLAIN if (number := _number(specs.get(name))) is not None}
    for rate in _RATES:
        each = _number(specs.get(f"{rate}_per_gb"))
        if each is not None:
            least = _number(specs.get(f"{rate}_per_gb_min")) or 0
            known[rate] = max(each * size_gb, least)
        most = _number(specs.get(f"{rate}_max_per_gb"))
        if most is not None:
            known[f"{rate}_max"] = most * size_gb
    return known


def _number(text: object) -> int | None:
    try:
        value = int(str(text))
    except ValueError:
        return None
    return value if value > 0 else None
