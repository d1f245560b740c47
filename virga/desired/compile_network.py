"""Facts of the Network service into items for hosts. Pure: no database, no clock, no order of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from virga.contract.items import (
    AddressGroup,
    AddressPair,
    DhcpHost,
    DhcpNetwork,
    DhcpOption,
    DhcpSubnet,
    FixedIp,
    FloatingIp,
    GroupMember,
    HostRoute,
    MeterRule,
    Network,
    Port,
    PortForwarding,
    PortQos,
    Router,
    RouterMeter,
    RouterPort,
    RouterSubnet,
    Rule,
    SecurityGroup,
    SubPort,
)
from virga.desired.facts import (
    FloatingFact,
    ForwardingFact,
    GroupFact,
    LabelFact,
    NetworkFact,
    PortFact,
    QosFact,
    RouterFact,
    RuleFact,
    SubnetFact,
)

Subnets = Mapping[str, SubnetFact]
Ports = Mapping[str, PortFact]

NAME_LENGTH = 11
PROTOCOLS = {
    "ah": 51,
    "dccp": 33,
    "egp": 8,
    "esp": 50,
    "gre": 47,
    "hopopt": 0,
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "ipv6-encap": 41,
    "ipv6-frag": 44,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ipv6-route": 43,
    "ospf": 89,
    "pgm": 113,
    "rsvp": 46,
    "sctp": 132,
    "tcp": 6,
    "udp": 17,
    "udplite": 136,
    "vrrp": 112,
}


def device_name(fact: PortFact) -> str:
    """The kernel name of the port's end on br-int."""
    short = fact.id[:NAME_LENGTH]
    if fact.is_router_interface:
        return "qr-" + short
    if fact.device_owner == "network:router_gateway":
        return "qg-" + short
    return ("qvo" if plug(fact) == "hybrid" else "tap") + short


def plug(fact: PortFact) -> str:
    if fact.is_router or fact.device_owner == "network:dhcp":
        return "veth"
    return "hybrid" if fact.hybrid else "ovs"


def network(fact: NetworkFact) -> Network:
    return Network(
        key=fact.id,
        network_type=fact.network_type,
        physical_network=fact.physical_network,
        segmentation_id=fact.segmentation_id,
        mtu=fact.mtu,
    )


def fixed_ips(fact: PortFact, subnets: Subnets) -> list[FixedIp]:
    return [
        FixedIp(subnet_id, address, subnets[subnet_id].prefixlen)
        for subnet_id, address in fact.fixed_ips
        if subnet_id in subnets
    ]


def port_qos(fact: PortFact, policy: QosFact | None) -> PortQos | None:
    """What a policy means for the port; None when it says nothing that hosts do."""
    values: dict[str, int] = {}
    for rule in policy.rules if policy else ():
        if rule.type == "dscp_marking":
            values["dscp_mark"] = rule.limit
        else:
            unit = "kbps" if rule.type == "bandwidth_limit" else "kpps"
            values[f"{rule.direction}_{unit}"] = rule.limit
            values[f"{rule.direction}_burst_{unit}"] = rule.burst
    return PortQos(**values) if values else None


def port(fact: PortFact, subnets: Subnets, ports: Ports, policy: QosFact | None = None) -> Port:
    return Port(
        key=fact.id,
        network_id=fact.network_id,
        mac_address=fact.mac_address,
        device_name=device_name(fact),
        device_owner=fact.device_owner,
        device_id=fact.device_id,
        admin_state_up=fact.admin_state_up,
        plug=plug(fact),
        fixed_ips=fixed_ips(fact, subnets),
        allowed_address_pairs=[AddressPair(ip, mac) for ip, mac in fact.pairs],
        port_security_enabled=fact.security,
        security_group_ids=list(fact.groups),
        sub_ports=[
            SubPort(s.port_id, ports[s.port_id].network_id, s.segmentation_id, ports[s.port_id].mac_address)
            for s in sorted(fact.sub_ports, key=lambda s: s.segmentation_id)
            if s.port_id in ports
        ],
        trunk_id=fact.trunk_id,
        qos=port_qos(fact, policy),
    )


def protocol_number(rule: RuleFact) -> int | None:
    """The number on the wire; ``icmp`` in an IPv6 rule means ICMPv6."""
    name = rule.protocol
    if name is None or name in ("any", "ip"):
        return None
    number = int(name) if name.isdecimal() else PROTOCOLS[name]
    return 58 if number == 1 and rule.ethertype == "IPv6" else number


def security_group(fact: GroupFact) -> SecurityGroup:
    return SecurityGroup(
        key=fact.id,
        stateful=fact.stateful,
        rules=[
            Rule(
                id=rule.id,
                direction=rule.direction,
                ethertype=rule.ethertype,
                protocol=protocol_number(rule),
                port_range_min=rule.port_range_min,
                port_range_max=rule.port_range_max,
                remote_ip_prefix=rule.remote_ip_prefix,
                remote_group_id=rule.remote_group_id,
                remote_address_group_id=rule.remote_address_group_id,
            )
            for rule in fact.rules
        ],
    )


def as_cidr(address: str) -> str:
    if "/" in address:
        return address
    return f"{address}/{128 if ':' in address else 32}"


def group_member(group_id: str, fact: PortFact) -> GroupMember:
    addresses = {as_cidr(address) for _, address in fact.fixed_ips} | {as_cidr(ip) for ip, _ in fact.pairs}
    return GroupMember(key=f"{group_id}/{fact.id}", group_id=group_id, addresses=sorted(addresses))


