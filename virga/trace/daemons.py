"""Services of a network - DHCP, names, metadata - as their processes, files and namespaces really are. Pure.

Some of what is wrong here does not keep a packet from being answered (a wrong line in a hosts file): such a
finding is firm, and stands even when the probe was answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from virga.contract.explain import Ref
from virga.contract.items import Port
from virga.contract.trace import HostReading, ProcessReading
from virga.trace import netfilter, routers
from virga.trace.model import TCP, Finding, Flight, Leg
from virga.trace.netfilter import Passing
from virga.trace.points import namespace_of

DOWN = {"dhcp": "DHCP_AGENT_DOWN", "dns": "DNS_DOWN", "metadata": "METADATA_DOWN"}
PROXY_PORT = 9697
METADATA = {4: "169.254.169.254", 6: "fe80::a9fe:a9fe"}


def judge(kind: str, leg: Leg, reading: HostReading) -> Finding | None:
    """What keeps the service from being of use to the port. ``leg`` leads to the service."""
    server = leg.receiver.port
    if server is None or leg.sender.port is None:
        return None
    return next(_checks(kind, leg, server, leg.sender.port, reading), None)


def _checks(kind: str, leg: Leg, server: Port, client: Port, reading: HostReading) -> Iterator[Finding]:
    space = namespace_of(server)
    here = routers.inside(reading, space)
    if here is None or not here.space.exists:
        ref = Ref(kind="namespace", name=space, host=reading.host)
        yield Finding(
            DOWN[kind],
            f"The namespace {space} is missing.",
            ref,
            f"virga doctor {reading.host} --fix",
            firm=True,
        )
        return
    yield from _device(kind, here, server)
    if kind == "metadata":
        yield from _metadata(here, server, leg, reading)
        return
    yield from _process("dnsmasq", server.network_id, DOWN[kind], reading)
    yield from _strangers(here, leg)
    if kind == "dhcp":
        yield from _lease(client, reading)
    else:
        yield from _name(client, reading)


def _device(kind: str, here: routers.Inside, server: Port) -> Iterator[Finding]:
    link = here.links.get(server.device_name)
    ref = Ref(kind="device", id=server.device_name, host=here.host)
    if link is None:
        yield Finding(
            "DRIFT", f"The device {server.device_name} is missing in {here.space.name}.", ref, here.fix()
        )
        return
    if not link.up:
        mend = here.run(f"ip link set {server.device_name} up")
        yield Finding(
            "LINK_DOWN", f"The device {server.device_name} in {here.space.name} is down.", ref, mend
        )
    has = {a.split()[0].partition("/")[0] for a in link.addresses}
    for fixed in server.fixed_ips:
        if fixed.ip_address not in has and ":" not in fixed.ip_address:
            sentence = (
                f"The address {fixed.ip_address} is missing at {server.device_name} in {here.space.name}."
            )
            yield Finding("DRIFT", sentence, ref, here.fix())


def _process(program: str, key: str, code: str, reading: HostReading) -> Iterator[Finding]:
    """It runs, and is not frozen."""
    own = [p for p in reading.processes if p.kind == program and p.key == key]
    if any(p.state not in ("T", "t", "Z", "") for p in own):
        return
    state = f"hangs (state {own[0].state})" if own else "does not run"
    yield Finding(
        code,
        f"{program} {state} on {reading.host}.",
        Ref(kind="process", name=f"{program} of {key}", host=reading.host),
        f"kill -CONT {own[0].pid}" if own else f"virga doctor {reading.host} --fix",
        evidence=tuple(_told(p) for p in own),
        firm=True,
    )


def _told(process: ProcessReading) -> str:
    return f"pid {process.pid} state {process.state}: {process.detail[:100]}"


def _strangers(here: routers.Inside, leg: Leg) -> Iterator[Finding]:
    """Foreign rules on the way in and out of the namespace itself."""
    flights = [("INPUT", leg.flight), ("PREROUTING", leg.flight), ("OUTPUT", leg.flight.turned())]
    if leg.flight.destination in METADATA.values():
        inner = Flight(
            leg.flight.version, TCP, leg.flight.source, METADATA[4], leg.flight.source_port, PROXY_PORT
        )
        flights.append(("INPUT", inner))
    device = leg.receiver.port.device_name if leg.receiver.port else ""
    for chain, flight in flights:
        packet = Passing(flight, device, device, chain == "OUTPUT")
        for rule in netfilter.deciding(here.space.rules, chain, packet):
            if rule.target in netfilter.STOPS:
                yield Finding(
                    "DRIFT",
                    f"A foreign rule in {here.space.name} stops the packet ({rule.target}).",
                    Ref(kind="rule", name=rule.line, host=here.host),
                    here.run(rule.removal),
                    evidence=(rule.text,),
                )
                return
    yield from routers.nft(here)


def _metadata(here: routers.Inside, server: Port, leg: Leg, reading: HostReading) -> Iterator[Finding]:
    is_router = server.device_owner.startswith("network:router")
    key = server.device_id if is_router else server.network_id
    yield from _process("haproxy", key, "METADATA_DOWN", reading)
    wanted = METADATA[leg.flight.version]
    if is_router:
        for one in reading.differences:
            lost = [line for line in one.wanted.splitlines() if "169.254.169.254" in line or "9697" in line]
            if one.driver == "iptables" and one.key.startswith(here.space.name) and lost:
                sentence = f"The rule that leads metadata to its proxy is missing in {here.space.name}."
                ref = Ref(kind="rule", name=lost[0], host=here.host)
                yield Finding("METADATA_DOWN", sentence, ref, here.fix(), tuple(lost[:4]))
    else:
        has = {a.split()[0].partition("/")[0] for link in here.links.values() for a in link.addresses}
        if wanted not in has:
            sentence = f"The address {wanted} is missing in {here.space.name}."
            ref = Ref(kind="device", id=server.device_name, host=here.host)
            yield Finding("METADATA_DOWN", sentence, ref, here.fix())
    yield from _strangers(here, leg)
    if reading.metadata_problem:
        sentence = f"The metadata server of {reading.host} does not answer its proxies."
        ref = Ref(kind="process", name="metadata server", host=reading.host)
        yield Finding("METADATA_DOWN", sentence, ref, "virga status", (reading.metadata_problem,), firm=True)


def _lease(client: Port, reading: HostReading) -> Iterator[Finding]:
    """The hosts file has a line for the port, with its own address."""
    text = reading.files.get(f"{client.network_id}/host")
    if text is None:
        return
    lines = [line for line in text.splitlines() if client.mac_address in line.lower()]
    four = [f.ip_address for f in client.fixed_ips if ip_address(f.ip_address).version == 4]
    ref = Ref(kind="port", id=client.key)
    if not lines:
        yield Finding(
            "NO_DHCP_LEASE",
            f"The hosts file of the DHCP server has no line for {client.mac_address}.",
            ref,
            f"virga doctor {reading.host} --fix",
            firm=True,
        )
    elif four and not any(address in line.split(",") for line in lines for address in four):
        yield Finding(
            "NO_DHCP_LEASE",
            f"The hosts file of the DHCP server gives {client.mac_address} another address than {four[0]}.",
            ref,
            f"virga doctor {reading.host} --fix",
            evidence=tuple(lines[:3]),
            firm=True,
        )


def _name(client: Port, reading: HostReading) -> Iterator[Finding]:
    """The name server knows the port's own name."""
    text = reading.files.get(f"{client.network_id}/addn_hosts")
    if text is None:
        return
    known = {line.split()[0] for line in text.splitlines() if line.split()}
    lost = [f.ip_address for f in client.fixed_ips if f.ip_address not in known]
    if lost:
        yield Finding(
            "DNS_DOWN",
            f"The name server has no name for {lost[0]}.",
            Ref(kind="port", id=client.key),
            f"virga doctor {reading.host} --fix",
            evidence=(f"addn_hosts has no line for {', '.join(lost)}",),
            firm=True,
        )
