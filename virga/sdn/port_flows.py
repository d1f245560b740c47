"""Flows of one port: where it is, who it may say it is, and what reaches it. Rules are in security_group_flows."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from virga.contract.items import Port
from virga.sdn import qos_flows
from virga.sdn import tables as t
from virga.sdn.flow import Flow, cookie_of

EVERYTHING = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True)
class PlacedPort:
    """A port as this host has it."""

    item: Port
    ofport: int
    tag: int
    stateless: bool = False
    """Its security groups are stateless: no connection tracking for it."""

    @property
    def filtered(self) -> bool:
        """Guards and rules apply on br-int: instances with port security, plugged directly."""
        return is_filtered(self.item)


@dataclass(frozen=True, slots=True)
class Source:
    """A pair of addresses that a port may use as source. ``network`` in OVS's spelling, empty for any."""

    mac: str
    network: str
    version: int


def is_trusted(port: Port) -> bool:
    """Ports of the network itself: routers, DHCP, load balancers."""
    return port.device_owner.startswith(("network:", "neutron:"))


def is_filtered(port: Port) -> bool:
    """On br-int. A sub-port of a trunk never has a Linux bridge of its own."""
    bridged = port.plug == "hybrid" and port.device_owner != "trunk:subport"
    return port.port_security_enabled and not is_trusted(port) and not bridged


def link_local(mac: str) -> str:
    """The IPv6 address that a guest makes of its MAC."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    interface = bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]])
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + interface))


def sources(port: Port) -> list[Source]:
    """Everything that the port may put as source: its addresses, its pairs, and link-local ones."""
    pairs = [(port.mac_address, ip.ip_address) for ip in port.fixed_ips]
    pairs += [(pair.mac_address or port.mac_address, pair.ip_address) for pair in port.allowed_address_pairs]
    macs = dict.fromkeys([port.mac_address, *(mac for mac, _ in pairs)])
    pairs += [(mac, link_local(mac)) for mac in macs]
    return list(dict.fromkeys(_source(mac.lower(), address) for mac, address in pairs))


def _source(mac: str, address: str) -> Source:
    network = ipaddress.ip_network(address, strict=False)
    text = "" if str(network) in EVERYTHING else canonical(network)
    return Source(mac, text, network.version)


def canonical(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    """As Open vSwitch prints it: a host without its prefix length."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def port_flows(port: PlacedPort) -> list[Flow]:
    """All flows of the port but its rules. None at all when it is administratively down."""
    if not port.item.admin_state_up:
        return []
    entry = qos_flows.entry_flows(port.item, port.ofport)
    if port.filtered:
        return [*entry, *_filtered_place(port), *_guards(port)]
    if port.item.plug == "hybrid" and port.item.port_security_enabled:
        return [*entry, *_open_place(port), *_hybrid_guards(port)]
    return [*entry, *_open_place(port)]


def _macs(port: PlacedPort) -> Iterable[str]:
    pairs = (p.mac_address for p in port.item.allowed_address_pairs if p.mac_address)
    return dict.fromkeys(mac.lower() for mac in (port.item.mac_address, *pairs))


def _set_registers(port: PlacedPort) -> str:
    return f"set_field:{port.ofport:#x}->reg5,set_field:{port.tag:#x}->reg6"


def _filtered_place(port: PlacedPort) -> list[Flow]:
    cookie, registers = cookie_of(port.item.key), _set_registers(port)
    sending = qos_flows.sending(port.item, port.ofport)
    flows = [
        Flow(
            t.TRANSIENT,
            100,
            f"in_port={port.ofport}",
            f"{sending}{registers},resubmit(,{t.EGRESS_BASE})",
            cookie,
        )
    ]
    lookup, metered = t.EGRESS_ACCEPTED_LOOKUP, qos_flows.delivering(port.item, port.ofport)
    for mac in _macs(port):
        here = f"reg6={port.tag:#x},dl_dst={mac}"
        deliver = f"set_field:{port.ofport:#x}->reg5,resubmit(,{t.INGRESS_BASE})"
        arrival = f"{metered}{registers},pop_vlan,resubmit(,{t.INGRESS_BASE})"
        flows += [
            Flow(t.TRANSIENT, 90, f"dl_vlan={port.tag},dl_dst={mac}", arrival, cookie),
            Flow(lookup, 100, here, metered + deliver, cookie),
        ]
        if port.stateless:
            commit = f"{metered}ct(commit,{t.ZONE}),{deliver}"
            flows += [
                Flow(lookup, 101, f"ct_state=+new-est,{family},{here}", commit, cookie)
                for family in ("ip", "ipv6")
            ]
    if port.stateless:
        untracked = f"ct_clear,resubmit(,{t.INGRESS_RULES})"
        flows += [
            Flow(t.INGRESS_BASE, 93, f"{family},reg5={port.ofport:#x}", untracked, cookie)
            for family in ("ip", "ipv6")
        ]
    return flows


