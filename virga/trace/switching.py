"""Walks a stretch of layer 2 through the switches of its hosts, by the flows that are meant or by those that are there. Pure.

The flows that are meant come from the very functions that compile them for the hosts (``sdn.host``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from virga.contract.items import AnyItem, Port
from virga.sdn.flow import Flow
from virga.sdn.host import Placement, compile_host
from virga.sdn.match import Packet
from virga.sdn.network_flows import Uplink
from virga.sdn.simulate import Delivery, Switch, SwitchPort, Walk
from virga.trace.model import ICMP, ICMP6, TCP, UDP, Flight, Leg, Spot
from virga.trace.world import World

BRIDGE = "br-int"
BROADCAST = "ff:ff:ff:ff:ff:ff"
NIC = "nic "
"""Name of the simulated end of a provider bridge: ``nic br-eth1``."""


def attached(port: Port) -> str:
    """Name of the port's end on br-int."""
    if port.device_owner == "trunk:subport":
        return f"spi-{port.key[:11]}"
    return f"tpi-{port.key[:11]}" if port.trunk_id else port.device_name


@dataclass(slots=True)
class Fabric:
    """Switches of several hosts. ``nics``: host and physical network -> names of the ports towards the wire."""

    switches: dict[str, Switch] = field(default_factory=dict)
    nics: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    bridges: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(slots=True)
class Passage:
    """What became of one packet on one leg: the walks host by host, and where it came out."""

    walks: list[tuple[str, Walk]] = field(default_factory=list)
    arrived: bool = False
    left: bool = False
    """Left the first host by its NIC."""
    copies: list[Delivery] = field(default_factory=list)

    @property
    def last(self) -> Flow | None:
        return self.walks[-1][1].last if self.walks else None


# -- what is meant -------------------------------------------------------------------------------


def meant(world: World, hosts: Iterable[str], network_ids: Iterable[str]) -> Fabric:
    """As the API's objects mean it, on hosts whose numbers are made up: nothing is asked of the hosts themselves.

    Ports that a Linux bridge filters are compiled as if the switch did: rules mean the same in both.
    """
    fabric, networks = Fabric(), sorted(set(network_ids))
    for host in hosts:
        items = [_direct(item) for item in world.compiled(host, networks)]
        placement = _placement(world, items, networks)
        flows = {bridge: of.flows() for bridge, of in compile_host(items, placement).items()}
        fabric.switches[host] = Switch(flows, _made_up_ports(items, placement))
        for physical, uplink in placement.uplinks.items():
            fabric.nics[host, physical] = (NIC + uplink.bridge,)
            fabric.bridges[host, physical] = uplink.bridge
    return fabric


def _direct(item: AnyItem) -> AnyItem:
    return replace(item, plug="ovs") if isinstance(item, Port) and item.plug == "hybrid" else item


def _placement(world: World, items: list[AnyItem], networks: list[str]) -> Placement:
    ports = [item for item in items if isinstance(item, Port)]
    tags = {network: number for number, network in enumerate(networks, 1)}
    uplinks: dict[str, Uplink] = {}
    for network_id in networks:
        physical = world.networks[network_id].physical_network
        if physical and physical not in uplinks:
            number = len(uplinks)
            uplinks[physical] = Uplink(physical, f"br-{physical}", 1 + 2 * number, 2 + 2 * number)
    ofports = {port.key: 100 + number for number, port in enumerate(ports)}
    return Placement(tags=tags, ofports=ofports, uplinks=uplinks)


def _made_up_ports(items: list[AnyItem], placement: Placement) -> dict[str, list[SwitchPort]]:
    inside = [
        SwitchPort(attached(item), placement.ofports[item.key], placement.tags[item.network_id])
        for item in items
        if isinstance(item, Port)
    ]
    ports = {BRIDGE: inside}
    for uplink in placement.uplinks.values():
        inside.append(
            SwitchPort(f"int-{uplink.bridge}", uplink.int_ofport, peer=(uplink.bridge, uplink.phy_ofport))
        )
        ports[uplink.bridge] = [
            SwitchPort(f"phy-{uplink.bridge}", uplink.phy_ofport, peer=(BRIDGE, uplink.int_ofport)),
            SwitchPort(NIC + uplink.bridge, 1000),
        ]
    return ports


# -- packets -------------------------------------------------------------------------------------


