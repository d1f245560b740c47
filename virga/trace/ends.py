"""What the two words of a question mean: instances, ports, addresses, routers, ``outside``, and services of a network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from virga.api.faults import BadRequest, NotFound
from virga.contract.explain import Ref
from virga.contract.items import Port
from virga.db.tx import Tx
from virga.desired import objects
from virga.trace import routing
from virga.trace.model import ICMP, ICMP6, TCP, UDP, End, Finding, Traffic
from virga.trace.words import unbound
from virga.trace.world import World

OUTSIDE = "outside"
SERVICES = ("dhcp", "metadata", "dns")
METADATA = {4: "169.254.169.254", 6: "fe80::a9fe:a9fe"}
_TRAFFIC = re.compile(r"(tcp|udp)/(\d{1,5})\Z")


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, as words."""

    source: str
    destination: str
    traffic: str
    ip_version: int | None = None
    source_address: str = ""
    source_port: int = 0
    since_us: int = 0
    """Tell also what changed on the path since then."""


@dataclass(frozen=True, slots=True)
class Pick:
    """What a word was found to be, before the network is looked at."""

    word: str
    kind: str
    """server, port, router, network, address, outside, floating_ip."""
    id: str = ""
    name: str = ""
    project_id: str = ""
    port_ids: tuple[str, ...] = ()

    @property
    def ref(self) -> Ref:
        return Ref(kind=self.kind, id=self.id, name=self.name or self.word)


def traffic_of(text: str, version: int, source_port: int = 0) -> Traffic:
    """``icmp``, ``tcp/5432``, ``udp/53``. BadRequest for what is no traffic."""
    word = text.lower() or "icmp"
    if word in ("icmp", "ping", "icmp6", "icmpv6"):
        return Traffic("icmp", ICMP6 if version == 6 else ICMP)
    found = _TRAFFIC.match(word)
    if found is None or not 0 < int(found[2]) < 65536:
        raise BadRequest(f"{text!r} is no traffic: say icmp, tcp/PORT or udp/PORT.")
    return Traffic(found[1], TCP if found[1] == "tcp" else UDP, int(found[2]), source_port)


def pick(tx: Tx, word: str, project_id: str | None) -> Pick:
    """``project_id`` None: everybody's objects may be named. NotFound, BadRequest when it is not clear what is meant."""
    if word == OUTSIDE:
        return Pick(word, OUTSIDE)
    if _is_address(word):
        return _pick_address(tx, word, project_id)
    found = objects.find(tx, word, project_id)
    if not found:
        raise NotFound(f"There is no instance, port, router or network {word!r} that you may see.")
    servers = [each for each in found if each.kind == "server"]
    if len(found) > 1 and len(servers) != 1:
        names = ", ".join(f"{each.kind} {each.id}" for each in found)
        raise BadRequest(f"{word!r} may mean {names}: say an id.")
    one = servers[0] if servers else found[0]
    ports = tuple(objects.ports_of_server(tx, one.id)) if one.kind == "server" else ()
    if one.kind == "port":
        ports = (one.id,)
    return Pick(word, one.kind, one.id, one.name, one.project_id, ports)


def _is_address(word: str) -> bool:
    try:
        ip_address(word)
    except ValueError:
        return False
    return True


def _pick_address(tx: Tx, word: str, project_id: str | None) -> Pick:
    floating = objects.floating_ip_with_address(tx, word)
    if floating is not None:
        return Pick(word, "floating_ip", floating[0], word, floating[1])
    ports = objects.ports_with_address(tx, word, project_id)
    return Pick(word, "address", name=word, port_ids=tuple(ports))


# -- ends ----------------------------------------------------------------------------------------


def version_of(question: Question, source: Pick, destination: Pick) -> int:
    for one in (source, destination):
        if one.kind in ("address", "floating_ip"):
            return ip_address(one.word).version
    return question.ip_version or 4


