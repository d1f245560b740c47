"""What the doctor finds: the words of ``/v1/doctor``, and of the calls by which it asks agents."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["problem", "note"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it must be (``problem``), or that is worth knowing (``note``)."""

    check: str
    """interfaces, trunk, underlay, bridges, translation, ports, flows, rules, addresses, namespaces, links, dhcp,
    metadata, advertisements, connections, instances, targets, leak, services, capacity, orphans, database, logs, neighbours."""
    sentence: str
    level: Level = "problem"
    host: str = ""
    subject: str = ""
    """The object, device, file or row."""
    kind: str = ""
    """missing, extra, differs, foreign, unreadable; empty where nothing is compared."""
    wanted: str = ""
    actual: str = ""
    mend: str = ""
    """The command that mends it."""
    request_id: str = ""


class Neighbour(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who introduced itself on a wire by LLDP."""

    nic: str
    chassis: str
    port: str
    name: str = ""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer. ``fixed`` is what was found and, asked to, mended."""

    hosts: list[str]
    findings: list[Finding] = []
    fixed: list[Finding] = []
    checked: dict[str, int] = {}
    """Name of each check, with the number of things it looked at where that can be said."""
    neighbours: dict[str, list[Neighbour]] = {}
    """Host to those that its NICs heard."""
    seconds: float = 0.0


class ExamineHost(msgspec.Struct, frozen=True):
    """``agent.examine``: result is HostExamination. Changes nothing."""


class Uplink(msgspec.Struct, frozen=True, kw_only=True):
    """A NIC of the host by which a physical network is reached."""

    physical_network: str
    bridge: str
    nic: str
    mac: str = ""
    mtu: int = 0


class HostExamination(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an agent sees of its own host beside what its drivers compare."""

    host: str
    time: float
    findings: list[Finding] = []
    uplinks: list[Uplink] = []
    addresses: dict[str, str] = {}
    """``tunnel`` and ``storage``, the host's addresses on the underlay."""
    neighbours: list[Neighbour] = []
    checked: dict[str, int] = {}


class WireTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A NIC of another host, and the VLANs that must pass on the way there (0: untagged)."""

    host: str
    nic: str
    mac: str
    vlans: list[int]


class ProbeWires(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``agent.probe_wires``: say hello to others by every VLAN, small and as large as the MTU allows, and hear who does.

    All hosts are asked at once. Result is WiresProbed. Frames go to the other NIC's own address, so that no
    instance sees them.
    """

    id: str
    targets: list[WireTarget] = []
    pings: dict[str, str] = {}
    """Name to address of other hosts on the underlay."""
    seconds: float = 1.5


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A frame of the probe that arrived."""

    host: str
    nic: str
    vlan: int
    large: bool


class WiresProbed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    heard: list[Heard] = []
    silent: dict[str, str] = {}
    """Names of ``pings`` that did not answer, with what ping said."""


class ResyncHost(msgspec.Struct, frozen=True):
    """``agent.resync``: read the world again and repair what differs, as the slow timer does. Result is null."""