def packet_of(flight: Flight, source_mac: str, destination_mac: str, *, reply: bool) -> Packet:
    six = flight.version == 6
    fields: dict[str, str | int] = {"dl_src": source_mac, "dl_dst": destination_mac}
    fields |= {("ipv6_src" if six else "nw_src"): flight.source}
    fields |= {("ipv6_dst" if six else "nw_dst"): flight.destination}
    if flight.protocol in (ICMP, ICMP6):
        kind = (129 if reply else 128) if six else (0 if reply else 8)
        return Packet.of("icmp6" if six else "icmp", None, icmp_type=kind, icmp_code=0, **fields)
    name = {TCP: "tcp", UDP: "udp"}.get(flight.protocol)
    if name is None:
        return Packet.of("ipv6" if six else "ip", None, **fields).with_fields(nw_proto=flight.protocol)
    fields |= {"tp_src": flight.source_port, "tp_dst": flight.destination_port}
    return Packet.of(name + ("6" if six else ""), None, **fields)


def question_of(leg: Leg) -> Packet | None:
    """ARP for the next address. IPv6 asks by multicast, which takes the same tables as any IPv6 packet."""
    if leg.flight.version != 4 or ":" in leg.next_hop:
        return None
    own = sender_address(leg)
    return Packet.of(
        "arp", dl_src=leg.source_mac, dl_dst=BROADCAST, arp_spa=own, arp_tpa=leg.next_hop, arp_op=1
    )


def answer_of(leg: Leg) -> Packet | None:
    if question_of(leg) is None:
        return None
    return Packet.of(
        "arp",
        dl_src=leg.destination_mac,
        dl_dst=leg.source_mac,
        arp_spa=leg.next_hop,
        arp_tpa=sender_address(leg),
        arp_op=2,
    )


def sender_address(leg: Leg) -> str:
    """By which address the sender of the leg asks: its own one of the subnet, else that of the packet."""
    port = leg.sender.port
    if port is not None:
        own = [f.ip_address for f in port.fixed_ips if (":" in f.ip_address) == (leg.flight.version == 6)]
        if own and leg.flight.source not in own:
            return own[0]
    return leg.flight.source


# -- walking -------------------------------------------------------------------------------------


def pass_leg(fabric: Fabric, leg: Leg, packet: Packet, *, backwards: bool = False) -> Passage:
    """Send a packet over a leg, from its sender to its receiver (or the other way round)."""
    sender, receiver = (leg.receiver, leg.sender) if backwards else (leg.sender, leg.receiver)
    physical = leg.network.physical_network or ""
    passage = Passage()
    switch = fabric.switches.get(sender.host)
    start = _start(fabric, sender, physical)
    if switch is None or start is None:
        return passage
    entering = packet.with_vlan(_wire_tag(leg)) if sender.outside else packet
    walk = _send(switch, start, entering)
    if walk is None:
        return passage
    passage.walks.append((sender.host, walk))
    if _is_there(fabric, receiver, physical, walk, passage):
        passage.arrived = True
        return passage
    out = [d for d in walk.deliveries if d.port.name in fabric.nics.get((sender.host, physical), ())]
    if not out or sender.host == receiver.host or sender.outside:
        return passage
    passage.left = True
    far = fabric.switches.get(receiver.host)
    names = fabric.nics.get((receiver.host, physical), ())
    if far is None or not names:
        return passage
    carried = packet.with_vlan(out[0].vlan)
    onward = _send(far, names[0], carried)
    if onward is not None:
        passage.walks.append((receiver.host, onward))
        passage.arrived = _is_there(fabric, receiver, physical, onward, passage)
    return passage


def _wire_tag(leg: Leg) -> int | None:
    return None if leg.network.network_type == "flat" else leg.network.segmentation_id


def _start(fabric: Fabric, sender: Spot, physical: str) -> str | None:
    if sender.port is not None:
        return attached(sender.port)
    names = fabric.nics.get((sender.host, physical), ())
    return names[0] if names else None


def _send(switch: Switch, name: str, packet: Packet) -> Walk | None:
    try:
        return switch.send(name, packet)
    except KeyError:
        return None


def _is_there(fabric: Fabric, receiver: Spot, physical: str, walk: Walk, passage: Passage) -> bool:
    names = (
        (attached(receiver.port),)
        if receiver.port is not None
        else fabric.nics.get((receiver.host, physical), ())
    )
    return any(delivery.port.name in names for delivery in walk.deliveries)
