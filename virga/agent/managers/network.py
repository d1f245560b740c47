"""Bridges, uplinks and networks of this host.

NIC -- br-eth1 -- phy-br-eth1 <=> int-br-eth1 -- br-int -- ports, each with its network's local tag
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from virga.agent.config import AgentConfig
from virga.agent.drivers.interfaces import FlowWishes, LeakWishes, SwitchWishes, WantedBridge, WantedPort
from virga.agent.local_vlans import LocalVlans
from virga.contract.items import AnyItem, Network
from virga.contract.messages import Report
from virga.lib.log import log_for
from virga.sdn import base_flows
from virga.sdn.flow import Flow
from virga.sdn.network_flows import (
    PlacedNetwork,
    Uplink,
    on_integration,
    on_provider,
    uplink_on_integration,
    uplink_on_provider,
)

log = log_for(__name__)

Listener = Callable[[str], None]
DEVICE_NAME_MAX = 15
TUNNELS = ("vxlan", "geneve", "gre")


def patch_names(bridge: str) -> tuple[str, str]:
    """``int-br-X`` and ``phy-br-X``, cut as the kernel's names are."""
    return f"int-{bridge}"[:DEVICE_NAME_MAX], f"phy-{bridge}"[:DEVICE_NAME_MAX]


class NetworkManager:
    """Knows each network's tag; others ask it."""

    name = "network"
    kinds: tuple[str, ...] = ("network",)

    def __init__(
        self, config: AgentConfig, leak: LeakWishes, switch: SwitchWishes, flows: FlowWishes
    ) -> None:
        self._config = config
        self._leak = leak
        self._switch = switch
        self._flows = flows
        self._vlans = LocalVlans()
        self._networks: dict[str, Network] = {}
        self._flooded: set[str] = set()
        self._stale: set[str] = set()
        self._uplinks: dict[str, Uplink] = {}
        self._listeners: list[Listener] = []
        self._started = False

    # -- what others ask ---------------------------------------------------------------------------

    @property
    def integration_bridge(self) -> str:
        return self._config.integration_bridge

    def network(self, network_id: str) -> Network | None:
        return self._networks.get(network_id)

    def tag(self, network_id: str) -> int:
        return self._vlans.tag(network_id)

    def remembered(self, network_id: str) -> dict[str, str]:
        """``Port.other_config`` of a port of this network, in Neutron's words."""
        network = self._networks[network_id]
        config = {
            "net_uuid": network_id,
            "network_type": network.network_type,
            "physical_network": str(network.physical_network),
            "tag": str(self.tag(network_id)),
        }
        if network.segmentation_id is not None:
            config["segmentation_id"] = str(network.segmentation_id)
        return config

    def refusal(self, network_id: str) -> str:
        """Why this host cannot carry the network; empty when it can."""
        network = self._networks[network_id]
        if network.physical_network and network.physical_network not in self._config.bridge_mappings:
            return f"no bridge of this host is mapped to physical network {network.physical_network}"
        if network.network_type in TUNNELS and network.network_type not in self._config.tunnel_types:
            return f"this host builds no {network.network_type} tunnels"
        return ""

    def set_flooded(self, network_id: str, flooded: bool) -> None:
        """Whether addresses that nobody knows may be behind a port here."""
        if flooded != (network_id in self._flooded):
            (self._flooded.add if flooded else self._flooded.discard)(network_id)
            self._stale.add(network_id)

    def listen(self, listener: Listener) -> None:
        """Be told the id of each network that changed."""
        self._listeners.append(listener)

    # -- Manager -----------------------------------------------------------------------------------

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        if isinstance(item, Network):
            self._networks[key] = item
        else:
            self._networks.pop(key, None)
        self._stale.add(key)
        for listener in self._listeners:
            listener(key)

    def resolve(self) -> None:
        if not self._started:
            self._start()
        self._find_uplinks()
        for key in sorted(self._stale):
            self._place(key)
        self._stale.clear()

    def reports(self) -> Sequence[Report]:
        return []

    # -- its own -----------------------------------------------------------------------------------

    def _start(self) -> None:
        """Once, before anything else: bridges with everything dropped, and the tags of a former life."""
        self._started = True
        self._vlans.adopt(self._switch.local_vlans())
        for network_id in self._vlans.unclaimed(self._networks):
            self._vlans.release(network_id)
        bridge = self.integration_bridge
        self._switch.want_bridge(WantedBridge(bridge))
        self._flows.want(bridge, "base", base_flows.integration_bridge())
        for provider in dict.fromkeys(self._config.bridge_mappings.values()):
            self._want_provider_bridge(provider)

    def _want_provider_bridge(self, provider: str) -> None:
        inner, outer = patch_names(provider)
        self._switch.want_bridge(WantedBridge(provider))
        self._flows.want(provider, "base", base_flows.provider_bridge())
        self._switch.want_port(
            WantedPort(self.integration_bridge, inner, type="patch", options={"peer": outer})
        )
        self._switch.want_port(WantedPort(provider, outer, type="patch", options={"peer": inner}))
        for nic in self._config.bridge_nics.get(provider, ()):
            self._leak.want(nic, True)
            self._switch.want_port(WantedPort(provider, nic))

    def _find_uplinks(self) -> None:
        """Patch ports get their numbers from the switch; a new number concerns every network behind it."""
        for physical_network, provider in self._config.bridge_mappings.items():
            inner, outer = (self._switch.ofport(name) for name in patch_names(provider))
            if inner is None or outer is None:
                continue
            uplink = Uplink(physical_network, provider, inner, outer)
            if self._uplinks.get(physical_network) == uplink:
                continue
            self._uplinks[physical_network] = uplink
            owner = f"uplink/{provider}"
            self._flows.want(self.integration_bridge, owner, uplink_on_integration(uplink))
            self._flows.want(provider, owner, uplink_on_provider(uplink))
            behind = [n.key for n in self._networks.values() if n.physical_network == physical_network]
            self._stale.update(behind)

    def _place(self, key: str) -> None:
        network, owner = self._networks.get(key), f"network/{key}"
        inside: list[Flow] = []
        outside: list[Flow] = []
        uplink = None
        if network is None:
            tag = self._vlans.release(key)
            if tag is not None:
                self._flows.forget_connections(self.integration_bridge, tag)
        else:
            uplink = self._uplinks.get(network.physical_network or "")
            placed = PlacedNetwork(network, self._vlans.tag(key), uplink, key in self._flooded)
            inside, outside = on_integration(placed), on_provider(placed)
        self._flows.want(self.integration_bridge, owner, inside)
        for provider in dict.fromkeys(self._config.bridge_mappings.values()):
            here = uplink is not None and uplink.bridge == provider
            self._flows.want(provider, owner, outside if here else [])
