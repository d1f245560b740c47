"""What managers may ask of the layer 2 drivers; the real ones and the ones in memory both offer it.

Keys are the kernel's names: of a namespace, a device or an OVS port. ``outcome(key)`` says what
became of a wish.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from virga.agent.drivers.shapers import Shaper
from virga.agent.protocol import Driver
from virga.agent.wishes import Outcome
from virga.sdn.flow import Flow
from virga.sdn.qos_flows import Meter

Wake = Callable[[], None]
"""Asks the loop for a round; may be called from any thread."""


Listener = Callable[[str], None]


class NamespaceWishes(Driver, Protocol):
    """Named network namespaces."""

    def want(self, name: str, present: bool) -> None:
        """The namespace is to be there (with ``lo`` up), or nobody here wants it any more."""

    def outcome(self, name: str) -> Outcome: ...


class LinkWishes(Driver, Protocol):
    """Network devices."""

    def want_veth(
        self, name: str, peer: str, peer_namespace: str | None, mac: str | None = None, mtu: int = 1500
    ) -> None:
        """A pair: ``name`` on the host, ``peer`` (with ``mac``) inside the namespace, or on the host for None.

        Both ends up, transmit checksum offload off on both. Both may have the same name.
        """

    def want_tap(self, name: str, mtu: int = 1500) -> None:
        """A persistent tap, without vnet_hdr, for an emulator that opens it by name."""

    def want_bridge(self, name: str, members: Collection[str], mtu: int = 1500) -> None:
        """A Linux bridge with these devices in it."""

    def unwant(self, name: str) -> None:
        """Nobody here wants the device (pair, bridge) any more."""

    def is_wanted(self, name: str) -> bool: ...

    def listen(self, listener: Listener) -> None:
        """Call it with each device that is wanted from now on, or no longer."""

    def outcome(self, name: str) -> Outcome: ...

    def realised(self, name: str) -> bool:
        """True when the device is wanted and there, as wanted."""


class LeakWishes(Driver, Protocol):
    """Devices whose frames the host's kernel must not see."""

    def want(self, device: str, closed: bool) -> None: ...

    def outcome(self, device: str) -> Outcome: ...


class ShaperWishes(Driver, Protocol):
    """Limits of what devices receive."""

    def want(self, device: str, shaper: Shaper | None) -> None: ...

    def outcome(self, device: str) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class WantedBridge:
    """An Open vSwitch bridge."""

    name: str
    mac_table_size: int = 50000


@dataclass(frozen=True, slots=True)
class WantedPort:
    """A port of an Open vSwitch bridge. The interface has the port's name."""

    bridge: str
    name: str
    type: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    tag: int | None = None
    vlan_mode: str = ""
    external_ids: Mapping[str, str] = field(default_factory=dict)
    """Of the interface: ``iface-id``, ``attached-mac``, ``iface-status``, ``vm-uuid``."""
    other_config: Mapping[str, str] = field(default_factory=dict)
    """Of the port: ``net_uuid``, ``network_type``, ``physical_network``, ``segmentation_id``, ``tag``."""


@dataclass(frozen=True, slots=True)
class LocalVlan:
    """A tag of this host, as an OVS port that has it remembers."""

    network_id: str
    tag: int


class SwitchWishes(Driver, Protocol):
    """Open vSwitch bridges and ports, by OVSDB."""

    def want_bridge(self, wanted: WantedBridge) -> None: ...
    def unwant_bridge(self, name: str) -> None: ...
    def want_port(self, wanted: WantedPort) -> None: ...
    def unwant_port(self, name: str) -> None: ...
    def ofport(self, name: str) -> int | None:
        """OpenFlow number of a realised port; None while it has none."""

    def listen(self, listener: Listener) -> None:
        """Call it with each port whose OpenFlow number is another one now, or gone."""

    def local_vlans(self) -> Iterable[LocalVlan]:
        """Tags that ports remember, ours from before a restart included."""

    def outcome(self, name: str) -> Outcome: ...


class FlowWishes(Driver, Protocol):
    """OpenFlow tables of the bridges."""

    def want(self, bridge: str, owner: str, flows: Iterable[Flow]) -> None:
        """``owner`` (such as ``port/<id>``) contributes exactly these flows to the bridge; none takes all back."""

    def want_meters(self, bridge: str, owner: str, meters: Iterable[Meter]) -> None:
        """``owner`` needs exactly these meters; the flows that name them come later."""

    def owner_outcome(self, bridge: str, owner: str) -> Outcome: ...

    def forget(self, bridge: str) -> None:
        """The bridge goes: its flows are nobody's business any more."""

    def forget_connections(self, bridge: str, zone: int) -> None:
        """The zone will mean another network: no connection of this one may be known in it."""
