"""The outside world as the machine sees it: one interface with the first address of the public range.

It is the only thing of a cloud that shows on the machine. What comes in by it goes no further, unless the
user asked for NAT; then forwarding and one nftables table are added, and taken away at the end.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import msgspec

from virga.lab.holder import Holder
from virga.lib.run import run

FIRST_RANGE = ipaddress.IPv4Network("172.24.4.0/24")
SYSCTL = Path("/proc/sys/net")


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """What was put on the machine; kept in ``outside.json`` so that exactly this is taken away."""

    interface: str
    cidr: str
    forwarding_was: str = ""
    """The machine's ip_forward before NAT was asked for; empty without NAT."""

    @property
    def address(self) -> str:
        return str(ipaddress.ip_network(self.cidr)[1])


class OutsideError(Exception):
    """The outside range cannot be had."""


def read(path: Path) -> Outside | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Outside)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def free_range(wanted: str, ours: str = "") -> str:
    """``wanted`` if nothing on the machine overlaps it, else, when nothing was wanted, the next free /24."""
    taken = _taken(ours)
    if wanted:
        for network, device in taken:
            if network.overlaps(ipaddress.IPv4Network(wanted)):
                raise OutsideError(
                    f"the outside range {wanted} overlaps {network} on {device} of this machine; "
                    "set `outside_cidr` to another range, or stop what uses it"
                )
        return wanted
    base = int(FIRST_RANGE.network_address)
    for step in range(200):
        candidate = ipaddress.IPv4Network((base + 256 * step, 24))
        if not any(network.overlaps(candidate) for network, _device in taken):
            return str(candidate)
    raise OutsideError("no /24 from 172.24.4.0 on is free on this machine; set `outside_cidr`")


def _taken(ours: str) -> list[tuple[ipaddress.IPv4Network, str]]:
    routes = json.loads(run(["ip", "-j", "-4", "route"]).stdout or "[]")
    return [
        (ipaddress.IPv4Network(route["dst"], strict=False), route["dev"])
        for route in routes
        if route["dst"] != "default" and "dev" in route and route["dev"] != ours
    ]


def connect(underlay: Holder, cidr: str, path: Path, mtu: int) -> Outside:
    """Give the machine its interface of the outside world. Idempotent. Mark: ``path``, which names the interface."""
    names = {link["ifname"] for link in json.loads(run(["ip", "-j", "link"]).stdout)}
    present = read(path)
    if present and present.interface in names:
        return present
    name = next(
        name for name in ("virga-ext", *(f"virga-ext{n}" for n in range(2, 100))) if name not in names
    )
    outside = Outside(interface=name, cidr=cidr)
    # The record comes first: an interface without one would stay for ever.
    path.write_bytes(msgspec.json.encode(outside))
    run(
        [
            "ip",
            "link",
            "add",
            name,
            "mtu",
            str(mtu),
            "type",
            "veth",
            "peer",
            "name",
            "machine",
            "netns",
            str(underlay.pid),
        ]
    )
    _write("ipv6/conf", name, "disable_ipv6", "1")
    _write("ipv4/conf", name, "forwarding", "0")
    run(["ethtool", "-K", name, "tx", "off"])
    run(underlay.inside("ip", "link", "set", "machine", "master", "outside", "up"))
    length = ipaddress.ip_network(cidr).prefixlen
    run(["ip", "address", "add", f"{outside.address}/{length}", "dev", name])
    run(["ip", "link", "set", name, "up"])
    return outside


def forward(outside: Outside, path: Path) -> Outside:
    """Let the lab reach what the machine reaches, behind the machine's addresses. Idempotent."""
    if outside.forwarding_was:
        return outside
    forwarding = SYSCTL / "ipv4/ip_forward"
    done = msgspec.structs.replace(outside, forwarding_was=forwarding.read_text().strip())
    path.write_bytes(msgspec.json.encode(done))
    closed = [place for place in _switches() if place.read_text().strip() == "0"]
    forwarding.write_text("1")
    # The kernel opened every interface by that, those of other clouds too.
    for place in closed:
        place.write_text("0")
    _write("ipv4/conf", outside.interface, "forwarding", "1")
    rule = f'ip saddr {outside.cidr} oifname != "{outside.interface}" masquerade'
    chain = f"chain out {{ type nat hook postrouting priority srcnat; {rule}\n }}"
    run(["nft", "-f", "-"], stdin=f"table ip {outside.interface} {{\n {chain}\n}}\n")
    return done


def _switches() -> list[Path]:
    """The forwarding switch of every cloud's interface."""
    return list((SYSCTL / "ipv4/conf").glob("virga-ext*/forwarding"))


def disconnect(path: Path) -> None:
    """Take away what ``connect`` and ``forward`` put on the machine. Idempotent."""
    outside = read(path)
    if outside is None:
        return
    run(["ip", "link", "del", outside.interface], check=False)
    if outside.forwarding_was:
        run(["nft", "delete", "table", "ip", outside.interface], check=False)
        if not any(place.read_text().strip() == "1" for place in _switches()):
            (SYSCTL / "ipv4/ip_forward").write_text(outside.forwarding_was)
    path.unlink(missing_ok=True)


def _write(family: str, interface: str, name: str, value: str) -> None:
    place = SYSCTL / family / interface / name
    if place.exists():
        place.write_text(value)
