"""Flows of one network on one host: its segmentation id to the local tag, and back."""

from __future__ import annotations

from dataclasses import dataclass

from virga.contract.items import Network
from virga.sdn import tables as t
from virga.sdn.flow import Flow, cookie_of

VLAN_PRESENT = 0x1000
UNTAGGED = "vlan_tci=0x0000/0x1fff"


@dataclass(frozen=True, slots=True)
class Uplink:
    """The pair of ports that joins br-int and a provider bridge."""

    physical_network: str
    bridge: str
    int_ofport: int
    """int-br-X, on br-int."""
    phy_ofport: int
    """phy-br-X, on the provider bridge."""


@dataclass(frozen=True, slots=True)
class PlacedNetwork:
    """A network as this host has it. ``flooded``: unknown addresses may be behind a port here."""

    item: Network
    tag: int
    uplink: Uplink | None
    flooded: bool = False


def uplink_on_integration(uplink: Uplink) -> list[Flow]:
    """What comes by the uplink and belongs to no network of this host is dropped."""
    return [
        Flow(t.CLASSIFIER, 2, f"in_port={uplink.int_ofport}", "drop", t.STATIC_COOKIE),
        Flow(t.TRANSIENT, 2, f"in_port={uplink.int_ofport}", "NORMAL", t.STATIC_COOKIE),
    ]


def uplink_on_provider(uplink: Uplink) -> list[Flow]:
    """Local tags that are no network of this uplink never get out."""
    return [Flow(t.CLASSIFIER, 2, f"in_port={uplink.phy_ofport}", "drop", t.STATIC_COOKIE)]


def on_integration(network: PlacedNetwork) -> list[Flow]:
    """Into br-int: translate to the local tag. Out of it: what is no MAC of ours goes only to the uplink."""
    cookie, vid = cookie_of(network.item.key), VLAN_PRESENT | network.tag
    flows = []
    if network.uplink is not None:
        arrival = f"in_port={network.uplink.int_ofport}"
        to_tag = f"set_field:{vid}->vlan_vid,resubmit(,{t.TRANSIENT})"
        if network.item.network_type == "flat":
            flows.append(Flow(t.CLASSIFIER, 3, f"{arrival},{UNTAGGED}", f"push_vlan:0x8100,{to_tag}", cookie))
        else:
            match = f"{arrival},dl_vlan={network.item.segmentation_id}"
            flows.append(Flow(t.CLASSIFIER, 3, match, to_tag, cookie))
    if not network.flooded:
        match = f"reg6={network.tag:#x},dl_dst={t.UNICAST}"
        flows.append(Flow(t.EGRESS_OUTPUT, 10, match, _to_uplink(network, vid), cookie))
    return flows


def on_provider(network: PlacedNetwork) -> list[Flow]:
    """Out of phy-br-X: the local tag becomes the segmentation id, or goes."""
    if network.uplink is None:
        return []
    match = f"in_port={network.uplink.phy_ofport},dl_vlan={network.tag}"
    if network.item.network_type == "flat":
        actions = "pop_vlan,NORMAL"
    else:
        actions = f"set_field:{VLAN_PRESENT | (network.item.segmentation_id or 0)}->vlan_vid,NORMAL"
    return [Flow(t.CLASSIFIER, 4, match, actions, cookie_of(network.item.key))]


def _to_uplink(network: PlacedNetwork, vid: int) -> str:
    if network.uplink is None:
        return "drop"
    return f"push_vlan:0x8100,set_field:{vid}->vlan_vid,output:{network.uplink.int_ofport}"
