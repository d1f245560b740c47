"""The wires between simulated hosts: Linux bridges in a namespace of their own, one cable to each host.

    host1   eth0 ── tunnel    every host; addresses for overlays
            eth1 ── trunk     every host; VLANs of the physical network physnet1
            eth2 ── outside   host1, and the machine itself: the physical network public
            eth3 ── storage   every host; addresses for iSCSI, not through Open vSwitch

Checksum offload is off at every end that a kernel sends from: the userspace datapath reads frames before the
checksum would be filled in, and then ping works while TCP and DHCP do not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from virga.lab.holder import Holder
from virga.lib.run import run

BRIDGES = ("tunnel", "trunk", "outside", "storage")


@dataclass(frozen=True, slots=True)
class Cable:
    """One NIC of one host, its bridge, and its address if it has one."""

    nic: str
    bridge: str
    address: str = ""


def tunnel_ip(number: int) -> str:
    return f"192.0.2.{10 + number}"


def storage_ip(number: int) -> str:
    return f"198.51.100.{10 + number}"


def cables(number: int) -> list[Cable]:
    """The NICs of host ``number`` (1 is the first)."""
    found = [
        Cable("eth0", "tunnel", f"{tunnel_ip(number)}/24"),
        Cable("eth1", "trunk"),
        Cable("eth3", "storage", f"{storage_ip(number)}/24"),
    ]
    return [*found, Cable("eth2", "outside")] if number == 1 else found


def plug_name(number: int, nic: str) -> str:
    """The underlay's end of a cable."""
    return f"h{number}-{nic}"


def _links(holder: Holder) -> set[str]:
    found = json.loads(run(holder.inside("ip", "-j", "link")).stdout)
    return {link["ifname"].partition("@")[0] for link in found}


def _batch(holder: Holder, lines: list[str]) -> None:
    if lines:
        run(holder.inside("ip", "-batch", "-"), stdin="\n".join(lines) + "\n")


def make_bridges(underlay: Holder, mtu: int) -> None:
    """The four bridges. Idempotent."""
    present = _links(underlay)
    lines = []
    for name in BRIDGES:
        if name not in present:
            lines += [f"link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"]
            lines += [f"link set {name} mtu {mtu} up"]
    _batch(underlay, lines)


def connect(underlay: Holder, host: Holder, number: int, mtu: int) -> None:
    """Pull the cables of a host, and put addresses on those that have one. Idempotent."""
    present = _links(underlay)
    missing = [cable for cable in cables(number) if plug_name(number, cable.nic) not in present]
    outer, inner = [], []
    for cable in missing:
        plug = plug_name(number, cable.nic)
        outer += [f"link add {plug} mtu {mtu} type veth peer name {cable.nic} mtu {mtu} netns {host.pid}"]
        outer += [f"link set {plug} master {cable.bridge} up"]
        inner += [f"link set {cable.nic} up"]
        inner += [f"address add {cable.address} dev {cable.nic}"] if cable.address else []
    _batch(underlay, outer)
    _batch(host, inner)
    for cable in missing:
        run(host.inside("ethtool", "-K", cable.nic, "tx", "off"))


def disconnect(underlay: Holder, number: int) -> None:
    """Take the cables of a host away. Idempotent."""
    present = _links(underlay)
    names = [plug_name(number, cable.nic) for cable in cables(number)]
    _batch(underlay, [f"link del {name}" for name in names if name in present])
