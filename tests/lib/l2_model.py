"""A simulated host made of the compiled flows of some items: ask who reaches whom without a kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.lib.l2_world import Guest
from virga.contract.items import AnyItem, Network, Port
from virga.sdn.host import Placement, compile_host
from virga.sdn.match import Packet
from virga.sdn.network_flows import Uplink
from virga.sdn.simulate import Switch, SwitchPort, Walk

BROADCAST = "ff:ff:ff:ff:ff:ff"
UPLINK = Uplink("physnet1", "br-eth1", 900, 901)
FAR_MAC = "fa:16:3e:fe:fe:fe"


class Model:
    """One host with an uplink ``eth1`` for physnet1. Guests are named by their number, others by port id."""

    def __init__(self, items: Sequence[AnyItem]) -> None:
        ports = [item for item in items if isinstance(item, Port)]
        networks = [item for item in items if isinstance(item, Network)]
        self.tags = {network.key: tag for tag, network in enumerate(networks, 1)}
        self.ofports = {port.key: number for number, port in enumerate(ports, 1)}
        placement = Placement(self.tags, self.ofports, {"physnet1": UPLINK})
        self.sets = compile_host(items, placement)
        inside = [
            SwitchPort(port.key, self.ofports[port.key], self.tags.get(port.network_id)) for port in ports
        ]
        patch = SwitchPort("int-br-eth1", UPLINK.int_ofport, None, ("br-eth1", UPLINK.phy_ofport))
        outside = [
            SwitchPort("phy-br-eth1", UPLINK.phy_ofport, None, ("br-int", UPLINK.int_ofport)),
            SwitchPort("eth1", 1),
        ]
        flows = {bridge: found.flows() for bridge, found in self.sets.items()}
        self.switch = Switch(flows, {"br-int": [*inside, patch], "br-eth1": outside})

    def send(self, source: Guest, protocol: str, to: Guest | str, **fields: str | int) -> Walk:
        """A packet of the guest, with its own addresses unless told otherwise."""
        mac = to.mac if isinstance(to, Guest) else FAR_MAC
        address = to.address if isinstance(to, Guest) else to
        values: dict[str, str | int] = {
            "dl_src": source.mac,
            "dl_dst": mac,
            "nw_src": source.address,
            "nw_dst": address,
            "tp_src": 40000,
            **fields,
        }
        vlan = values.pop("vlan", None)
        assert vlan is None or isinstance(vlan, int)
        return self.switch.send(source.port.key, Packet.of(protocol, vlan, **values))

    def arrive(self, protocol: str, vlan: int | None, **fields: str | int) -> Walk:
        """A packet from the wire."""
        return self.switch.send("eth1", Packet.of(protocol, vlan, **fields))

    def reaches(self, source: Guest, protocol: str, to: Guest, **fields: str | int) -> bool:
        return to.port.key in self.send(source, protocol, to, **fields).reached

    def answered(self, source: Guest, to: Guest, port: int) -> bool:
        """A TCP connection: the first packet arrives and so does the answer."""
        if not self.reaches(source, "tcp", to, tp_dst=port):
            return False
        return self.reaches(to, "tcp", source, tp_src=port, tp_dst=40000)


def keys(items: Iterable[Guest]) -> set[str]:
    return {guest.port.key for guest in items}
