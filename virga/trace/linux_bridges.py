"""The Linux bridges of hybrid plugs: rules of the host's own iptables that filter a port there, lost or a stranger's. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from virga.contract.explain import Ref
from virga.contract.trace import HostReading
from virga.trace import netfilter
from virga.trace.model import Finding, Leg, Spot
from virga.trace.netfilter import Passing

CHAINS = ("neutron-openvswi-i", "neutron-openvswi-o", "neutron-openvswi-s")
SHARED = ("sg-chain", "sg-fallback", "FORWARD")


def judge(leg: Leg, spot: Spot, reading: HostReading | None) -> Finding | None:
    """What of the rules on this host would stop a packet at a port behind a Linux bridge."""
    if reading is None or spot.port is None or spot.port.plug != "hybrid":
        return None
    return next(_checks(leg, spot, reading), None)


def _checks(leg: Leg, spot: Spot, reading: HostReading) -> Iterator[Finding]:
    assert spot.port is not None
    rest = spot.port.device_name[3:]
    devices = {f"tap{rest}", f"qvb{rest}", f"qbr{rest}"}
    family = f"/v{leg.flight.version}/"
    for one in reading.differences:
        if one.driver != "iptables" or not one.key.startswith(family):
            continue
        lost = [line for line in one.wanted.splitlines() if _is_about(line, rest, devices)]
        if lost:
            yield Finding(
                "DRIFT",
                f"Rules that filter the port on its Linux bridge are missing on {reading.host}.",
                Ref(kind="rule", name=lost[0], host=reading.host),
                f"virga doctor {reading.host} --fix",
                evidence=tuple(lost[:6]),
            )
        lines = [
            f"{leg.flight.version}/{one.key.rpartition('/')[2]} {line}" for line in one.actual.splitlines()
        ]
        yield from _strangers(leg, spot, reading, [r for r in map(netfilter.parse, lines) if r is not None])
    own = next((space for space in reading.namespaces if not space.name), None)
    foreign = netfilter.foreign(own.rules) if own is not None else []
    yield from _strangers(leg, spot, reading, [rule for rule in foreign if rule.chain == "FORWARD"])


def _is_about(line: str, rest: str, devices: set[str]) -> bool:
    short = rest[:10]
    named = any(f"{chain}{short}" in line for chain in CHAINS) or any(device in line for device in devices)
    return named or any(f"-A neutron-openvswi-{chain} " in line for chain in SHARED if chain == "sg-fallback")


def _strangers(leg: Leg, spot: Spot, reading: HostReading, rules: list[netfilter.Rule]) -> Iterator[Finding]:
    assert spot.port is not None
    bridge = f"qbr{spot.port.device_name[3:]}"
    packet = Passing(leg.flight, bridge, bridge, is_reply=leg.way == "back")
    for rule in rules:
        if rule.target in netfilter.STOPS and (rule.policy or netfilter.takes(rule, packet)):
            yield Finding(
                "DRIFT",
                f"A foreign rule of {reading.host} stops the packet on the bridge {bridge} ({rule.target}).",
                Ref(kind="rule", name=rule.line, host=reading.host),
                f"virga host exec {reading.host} -- {rule.removal}",
                evidence=(rule.text,),
            )
