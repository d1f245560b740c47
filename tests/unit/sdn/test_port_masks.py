"""Port ranges as masks: exact, disjoint and few, for every range."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from virga.sdn.port_masks import masked_ports, port_masks

PORTS = st.integers(0, 65535)


@given(PORTS, PORTS, st.lists(PORTS, max_size=50))
def test_a_port_is_in_one_block_exactly_when_it_is_in_the_range(a: int, b: int, more: list[int]) -> None:
    low, high = min(a, b), max(a, b)
    blocks = port_masks(low, high)
    for port in {low, high, max(low - 1, 0), min(high + 1, 65535), *more}:
        assert sum(port & mask == value for value, mask in blocks) == (low <= port <= high)
    assert sum((~mask & 0xFFFF) + 1 for _, mask in blocks) == high - low + 1
    assert len(blocks) <= 30


def test_spelling_is_that_of_open_vswitch() -> None:
    assert masked_ports("tp_dst", 80, 95) == ["tp_dst=0x50/0xfff0"]
    assert masked_ports("tp_dst", 22, 22) == ["tp_dst=22"]
    assert masked_ports("tp_dst", 0, 65535) == []
