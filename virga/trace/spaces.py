"""What the namespaces on a path hold, compared with what is meant: addresses, routes, translations, daemons. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from virga.contract.explain import Ref
from virga.contract.trace import HostReading, ReadHost
from virga.trace import daemons, devices, guests, linux_bridges, routers
from virga.trace.model import Crossing, Finding, Leg, Path
from virga.trace.points import namespace_of


def request(path: Path, host: str) -> ReadHost:
    """What is to be read of a host."""
    namespaces: dict[str, None] = {}
    networks: dict[str, None] = {}
    routers: dict[str, None] = {}
    instances: dict[str, None] = {}
    addresses: dict[str, None] = {}
    for step in path.steps:
        if isinstance(step, Crossing):
            addresses.update(dict.fromkeys((step.before.source, step.before.destination)))
            continue
        addresses.update(dict.fromkeys((step.flight.source, step.flight.destination)))
        for spot in (step.sender, step.receiver):
            if spot.port is None or spot.host != host:
                continue
            if space := namespace_of(spot.port):
                namespaces[space] = None
            if spot.port.device_owner.startswith("network:router"):
                routers[spot.port.device_id] = None
            elif spot.port.device_owner == "network:dhcp":
                networks[spot.port.network_id] = None
            else:
                instances[spot.port.device_id] = None
                namespaces[f"instance-{spot.port.device_id}"] = None
    return ReadHost(
        namespaces=list(namespaces),
        networks=list(networks),
        routers=list(routers),
        instances=list(instances),
        addresses=[a for a in addresses if a not in ("0.0.0.0", "255.255.255.255")],
    )


def judge(
    path: Path, readings: Mapping[str, HostReading], service: str = ""
) -> tuple[list[Finding], list[Finding]]:
    """What would stop the packet for certain, and what may."""
    certain: list[Finding] = []
    suspects: list[Finding] = []
    steps = path.steps
    for number, step in enumerate(steps):
        onward = steps[number + 1] if number + 1 < len(steps) else None
        if isinstance(step, Crossing):
            reading = readings.get(step.host)
            leg = onward if isinstance(onward, Leg) else None
            found = routers.judge(step, leg, reading) if reading is not None else None
            certain += [replace(found, step=number)] if found is not None else []
            continue
        first, last = number == 0, number == len(path.there) - 1
        for one in _of_leg(step, readings, first=first, last=last):
            certain.append(replace(one, step=number))
        suspects += [replace(one, step=number) for one in devices.narrow(step, readings)]
        suspects += [replace(one, step=number) for one in devices.queues(step, readings)]
        if first or number == len(path.there):
            ends = path.back[-1] if first and path.back else None
            back = ends if isinstance(ends, Leg) else None
            found = guests.judge(step, back, readings.get(step.sender.host))
            certain += [replace(found, step=number)] if found is not None else []
    if service and steps and isinstance(steps[0], Leg):
        reading = readings.get(steps[0].receiver.host)
        served = daemons.judge(service, steps[0], reading) if reading is not None else None
        certain += [replace(served, step=0)] if served is not None else []
    suspects += differences(path, readings)
    return certain, suspects


def _of_leg(leg: Leg, readings: Mapping[str, HostReading], *, first: bool, last: bool) -> list[Finding]:
    found = [devices.judge(leg, readings)]
    for spot in (leg.sender, leg.receiver):
        found.append(devices.instance_down(spot, readings.get(spot.host)))
        found.append(linux_bridges.judge(leg, spot, readings.get(spot.host)))
    own = {f.ip_address for f in leg.sender.port.fixed_ips} if leg.sender.port else set()
    if first and leg.flight.source in own:
        found.append(devices.guest_address(leg, readings.get(leg.sender.host), sends=True))
    if last:
        found.append(devices.guest_address(leg, readings.get(leg.receiver.host), sends=False))
    return [one for one in found if one is not None]


def differences(path: Path, readings: Mapping[str, HostReading]) -> Sequence[Finding]:
    """What the drivers of a host say differs, where it is about something on the path."""
    found = []
    for number, step in enumerate(path.steps):
        if not isinstance(step, Leg):
            continue
        for spot in (step.sender, step.receiver):
            reading = readings.get(spot.host)
            if reading is None or spot.port is None:
                continue
            keys = {spot.port.device_name, spot.port.device_name[3:], namespace_of(spot.port) or "-"}
            for one in reading.differences:
                if any(key in one.key for key in keys if len(key) > 3):
                    ref = Ref(kind="device", id=one.key, host=spot.host)
                    evidence = tuple(
                        f"{word}: {text[:300]}"
                        for word, text in (("meant", one.wanted), ("there", one.actual))
                        if text
                    )
                    found.append(
                        Finding(
                            "CT_INVALID" if one.driver == "conntrack" else "DRIFT",
                            f"{one.driver} {one.key} {one.kind}.",
                            ref,
                            f"virga doctor {spot.host} --fix",
                            evidence,
                            number,
                        )
                    )
    return found