def _open_place(port: PlacedPort) -> list[Flow]:
    """No guards: a router, DHCP, a port without port security, or one that iptables filters."""
    cookie = cookie_of(port.item.key)
    sending, metered = (make(port.item, port.ofport) for make in (qos_flows.sending, qos_flows.delivering))
    into = f"{sending}{_set_registers(port)},resubmit(,{t.EGRESS_ACCEPTED_LOOKUP})"
    flows = [Flow(t.TRANSIENT, 100, f"in_port={port.ofport}", into, cookie)]
    for mac in _macs(port):
        arrival = f"{metered}pop_vlan,output:{port.ofport}"
        output = f"{metered}output:{port.ofport}"
        flows += [
            Flow(t.TRANSIENT, 90, f"dl_vlan={port.tag},dl_dst={mac}", arrival, cookie),
            Flow(t.EGRESS_OUTPUT, 12, f"reg6={port.tag:#x},dl_dst={mac}", output, cookie),
        ]
    return flows


def _guards(port: PlacedPort) -> list[Flow]:
    """Only what the port may say of itself gets on; anything else meets the drop of table 71."""
    base, cookie = t.EGRESS_BASE, cookie_of(port.item.key)
    who = f"reg5={port.ofport:#x},in_port={port.ofport}"
    onward = f"resubmit(,{t.EGRESS_ACCEPTED_LOOKUP})"
    flows = []
    for mac in _macs(port):
        flows.append(Flow(base, 95, f"rarp,{who},dl_src={mac}", onward, cookie))
        boot = f"udp,{who},dl_src={mac},nw_src=0.0.0.0,tp_src=68,tp_dst=67"
        flows.append(Flow(base, 80, boot, f"resubmit(,{t.EGRESS_ACCEPTED_LOOKUP})", cookie))
    for source in sources(port.item):
        if source.version == 4:
            flows += _guard_v4(port, source, who)
        else:
            flows += _guard_v6(port, source, who)
    return flows


def _hybrid_guards(port: PlacedPort) -> list[Flow]:
    """What iptables on the Linux bridge cannot see: ARP, neighbour advertisements, the MAC of any frame."""
    cookie, who = cookie_of(port.item.key), f"in_port={port.ofport}"
    onward, place = f"resubmit(,{t.MAC_SPOOF})", f"resubmit(,{t.TRANSIENT})"
    flows = [
        Flow(t.CLASSIFIER, 10, f"arp,{who}", f"resubmit(,{t.ARP_SPOOF})", cookie),
        Flow(t.CLASSIFIER, 10, f"icmp6,{who},icmp_type=136", f"resubmit(,{t.ARP_SPOOF})", cookie),
        Flow(t.CLASSIFIER, 9, who, onward, cookie),
    ]
    flows += [Flow(t.MAC_SPOOF, 2, f"{who},dl_src={mac}", place, cookie) for mac in _macs(port)]
    for network in dict.fromkeys((source.version, source.network) for source in sources(port.item)):
        version, address = network
        if version == 4:
            match = f"arp,{who}" + (f",arp_spa={address}" if address else "")
        else:
            match = f"icmp6,{who},icmp_type=136" + (f",nd_target={address}" if address else "")
        flows.append(Flow(t.ARP_SPOOF, 2, match, onward, cookie))
    return flows


def _tracked(port: PlacedPort) -> str:
    return f"resubmit(,{t.EGRESS_RULES})" if port.stateless else f"ct(table={t.EGRESS_RULES},{t.ZONE})"


def _guard_v4(port: PlacedPort, source: Source, who: str) -> list[Flow]:
    cookie, sender = cookie_of(port.item.key), f"{who},dl_src={source.mac}"
    spa = f",arp_spa={source.network}" if source.network else ""
    src = f",nw_src={source.network}" if source.network else ""
    onward = f"resubmit(,{t.EGRESS_ACCEPTED_LOOKUP})"
    return [
        Flow(t.EGRESS_BASE, 95, f"arp,{sender}{spa}", onward, cookie),
        Flow(t.EGRESS_BASE, 65, f"ip,{sender}{src}", _tracked(port), cookie),
    ]


def _guard_v6(port: PlacedPort, source: Source, who: str) -> list[Flow]:
    cookie, onward = cookie_of(port.item.key), f"resubmit(,{t.EGRESS_ACCEPTED_LOOKUP})"
    src = f",ipv6_src={source.network}" if source.network else ""
    target = f",nd_target={source.network}" if source.network else ""
    sender = f"{who},dl_src={source.mac}"
    return [
        Flow(t.EGRESS_BASE, 95, f"icmp6,{who},icmp_type=136{target}", onward, cookie),
        Flow(t.EGRESS_BASE, 95, f"icmp6,{sender},ipv6_src=::,icmp_type=135{target}", onward, cookie),
        Flow(t.EGRESS_BASE, 65, f"ipv6,{sender}{src}", _tracked(port), cookie),
    ]
