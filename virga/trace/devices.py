"""Devices of hosts on a path: links that are down, wires without carrier, packets that are too large for them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network

from virga.contract.explain import Ref
from virga.contract.trace import HostReading, LinkReading
from virga.trace import netfilter, points
from virga.trace.model import Finding, Leg, Spot
from virga.trace.netfilter import Passing


def links_of(reading: HostReading | None) -> dict[str, LinkReading]:
    """Of the host itself."""
    own = next((space for space in reading.namespaces if not space.name), None) if reading else None
    return {link.name: link for link in own.links} if own else {}


def judge(leg: Leg, readings: Mapping[str, HostReading]) -> Finding | None:
    """What stops every packet of the leg for certain."""
    return next(_checks(leg, readings), None)


def _checks(leg: Leg, readings: Mapping[str, HostReading]) -> Iterator[Finding]:
    wired = leg.sender.outside or leg.receiver.outside or leg.sender.host != leg.receiver.host
    for spot in (leg.sender, leg.receiver):
        reading = readings.get(spot.host)
        if reading is None:
            continue
        links = links_of(reading)
        if spot.port is not None:
            yield from _end(spot, links, reading)
        if wired:
            yield from _wire(leg, spot, links, reading)


def _end(spot: Spot, links: Mapping[str, LinkReading], reading: HostReading) -> Iterator[Finding]:
    assert spot.port is not None
    name = points.device_of(spot.port)
    ref = Ref(kind="device", id=name, host=spot.host)
    if spot.port.device_owner == "trunk:subport":
        return
    link = links.get(name)
    if link is None:
        yield Finding("DRIFT", f"The device {name} is missing.", ref, f"virga doctor {spot.host} --fix")
    elif not link.up:
        mend = f"virga host exec {spot.host} -- ip link set {name} up"
        yield Finding("LINK_DOWN", f"The device {name} is down.", ref, mend)
    elif not link.carrier:
        yield from _no_carrier(spot, name, reading)
    if spot.port.device_name.startswith("qvo"):
        yield from _bridge(spot, links)


def _no_carrier(spot: Spot, name: str, reading: HostReading) -> Iterator[Finding]:
    """The other end is down: that of a guest is the guest's business."""
    assert spot.port is not None
    inner = points.namespace_of(spot.port)
    if inner:
        yield Finding(
            "LINK_DOWN",
            f"The device {name} in {inner} is down.",
            Ref(kind="device", id=name, host=spot.host),
            f"virga host exec {spot.host} -- ip netns exec {inner} ip link set {name} up",
        )
        return
    stopped = instance_down(spot, reading)
    if stopped is not None:
        yield stopped
        return
    yield Finding(
        "GUEST_SILENT",
        "The guest has shut its network interface.",
        Ref(kind="server", id=spot.port.device_id, host=spot.host),
        f"virga console {spot.port.device_id}",
        evidence=(f"{name} has no carrier",),
    )


def _bridge(spot: Spot, links: Mapping[str, LinkReading]) -> Iterator[Finding]:
    """The Linux bridge of the hybrid plug, between the tap and br-int."""
    assert spot.port is not None
    rest = spot.port.device_name[3:]
    for name, master in ((f"qvb{rest}", f"qbr{rest}"), (f"tap{rest}", f"qbr{rest}")):
        link = links.get(name)
        ref = Ref(kind="device", id=name, host=spot.host)
        if link is None or master not in links or link.master != master:
            sentence = f"{name} is no part of the bridge {master}."
            yield Finding("DRIFT", sentence, ref, f"virga doctor {spot.host} --fix")
        elif not link.up or not links[master].up:
            yield Finding(
                "LINK_DOWN", f"{name} or its bridge {master} is down.", ref, f"virga doctor {spot.host} --fix"
            )


def _wire(leg: Leg, spot: Spot, links: Mapping[str, LinkReading], reading: HostReading) -> Iterator[Finding]:
    bridge = reading.bridge_mappings.get(leg.network.physical_network or "", "")
    if not bridge:
        return
    for pair in (f"int-{bridge}"[:15], f"phy-{bridge}"[:15]):
        if not reading.switch_problem and not any(p.name == pair and p.ofport > 0 for p in reading.ports):
            yield Finding(
                "DRIFT",
                f"The patch port {pair} is missing.",
                Ref(kind="device", id=pair, host=spot.host),
                f"virga doctor {spot.host} --fix",
            )
    for nic in reading.bridge_nics.get(bridge, ()):
        yield from _nic(spot.host, nic, bridge, links, reading)


def _nic(
    host: str, nic: str, bridge: str, links: Mapping[str, LinkReading], reading: HostReading
) -> Iterator[Finding]:
    ref = Ref(kind="device", id=nic, host=host)
    link = links.get(nic)
    if link is None:
        yield Finding("LINK_DOWN", f"The network card {nic} of {host} is not there.", ref, "virga doctor")
    elif not link.up:
        mend = f"virga host exec {host} -- ip link set {nic} up"
        yield Finding("LINK_DOWN", f"The network card {nic} of {host} is down.", ref, mend)
    elif not link.carrier:
        sentence = (
            f"The network card {nic} of {host} has no carrier: its cable is pulled or the other end is down."
        )
        yield Finding("LINK_DOWN", sentence, ref, "virga doctor")
    elif not reading.switch_problem and not any(p.name == nic and p.bridge == bridge for p in reading.ports):
        sentence = f"The network card {nic} of {host} is no port of {bridge}."
        yield Finding("DRIFT", sentence, ref, f"virga doctor {host} --fix")