def end_of(world: World, one: Pick, version: int, other: Pick) -> End | Finding:
    """The end with its port, host and address of the IP version; a finding when it has none."""
    if one.kind == OUTSIDE:
        return _outside(world, version, other)
    if one.kind == "router":
        return _router_end(world, one, version, other)
    if one.kind == "floating_ip":
        return _outside_address(world, one)
    if one.kind == "network":
        raise BadRequest(f"{one.word!r} is a network: say an instance, a port or an address.")
    if one.kind == "address" and not one.port_ids:
        return _outside_address(world, one)
    return _port_end(world, one, version, other)


def _port_end(world: World, one: Pick, version: int, other: Pick) -> End | Finding:
    known = [port_id for port_id in one.port_ids if port_id in world.ports]
    if not known:
        return Finding(
            "PORT_UNBOUND",
            f"{one.word} has no port.",
            one.ref,
            f"openstack server add network {one.word} NETWORK",
        )
    port_id = _best(world, known, version, other, one)
    address = one.word if one.kind == "address" else _address(world, port_id, version)
    if not address:
        return Finding(
            "NO_ADDRESS",
            f"The port has no address of IPv{version}.",
            Ref(kind="port", id=port_id),
            f"openstack port set --fixed-ip subnet=SUBNET {port_id}",
        )
    placed = world.port(port_id)
    if placed is None:
        return unbound(world, port_id)
    host, port = placed
    ref = one.ref if one.kind != "address" else _owner_ref(port, address)
    router = port.device_id if port.device_owner.startswith("network:router") else ""
    return End(ref, address, port, host, port.network_id, router)


def _owner_ref(port: Port, address: str) -> Ref:
    if port.device_owner.startswith("compute:"):
        return Ref(kind="server", id=port.device_id, name=address)
    return Ref(kind="port", id=port.key, name=address)


def _best(world: World, port_ids: Sequence[str], version: int, other: Pick, one: Pick) -> str:
    """Of an instance with several ports: one in a network of the other end, else the first with such an address."""
    networks = {world.ports[p].network_id for p in other.port_ids if p in world.ports}
    fitting = [p for p in port_ids if _address(world, p, version)]
    if one.kind == "address":
        near = [p for p in port_ids if world.ports[p].network_id in networks]
        return (near or list(port_ids))[0]
    near = [p for p in fitting if world.ports[p].network_id in networks]
    return (near or fitting or list(port_ids))[0]


def _address(world: World, port_id: str, version: int) -> str:
    for _, address in world.ports[port_id].fixed_ips:
        if ip_address(address).version == version:
            return address
    return ""


def _outside(world: World, version: int, other: Pick) -> End | Finding:
    """The outside world, by the external network that the other end is reached by."""
    network_id = _external_network(world, other)
    for subnet in sorted(world.subnets_of(network_id), key=lambda s: s.id) if network_id else ():
        if subnet.ip_version == version and subnet.gateway_ip:
            ref = Ref(kind=OUTSIDE, name=OUTSIDE)
            return End(ref, subnet.gateway_ip, network_id=network_id)
    return Finding(
        "NO_ROUTE",
        f"There is no external network with a gateway of IPv{version}: nothing leads outside.",
        Ref(kind=OUTSIDE, name=OUTSIDE),
        "openstack network create --external ...",
    )


def _external_network(world: World, other: Pick) -> str:
    """The one on which the other end's router has its gateway; else the first."""
    for port_id in other.port_ids:
        fact = world.ports.get(port_id)
        for _, address in fact.fixed_ips if fact else ():
            subnet = world.subnet_of(fact.network_id, address) if fact else None
            owner = (
                world.port_at(fact.network_id, subnet.gateway_ip)
                if fact and subnet and subnet.gateway_ip
                else None
            )
            found = world.router(world.ports[owner].device_id) if owner else None
            for gateway in routing.gateways(found[1]) if found else ():
                return gateway.network_id
    if other.kind in ("floating_ip", "address"):
        for network_id in sorted(world.external):
            if world.subnet_of(network_id, other.word) is not None:
                return network_id
    return min(world.external, default="")


