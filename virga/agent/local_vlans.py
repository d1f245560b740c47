"""Local VLAN tags of this host: one a network, remembered by the switch itself.

A tag is not given out again soon after it was given back, so that nothing left of the old network
meets the new one.
"""

from __future__ import annotations

from collections.abc import Iterable

from virga.agent.drivers.interfaces import LocalVlan

FIRST, LAST = 1, 4094


class LocalVlans:
    """Network id -> tag."""

    def __init__(self) -> None:
        self._tags: dict[str, int] = {}
        self._last = FIRST - 1

    def adopt(self, remembered: Iterable[LocalVlan]) -> None:
        """What the switch remembers from before a restart. Of two networks on one tag the first keeps it."""
        for vlan in sorted(remembered, key=lambda v: (v.tag, v.network_id)):
            if FIRST <= vlan.tag <= LAST and vlan.tag not in self._tags.values():
                self._tags.setdefault(vlan.network_id, vlan.tag)
                self._last = max(self._last, vlan.tag)

    def tag(self, network_id: str) -> int:
        """The network's tag; a new network gets the next free one. ValueError when none is left."""
        known = self._tags.get(network_id)
        if known is not None:
            return known
        taken = set(self._tags.values())
        for step in range(LAST):
            tag = (self._last + step) % LAST + 1
            if tag not in taken:
                self._tags[network_id] = self._last = tag
                return tag
        raise ValueError(f"network {network_id}: all {LAST} local VLAN tags of this host are in use")

    def release(self, network_id: str) -> int | None:
        """The network is not on this host any more."""
        return self._tags.pop(network_id, None)

    def unclaimed(self, networks: Iterable[str]) -> list[str]:
        """Networks that have a tag and are none of these."""
        return sorted(self._tags.keys() - set(networks))
