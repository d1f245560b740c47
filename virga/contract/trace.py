"""What an agent reads of its host for an explanation, and the probe that it sends: arguments and results of ``trace.…`` calls."""

from __future__ import annotations

import msgspec

from virga.contract.calls import HostDifference


class ReadHost(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``trace.read``: result is HostReading. Reads only; what cannot be read is empty, and ``problems`` says why."""

    namespaces: list[str] = []
    """Besides the host itself."""
    networks: list[str] = []
    """Ids of networks whose DHCP is of interest."""
    routers: list[str] = []
    instances: list[str] = []
    addresses: list[str] = []
    """Only connections of these addresses are listed."""


class LinkReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network device."""

    name: str
    mac: str = ""
    up: bool = False
    carrier: bool = False
    mtu: int = 0
    master: str = ""
    addresses: list[str] = []
    """With prefix length; those that are not usable (duplicate, tentative) end in a word that says so."""


class NamespaceReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network namespace as its kernel tells it. The name is empty for the host itself."""

    name: str
    exists: bool = True
    links: list[LinkReading] = []
    routes: list[str] = []
    """As ``ip route`` prints them, of both families, of every table but ``local``."""
    policies: list[str] = []
    """As ``ip rule`` prints them."""
    neighbours: list[str] = []
    """As ``ip neighbour`` prints them."""
    sysctls: dict[str, str] = {}
    rules: list[str] = []
    """``4/nat -A PREROUTING …``: lines of iptables-save, with family and table in front."""
    connections: list[str] = []
    """As ``conntrack -L`` prints them."""
    queues: list[str] = []
    """Queueing disciplines that are not the kernel's own choice."""


class SwitchPortReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A port of a bridge. ``error`` is Open vSwitch's own word."""

    bridge: str
    name: str
    ofport: int = -1
    tag: int | None = None
    wanted_tag: int | None = None
    """What the agent remembers with the port."""
    network_id: str = ""
    type: str = ""
    peer: str = ""
    error: str = ""
    port_id: str = ""
    link_up: bool = True
    up: bool = True
    """False when the port was administratively shut in the switch."""
    trunks: list[int] = []
    policing_kbps: int = 0


class ProcessReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A daemon or a guest. ``state``: the kernel's letter; empty when there is no such process."""

    kind: str
    """dnsmasq, haproxy, radvd, qemu, namespace."""
    key: str
    pid: int = 0
    state: str = ""
    detail: str = ""


class HostReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One host, at one time."""

    host: str
    in_memory: bool = False
    """The host has drivers in memory: there is nothing to be read, and nothing to be seen."""
    switch_problem: str = ""
    """Empty when Open vSwitch answers."""
    flows: dict[str, list[str]] = {}
    """Bridge -> lines as ``ovs-ofctl -O OpenFlow15 --no-names --no-stats dump-flows`` prints them."""
    ports: list[SwitchPortReading] = []
    integration_bridge: str = "br-int"
    bridge_mappings: dict[str, str] = {}
    bridge_nics: dict[str, list[str]] = {}
    namespaces: list[NamespaceReading] = []
    processes: list[ProcessReading] = []
    files: dict[str, str] = {}
    """What the DHCP servers read: ``NETWORK/host`` and the like, to content."""
    differences: list[HostDifference] = []
    """What the drivers say differs from the wish. Flows are not among them: they are above."""
    metadata_problem: str = ""
    """Why the host's metadata server does not take requests of its proxies; empty when it does."""
    failures: list[str] = []
    """What the last round could not realise."""
    revision: int = 0
    switch_connections: list[str] = []
    """As ``ovs-appctl dpctl/dump-conntrack`` prints them, of the addresses asked for."""
    problems: list[str] = []


class Point(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A device where frames are watched. ``key`` is the explainer's own name for it."""

    key: str
    device: str
    namespace: str = ""


class Shot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A frame to be sent: out of a device, or, when ``bridge`` is set, into a bridge as if it came in by a port of it."""

    key: str
    frame: str
    """In hexadecimal digits."""
    device: str = ""
    namespace: str = ""
    bridge: str = ""
    ofport: int = 0
    output: bool = False
    """With ``bridge``: out of the port instead of in by it, past all flows."""


class Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How frames of one shot are known again: by bytes anywhere in it, or by a TCP acknowledgement."""

    key: str
    bytes_hex: str = ""
    acknowledges: list[int] = []
    port: int = 0
    """Of UDP: who sends to this port asks, who sends from it answers."""


class Watch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``trace.watch``: watch the points from now on; the result comes when the watch has begun. ``id`` names it."""

    id: str
    points: list[Point]
    marks: list[Mark]
    addresses: list[str] = []
    """ARP and neighbour discovery about these addresses is of interest, too."""
    longest_s: float = 5.0
    """After which the watch ends by itself, whoever forgot it."""


class Send(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``trace.send``: send the shots and wait until ``until`` was seen or the time is over. Result: whether all was seen."""

    id: str
    shots: list[Shot]
    until: list[str] = []
    """Pairs ``mark@point@way``: all must have been seen."""
    wait_s: float = 1.0


class Collect(msgspec.Struct, frozen=True, kw_only=True):
    """``trace.collect``: end the watch. Result is a list of Sighting. Removes everything of the watch."""

    id: str


class Sighting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One frame at one point."""

    point: str
    at: float
    way: str
    """``out`` of the device towards its other end, or ``in``."""
    mark: str = ""
    """Empty for ARP and neighbour discovery."""
    text: str = ""
    vlan: int | None = None
    length: int = 0
    source: str = ""
    destination: str = ""
    kind: str = ""
    """``request``, ``reply``, ``refusal``, ``error``, ``who-has``, ``is-at``, ``other``."""
    macs: list[str] = []
