"""The values that an explanation is made of, from the ends to the verdict. No logic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from virga.contract.explain import Ref
from virga.contract.items import Network, Port, Router, RouterPort

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
Way = Literal["there", "back"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is asked about: a protocol, and ports where it has them. ``kind`` is the word of the person who asked."""

    kind: str
    """icmp, tcp, udp, dhcp, metadata, dns, or a protocol number."""
    protocol: int
    port: int = 0
    source_port: int = 0

    @property
    def text(self) -> str:
        return f"{self.kind}/{self.port}" if self.kind in ("tcp", "udp") else self.kind


@dataclass(frozen=True, slots=True)
class Flight:
    """Addresses of a packet at one place: they change where it is translated."""

    version: int
    protocol: int
    source: str
    destination: str
    source_port: int = 0
    destination_port: int = 0

    def turned(self) -> Flight:
        """Of the reply."""
        return Flight(
            self.version,
            self.protocol,
            self.destination,
            self.source,
            self.destination_port,
            self.source_port,
        )

    @property
    def text(self) -> str:
        if self.source_port or self.destination_port:
            return f"{self.source}:{self.source_port} > {self.destination}:{self.destination_port}"
        return f"{self.source} > {self.destination}"


@dataclass(frozen=True, slots=True)
class End:
    """One end of the path, resolved. ``port`` None: the outside world."""

    ref: Ref
    address: str = ""
    port: Port | None = None
    host: str = ""
    network_id: str = ""
    """Of the outside world: the external network that it is reached by."""
    router_id: str = ""
    """Set when the end is a router itself."""
    dhcp: bool = False
    """Set when the end is a DHCP port: a namespace answers."""

    @property
    def outside(self) -> bool:
        return self.port is None


@dataclass(frozen=True, slots=True)
class Spot:
    """A port on the host where it is; ``port`` None: outside, at the NIC of ``host``."""

    host: str
    port: Port | None = None

    @property
    def outside(self) -> bool:
        return self.port is None


@dataclass(frozen=True, slots=True)
class Leg:
    """One stretch of layer 2: from a port to a port of the same network."""

    way: Way
    network: Network
    sender: Spot
    receiver: Spot
    flight: Flight
    source_mac: str
    destination_mac: str
    next_hop: str
    """Address that the sender asks for by ARP or neighbour discovery."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A router that the packet passes."""

    way: Way
    router: Router
    host: str
    came_in: RouterPort
    goes_out: RouterPort
    before: Flight
    after: Flight
    notes: tuple[str, ...] = ()
    """The route that is taken, and the translations."""
    floating_ip_id: str = ""


Step = Leg | Crossing


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that stops the packet: a code of verdicts.py, the culprit, and words about this very case."""

    code: str
    sentence: str
    culprit: Ref | None = None
    mend: str = ""
    evidence: tuple[str, ...] = ()
    step: int = -1
    """Index of the step of the path where it happens; -1: at no step."""
    reachable: bool | None = False
    firm: bool = False
    """Stands even when the probe was answered: an answer is not all that is wanted of a service."""


@dataclass(slots=True)
class Path:
    """The way there and back as the API's objects mean it, as far as they let it."""

    there: list[Step] = field(default_factory=list)
    back: list[Step] = field(default_factory=list)
    stopped: Finding | None = None
    """What of the API's objects forbids it."""

    @property
    def steps(self) -> list[Step]:
        return [*self.there, *self.back]

    @property
    def hosts(self) -> list[str]:
        """In order of appearance."""
        found: dict[str, None] = {}
        for step in self.steps:
            places = [step.host] if isinstance(step, Crossing) else [step.sender.host, step.receiver.host]
            found.update(dict.fromkeys(place for place in places if place))
        return list(found)
