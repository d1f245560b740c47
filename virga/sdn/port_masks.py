"""A range of port numbers as value/mask pairs, the fewest that OpenFlow can match."""

from __future__ import annotations

PORT_BITS = 16


def port_masks(low: int, high: int) -> list[tuple[int, int]]:
    """Aligned blocks that together are exactly ``low`` to ``high``."""
    blocks = []
    while low <= high:
        size = low & -low or 1 << PORT_BITS
        while low + size - 1 > high:
            size >>= 1
        blocks.append((low, ((1 << PORT_BITS) - 1) & ~(size - 1)))
        low += size
    return blocks


def masked_ports(field: str, low: int, high: int) -> list[str]:
    """``tp_dst=0x50/0xfff0`` and the like, as Open vSwitch prints them; [] when every port is meant."""
    if low <= 0 and high >= (1 << PORT_BITS) - 1:
        return []
    return [
        f"{field}={value}" if mask == 0xFFFF else f"{field}={value:#x}/{mask:#x}"
        for value, mask in port_masks(low, high)
    ]