def address_group(group_id: str, addresses: Sequence[str]) -> AddressGroup:
    return AddressGroup(key=group_id, addresses=list(addresses))


def served_by_router(subnet: SubnetFact, interfaces: Iterable[PortFact]) -> bool:
    """A router holds the gateway address of the subnet, so metadata is reached through it."""
    return any((subnet.id, subnet.gateway_ip) in fact.fixed_ips for fact in interfaces)


def dhcp_network(
    net: NetworkFact,
    own: PortFact,
    subnets: Sequence[SubnetFact],
    interfaces: Mapping[str, Sequence[PortFact]],
    dns_domain: str,
    lease_seconds: int,
) -> DhcpNetwork:
    """``interfaces``: subnet id to the router ports in it."""
    by_id = {s.id: s for s in subnets}
    return DhcpNetwork(
        key=net.id,
        port_id=own.id,
        mac_address=own.mac_address,
        device_name=device_name(own),
        fixed_ips=fixed_ips(own, by_id),
        subnets=[
            DhcpSubnet(
                subnet_id=s.id,
                cidr=s.cidr,
                ip_version=s.ip_version,
                enable_dhcp=s.enable_dhcp,
                gateway_ip=s.gateway_ip,
                dns_nameservers=list(s.dns_nameservers),
                host_routes=[HostRoute(d, n) for d, n in s.host_routes],
                ipv6_address_mode=s.ipv6_address_mode,
                ipv6_ra_mode=s.ipv6_ra_mode,
                metadata_route=s.ip_version == 4 and not served_by_router(s, interfaces.get(s.id, ())),
            )
            for s in sorted(subnets, key=lambda s: s.id)
        ],
        mtu=net.mtu,
        dns_domain=dns_domain.strip("."),
        lease_seconds=lease_seconds,
    )


def dhcp_host(fact: PortFact, subnets: Subnets) -> DhcpHost:
    first = fact.fixed_ips[0][1]
    name = fact.dns_name.split(".", 1)[0] or "host-" + first.replace(".", "-").replace(":", "-")
    return DhcpHost(
        key=fact.id,
        network_id=fact.network_id,
        mac_address=fact.mac_address,
        hostname=name,
        fixed_ips=fixed_ips(fact, subnets),
        options=[DhcpOption(n, v, version) for n, v, version in fact.dhcp_options if v is not None],
        leases=not fact.device_owner.startswith("network:"),
    )


def router_port(fact: PortFact, subnets: Subnets, mtu: int) -> RouterPort:
    own = [subnets[s] for s in dict.fromkeys(s for s, _ in fact.fixed_ips) if s in subnets]
    return RouterPort(
        port_id=fact.id,
        network_id=fact.network_id,
        mac_address=fact.mac_address,
        device_name=device_name(fact),
        fixed_ips=fixed_ips(fact, subnets),
        subnets=[
            RouterSubnet(
                subnet_id=s.id,
                cidr=s.cidr,
                gateway_ip=s.gateway_ip,
                ipv6_ra_mode=s.ipv6_ra_mode,
                ipv6_address_mode=s.ipv6_address_mode,
                dns_nameservers=list(s.dns_nameservers),
                address_scope_id=s.address_scope_id,
            )
            for s in own
        ],
        mtu=mtu,
    )


def router(
    fact: RouterFact,
    ports: Sequence[PortFact],
    subnets: Subnets,
    networks: Mapping[str, NetworkFact],
    labels: Sequence[LabelFact] = (),
) -> Router:
    def made(p: PortFact) -> RouterPort:
        return router_port(p, subnets, networks[p.network_id].mtu if p.network_id in networks else 1500)

    ordered = sorted(ports, key=lambda p: p.id)
    gateways = [p for p in ordered if p.device_owner == "network:router_gateway"]
    return Router(
        key=fact.id,
        name=fact.name,
        admin_state_up=fact.admin_state_up,
        enable_snat=fact.enable_snat,
        gateway=next((made(p) for p in gateways if p.id == fact.gw_port_id), None),
        default_route_ecmp=fact.default_route_ecmp,
        extra_gateways=[made(p) for p in gateways if p.id != fact.gw_port_id],
        interfaces=[made(p) for p in ordered if p.is_router_interface],
        routes=[HostRoute(destination, nexthop) for destination, nexthop in fact.routes],
        meters=[
            RouterMeter(
                label.id, [MeterRule(r.direction, r.excluded, r.source, r.destination) for r in label.rules]
            )
            for label in labels
        ],
    )


def floating_ip(fact: FloatingFact) -> FloatingIp | None:
    """None for a floating IP that points nowhere."""
    if not (fact.router_id and fact.port_id and fact.fixed_ip_address):
        return None
    return FloatingIp(
        key=fact.id,
        router_id=fact.router_id,
        floating_ip_address=fact.address,
        fixed_ip_address=fact.fixed_ip_address,
        port_id=fact.port_id,
    )


def port_forwarding(fact: ForwardingFact, floating: FloatingFact) -> PortForwarding | None:
    if not floating.router_id:
        return None
    return PortForwarding(
        key=fact.id,
        router_id=floating.router_id,
        floatingip_id=floating.id,
        floating_ip_address=floating.address,
        protocol=fact.protocol,
        external_port=fact.external_port,
        internal_ip_address=fact.internal_ip_address,
        internal_port=fact.internal_port,
    )
