"""Are the host's NICs up, as large as they must be, and where they must be; does the switch answer. Pure on what ip says."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from virga.agent.config import AgentConfig
from virga.contract.doctor import Finding, Uplink

Links = Mapping[str, Mapping[str, Any]]
"""Entries of ``ip -d -j addr`` by name."""


def uplinks(config: AgentConfig, links: Links) -> list[Uplink]:
    """The NICs by which each physical network is reached."""
    return [
        Uplink(
            physical_network=physical,
            bridge=bridge,
            nic=nic,
            mac=str(links.get(nic, {}).get("address", "")),
            mtu=int(links.get(nic, {}).get("mtu", 0)),
        )
        for physical, bridge in sorted(config.bridge_mappings.items())
        for nic in config.bridge_nics.get(bridge, ())
    ]


def nics(host: str, wanted: Sequence[Uplink], links: Links, largest_mtu: int) -> list[Finding]:
    """``largest_mtu`` is that of the largest network here: a smaller NIC loses its large frames."""
    found = []
    for uplink in wanted:
        link = links.get(uplink.nic)
        if link is None:
            sentence = f"{uplink.nic}, which carries {uplink.physical_network}, does not exist."
            found.append(_finding(host, uplink.nic, sentence, "missing", "ip link"))
            continue
        if "UP" not in link.get("flags", ()):
            sentence = f"{uplink.nic}, which carries {uplink.physical_network}, is down."
            found.append(_finding(host, uplink.nic, sentence, "differs", f"ip link set {uplink.nic} up"))
        elif "LOWER_UP" not in link.get("flags", ()):
            sentence = (
                f"{uplink.nic}, which carries {uplink.physical_network}, has no carrier: look at its cable."
            )
            found.append(_finding(host, uplink.nic, sentence, "differs", f"ip link show {uplink.nic}"))
        if uplink.mtu < largest_mtu:
            sentence = f"{uplink.nic} has MTU {uplink.mtu}, but networks here have up to {largest_mtu}: large packets vanish."
            mend = f"ip link set {uplink.nic} mtu {largest_mtu}"
            found.append(_finding(host, uplink.nic, sentence, "differs", mend))
    return found


def addresses(host: str, wanted: Mapping[str, str], links: Links) -> list[Finding]:
    """The host's own addresses on the underlay."""
    holders = {
        info.get("local"): (name, link) for name, link in links.items() for info in link.get("addr_info", ())
    }
    found = []
    for purpose, address in sorted(wanted.items()):
        name, link = holders.get(address, ("", {}))
        if not name:
            sentence = f"The host has lost its {purpose} address {address}."
            found.append(_finding(host, address, sentence, "missing", "ip addr"))
        elif not {"UP", "LOWER_UP"} <= set(link.get("flags", ())):
            sentence = f"{name} with the {purpose} address {address} is down or has no carrier."
            found.append(_finding(host, name, sentence, "differs", f"ip link set {name} up"))
    return found


def switch(host: str, sockets: Mapping[str, Path]) -> list[Finding]:
    """Daemons of Open vSwitch that do not answer at their sockets."""
    return [
        Finding(
            check="services",
            host=host,
            subject=name,
            kind="missing",
            sentence=f"{name} does not answer at {path}.",
            mend="virga up",
        )
        for name, path in sockets.items()
        if not _listens(path)
    ]


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _finding(host: str, subject: str, sentence: str, kind: str, mend: str) -> Finding:
    return Finding(
        check="interfaces",
        host=host,
        subject=subject,
        sentence=sentence,
        kind=kind,
        mend=f"virga host exec {host} -- {mend}",
    )
