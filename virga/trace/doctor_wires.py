"""Which wires must carry which VLANs, and what the answers of the probe mean. Pure, but for one query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from virga.contract.doctor import Finding, HostExamination, Uplink, WiresProbed, WireTarget
from virga.db.tx import Tx
from virga.services.network.models import network, network_segment, port

MOST_VLANS = 64
"""Of one pair of NICs in one probe."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A VLAN of a physical network that has ports on these hosts."""

    network_id: str
    name: str
    physical_network: str
    vlan: int
    hosts: frozenset[str]


def carried(tx: Tx) -> list[Carried]:
    """What wires must carry: networks with ports on several hosts."""
    segment = network_segment
    places: dict[str, set[str]] = {}
    for row in tx.all(select(port.c.network_id, port.c.host_id).where(port.c.host_id != "").distinct()):
        places.setdefault(row.network_id, set()).add(row.host_id)
    query = select(segment, network.c.name.label("network_name")).join(
        network, network.c.id == segment.c.network_id
    )
    rows = tx.all(
        query.where(segment.c.network_type.in_(("vlan", "flat"))).order_by(segment.c.segmentation_id)
    )
    return [
        Carried(
            row.network_id,
            row.network_name,
            row.physical_network,
            row.segmentation_id if row.network_type == "vlan" else 0,
            frozenset(places.get(row.network_id, ())),
        )
        for row in rows
        if len(places.get(row.network_id, ())) > 1
    ]


@dataclass(frozen=True, slots=True)
class Crossing:
    """One VLAN from a NIC of one host to that of another: a frame must pass there."""

    source: str
    target: str
    nic: str
    physical_network: str
    vlan: int


def crossings(hosts: Mapping[str, HostExamination], networks: Sequence[Carried]) -> list[Crossing]:
    """In both directions."""
    found: dict[Crossing, None] = {}
    for each in networks:
        reach = {
            name: uplink
            for name in each.hosts & hosts.keys()
            if (uplink := _uplink(hosts[name], each.physical_network)) is not None
        }
        for source in sorted(reach):
            for target, uplink in sorted(reach.items()):
                if source != target:
                    found[Crossing(source, target, uplink.nic, each.physical_network, each.vlan)] = None
    return list(found)


def _uplink(host: HostExamination, physical_network: str) -> Uplink | None:
    return next((u for u in host.uplinks if u.physical_network == physical_network and u.mac), None)


def targets(
    source: str, hosts: Mapping[str, HostExamination], wanted: Sequence[Crossing]
) -> list[WireTarget]:
    """What one host has to say to the others."""
    vlans: dict[tuple[str, str, str], list[int]] = {}
    for each in wanted:
        if each.source != source:
            continue
        own, far = (_uplink(hosts[name], each.physical_network) for name in (each.source, each.target))
        if own is not None and far is not None:
            vlans.setdefault((each.target, own.nic, far.mac), []).append(each.vlan)
    return [
        WireTarget(host=host, nic=nic, mac=mac, vlans=numbers[:MOST_VLANS])
        for (host, nic, mac), numbers in vlans.items()
    ]


def pings(source: str, hosts: Mapping[str, HostExamination]) -> dict[str, str]:
    """The other hosts' addresses on the underlay."""
    own = set(hosts[source].addresses)
    return {
        f"{name} {purpose}": address
        for name, host in sorted(hosts.items())
        for purpose, address in sorted(host.addresses.items())
        if name != source and purpose in own
    }


def verdicts(
    wanted: Sequence[Crossing], probed: Mapping[str, WiresProbed], names: Mapping[tuple[str, int], str]
) -> list[Finding]:
    """Crossings where no frame arrived, or no large one. ``names``: of physical network and VLAN."""
    heard = {
        (each.host, host, each.vlan, each.large) for host, result in probed.items() for each in result.heard
    }
    found = []
    for each in wanted:
        if each.source not in probed or each.target not in probed:
            continue
        small = (each.source, each.target, each.vlan, False) in heard
        large = (each.source, each.target, each.vlan, True) in heard
        if small and large:
            continue
        what = f"frames of VLAN {each.vlan}" if each.vlan else "untagged frames"
        network = names.get((each.physical_network, each.vlan), "")
        way = f"from {each.source} to {each.target} by {each.nic}"
        text = f"Small {what} pass {way}, large ones do not: the MTU on the way is too small."
        if not small:
            text = f"No {what} of {each.physical_network} ({network}) pass {way}: allow it on the trunk."
        found.append(
            Finding(
                check="trunk",
                host=each.target,
                subject=f"{each.physical_network} {each.vlan}",
                kind="missing",
                sentence=text,
                mend=f"virga host exec {each.target} -- tcpdump -eni {each.nic}",
            )
        )
    return found


def silent(probed: Mapping[str, WiresProbed]) -> list[Finding]:
    """Addresses on the underlay that do not answer."""
    return [
        Finding(
            check="underlay",
            host=host,
            subject=name,
            kind="missing",
            sentence=f"{host} does not reach {name}: {why}.",
            mend=f"virga host exec {host} -- ip route",
        )
        for host, result in sorted(probed.items())
        for name, why in sorted(result.silent.items())
    ]