def _outside_address(world: World, one: Pick) -> End:
    """An address that no port of the cloud has, or a floating IP: it is reached by way of an external network."""
    network_id = next(
        (n for n in sorted(world.external) if world.subnet_of(n, one.word) is not None),
        min(world.external, default=""),
    )
    return End(one.ref, one.word, network_id=network_id)


def _router_end(world: World, one: Pick, version: int, other: Pick) -> End | Finding:
    """A router answers for its address nearest to the other end."""
    found = world.router(one.id)
    if found is None:
        return Finding("ROUTER_DOWN", "The router is on no host.", one.ref, f"openstack router show {one.id}")
    host, router = found
    networks = {world.ports[p].network_id for p in other.port_ids if p in world.ports}
    ports = sorted(routing.ports_of(router), key=lambda p: p.network_id not in networks)
    for port in ports:
        placed = world.port(port.port_id)
        for fixed in port.fixed_ips:
            if ip_address(fixed.ip_address).version == version and placed is not None:
                return End(one.ref, fixed.ip_address, placed[1], host, port.network_id, router.key)
    return Finding(
        "NO_ADDRESS",
        f"The router has no address of IPv{version}.",
        one.ref,
        f"openstack router add subnet {one.id} SUBNET",
    )


# -- services of a network ------------------------------------------------------------------------


def service_end(world: World, kind: str, source: End, version: int) -> End | Finding:
    """Who answers DHCP, metadata or names for a port."""
    assert source.port is not None
    network_id = source.port.network_id
    servers = world.dhcp_networks(network_id)
    if kind == "metadata":
        router = _metadata_router(world, source)
        if router is not None:
            return router
    if kind == "metadata" and not servers:
        return Finding(
            "METADATA_DOWN",
            "Nobody serves metadata: no router is at the gateway address, and the network has no DHCP server.",
            Ref(kind="network", id=network_id),
            _no_dhcp(world, network_id, "").mend,
        )
    enabled = any(s.enable_dhcp and s.ip_version == version for s in world.subnets_of(network_id))
    if not enabled and kind != "metadata":
        return _no_dhcp(world, network_id, "DHCP is not enabled on any subnet of the network.")
    if not servers:
        return _no_dhcp(world, network_id, "No host serves DHCP for the network.")
    host, item = servers[0]
    placed = world.port(item.port_id)
    if placed is None:
        return unbound(world, item.port_id)
    address = METADATA[version] if kind == "metadata" else _address(world, item.port_id, version)
    if not address:
        return _no_dhcp(world, network_id, f"The DHCP server has no address of IPv{version}.")
    return End(Ref(kind=kind, id=item.port_id, name=kind), address, placed[1], host, network_id, dhcp=True)


def _no_dhcp(world: World, network_id: str, sentence: str) -> Finding:
    subnet = next(iter(world.subnets_of(network_id)), None)
    mend = f"openstack subnet set --dhcp {subnet.id}" if subnet is not None else ""
    return Finding("NO_DHCP", sentence, Ref(kind="network", id=network_id), mend)


def _metadata_router(world: World, source: End) -> End | None:
    """The router at the gateway address of the port's subnet."""
    assert source.port is not None
    subnet = world.subnet_of(source.port.network_id, source.address)
    owner = world.port_at(source.port.network_id, subnet.gateway_ip) if subnet and subnet.gateway_ip else None
    placed = world.port(owner) if owner else None
    if placed is None or not placed[1].device_owner.startswith("network:router"):
        return None
    host, port = placed
    version = 6 if ":" in source.address else 4
    ref = Ref(kind="metadata", id=port.device_id, name="metadata")
    return End(ref, METADATA[version], port, host, port.network_id, port.device_id)


def outer_name_server(world: World, source: End, version: int) -> str:
    """The name server that the subnet names itself; empty when the network's own serves."""
    assert source.port is not None
    subnet = world.subnet_of(source.port.network_id, source.address)
    servers = subnet.dns_nameservers if subnet is not None else ()
    return next((s for s in servers if s != "0.0.0.0" and ip_address(s).version == version), "")
