"""Where a packet can be seen on its way: devices on hosts and in namespaces, and which way it goes there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from virga.contract.items import Port
from virga.contract.trace import HostReading, Point, Sighting
from virga.trace.model import Leg, Path, Spot, Way

Wayword = Literal["in", "out"]
REPLIES = ("reply", "refusal", "error")


@dataclass(frozen=True, slots=True)
class Waypoint:
    """One place of one step. ``end``: where its stretch begins or ends, or the wire between hosts."""

    step: int
    way: Way
    host: str
    device: str
    namespace: str
    direction: Wayword
    end: Literal["first", "wire", "last"]

    @property
    def key(self) -> str:
        return f"{self.host}/{self.namespace}/{self.device}"

    @property
    def place(self) -> str:
        inside = f" in {self.namespace}" if self.namespace else ""
        return f"{self.device}{inside} of {self.host}"

    def fits(self, sighting: Sighting) -> bool:
        """The frame went by here in this direction, as a request there or as an answer back."""
        if sighting.point != self.key or sighting.way != self.direction:
            return False
        is_answer = sighting.kind in REPLIES
        return is_answer == (self.way == "back")


def namespace_of(port: Port) -> str:
    """Where the other end of the device is, for ports whose namespace is the host's own work."""
    if port.device_owner.startswith("network:router"):
        return f"qrouter-{port.device_id}"
    return f"qdhcp-{port.network_id}" if port.device_owner == "network:dhcp" else ""


def device_of(port: Port) -> str:
    """By which the guest is connected."""
    return f"tap{port.device_name[3:]}" if port.device_name.startswith("qvo") else port.device_name


def waypoints(path: Path, readings: Mapping[str, HostReading]) -> list[Waypoint]:
    """In the order in which the packet passes them."""
    found: list[Waypoint] = []
    for number, step in enumerate(path.steps):
        if isinstance(step, Leg):
            found += _of_leg(number, step, readings)
    return found


def _of_leg(number: int, leg: Leg, readings: Mapping[str, HostReading]) -> Iterable[Waypoint]:
    wired = leg.sender.host != leg.receiver.host
    if first := _end(number, leg, leg.sender, readings, first=True):
        yield first
    if wired:
        for spot, way in ((leg.sender, "out"), (leg.receiver, "in")):
            for nic in nics_of(readings.get(spot.host), leg)[:1]:
                yield Waypoint(number, leg.way, spot.host, nic, "", way, "wire")  # type: ignore[arg-type]
    if last := _end(number, leg, leg.receiver, readings, first=False):
        yield last


def nics_of(reading: HostReading | None, leg: Leg) -> list[str]:
    if reading is None:
        return []
    bridge = reading.bridge_mappings.get(leg.network.physical_network or "", "")
    return list(reading.bridge_nics.get(bridge, ()))


def _end(
    number: int, leg: Leg, spot: Spot, readings: Mapping[str, HostReading], *, first: bool
) -> Waypoint | None:
    end: Literal["first", "last"] = "first" if first else "last"
    if spot.port is None:
        nics = nics_of(readings.get(spot.host), leg)
        if not nics:
            return None
        return Waypoint(number, leg.way, spot.host, nics[0], "", "in" if first else "out", end)
    namespace = namespace_of(spot.port)
    device = device_of(spot.port)
    # Seen from a namespace of the host the packet goes out; seen from the host a guest's packet comes in.
    direction: Wayword = ("out" if first else "in") if namespace else ("in" if first else "out")
    return Waypoint(number, leg.way, spot.host, device, namespace, direction, end)


def points(waypoints: Iterable[Waypoint]) -> dict[str, list[Point]]:
    """Host -> the points to be watched there."""
    found: dict[str, dict[str, Point]] = {}
    for one in waypoints:
        point = Point(key=one.key, device=one.device, namespace=one.namespace)
        found.setdefault(one.host, {})[one.key] = point
    return {host: list(of.values()) for host, of in found.items()}