def narrow(leg: Leg, readings: Mapping[str, HostReading]) -> Iterator[Finding]:
    """Devices that take smaller packets than the network does."""
    for spot in (leg.sender, leg.receiver):
        reading = readings.get(spot.host)
        links = links_of(reading)
        names = [points.device_of(spot.port)] if spot.port is not None else []
        for name in [*names, *points.nics_of(reading, leg)]:
            link = links.get(name)
            if link is not None and 0 < link.mtu < leg.network.mtu:
                yield too_narrow(name, "", spot.host, link.mtu, leg.network.mtu)
        inner = points.namespace_of(spot.port) if spot.port is not None else ""
        space = next((s for s in reading.namespaces if s.name == inner), None) if reading and inner else None
        for link in space.links if space is not None else ():
            if (
                spot.port is not None
                and link.name == spot.port.device_name
                and 0 < link.mtu < leg.network.mtu
            ):
                yield too_narrow(link.name, inner, spot.host, link.mtu, leg.network.mtu)


SHAPERS = ("tbf", "htb", "ingress", "clsact")
"""Queues that limits of ports are made of."""


def queues(leg: Leg, readings: Mapping[str, HostReading]) -> Iterator[Finding]:
    """Queues that strangers put at devices of the leg."""
    for spot in (leg.sender, leg.receiver):
        reading = readings.get(spot.host)
        names = {*points.nics_of(reading, leg), *([points.device_of(spot.port)] if spot.port else [])}
        inner = points.namespace_of(spot.port) if spot.port is not None else ""
        for space in reading.namespaces if reading is not None else ():
            for line in space.queues if space.name in ("", inner) else ():
                words = line.split()
                if words[1] in SHAPERS or "dev" not in words[:-1]:
                    continue
                name = words[words.index("dev") + 1]
                if name in names:
                    inside = f"ip netns exec {space.name} " if space.name else ""
                    yield Finding(
                        "DRIFT",
                        f"A foreign queue ({words[1]}) is at {name}.",
                        Ref(kind="device", id=name, host=spot.host),
                        f"virga host exec {spot.host} -- {inside}tc qdisc del dev {name} root",
                        evidence=(line,),
                    )


def too_narrow(name: str, space: str, host: str, has: int, wants: int) -> Finding:
    where = f" in {space}" if space else ""
    inside = f"ip netns exec {space} " if space else ""
    return Finding(
        "MTU_BLACKHOLE",
        f"The device {name}{where} takes packets of {has} bytes only; the network's are up to {wants}.",
        Ref(kind="device", id=name, host=host),
        f"virga host exec {host} -- {inside}ip link set {name} mtu {wants}",
        evidence=(f"{name} mtu {has}",),
    )


# -- guests --------------------------------------------------------------------------------------


def instance_down(spot: Spot, reading: HostReading | None) -> Finding | None:
    """The process of the instance is gone or frozen, whatever the database says."""
    port = spot.port
    if port is None or reading is None or not port.device_owner.startswith("compute:"):
        return None
    own = [p for p in reading.processes if p.key == port.device_id and p.kind in ("qemu", "namespace")]
    if own and not all(p.state in ("T", "t", "Z", "") for p in own):
        return None
    state = "is stopped by a signal" if own else "is not there"
    return Finding(
        "INSTANCE_DOWN",
        f"The process of the instance {state}.",
        Ref(kind="server", id=port.device_id, host=spot.host),
        f"openstack server reboot --hard {port.device_id}",
        evidence=tuple(f"pid {p.pid} state {p.state}: {p.detail[:80]}" for p in own),
    )


def guest_address(leg: Leg, reading: HostReading | None, *, sends: bool) -> Finding | None:
    """An instance that is a namespace can be looked into: does it have the address that its port has?"""
    port = leg.sender.port if sends else leg.receiver.port
    if port is None or reading is None:
        return None
    space = next((s for s in reading.namespaces if s.name == f"instance-{port.device_id}" and s.exists), None)
    link = next((each for each in space.links if each.mac == port.mac_address), None) if space else None
    if link is None or not link.up:
        return None
    wanted = [f.ip_address for f in port.fixed_ips if (":" in f.ip_address) == (leg.flight.version == 6)]
    has = [a.split()[0].partition("/")[0] for a in link.addresses]
    others = [a for a in has if (":" in a) == (leg.flight.version == 6) and not a.startswith("fe80")]
    if not wanted or set(wanted) & set(has) or not others:
        return None
    evidence = (f"{link.name} of the guest: {', '.join(link.addresses)}",)
    both = f"the guest has {', '.join(others)}, and the port has {', '.join(wanted)}"
    mend = f"openstack server reboot {port.device_id}"
    if sends:
        allowed = [pair.ip_address for pair in port.allowed_address_pairs]
        if any(
            ip_address(a) in ip_network(p, strict=False)
            for a in others
            for p in allowed
            if (":" in a) == (":" in p)
        ):
            return None
        sentence = f"The guest sends from an address that its port may not use: {both}."
        ref = Ref(kind="port", id=port.key)
        return Finding("SPOOF_GUARD", sentence, ref, mend, evidence, firm=True)
    sentence = f"The guest does not have the address of its port: {both}."
    return Finding("GUEST_SILENT", sentence, Ref(kind="server", id=port.device_id), mend, evidence)


def guest_rules(leg: Leg, reading: HostReading | None) -> tuple[str, ...]:
    """Rules of a guest that can be looked into, and that drop this packet: evidence only."""
    port = leg.receiver.port
    space = (
        next((s for s in reading.namespaces if s.name == f"instance-{port.device_id}"), None)
        if reading is not None and port is not None
        else None
    )
    if space is None:
        return ()
    packet = Passing(leg.flight, "eth0", "", is_reply=leg.way == "back")
    found = netfilter.deciding(space.rules, "INPUT", packet)
    return tuple(f"in the guest: {rule.text}" for rule in found[:3] if rule.target in netfilter.STOPS)
