"""What must hold before a start touches anything. Each failure is one sentence with the next step."""

from __future__ import annotations

import os
import shutil
import socket

from virga.settings import Settings

TOOLS = {
    "ovs-vswitchd": "openvswitch-switch",
    "ovs-vsctl": "openvswitch-switch",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "dnsmasq": "dnsmasq-base",
    "haproxy": "haproxy",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "radvd": "radvd",
    "tgtd": "tgt",
    "nft": "nftables",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "arping": "iputils-arping",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
"""Command to distribution package."""

LEAST_FREE_MB = 200
LONGEST_SOCKET_PATH = 107


class CheckError(Exception):
    """Something is missing or wrong; nothing was started."""


def missing_tools() -> dict[str, str]:
    """Commands that are not installed, with the package that has each."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    return {tool: package for tool, package in TOOLS.items() if shutil.which(tool, path=path) is None}


def problems(settings: Settings) -> list[str]:
    """All that stands against a start, one sentence each. Reads only."""
    found = []
    if settings.dataplane == "lab":
        if os.geteuid() != 0:
            found.append(
                "Simulated hosts need root: run it with sudo, or start without packets by `virga up --dataplane fake`."
            )
        if missing := missing_tools():
            packages = " ".join(sorted(set(missing.values())))
            found.append(
                f"Missing: {', '.join(missing)}. Install them with `apt-get install {packages}` or `make setup`."
            )
        if str(settings.state_dir).startswith(("/run/", "/var/run/", "/sys/", "/proc/")):
            found.append(
                f"The state directory {settings.state_dir} cannot be under /run: hosts have their own there."
            )
    longest = settings.state_dir / (
        "bus.sock" if settings.dataplane == "fake" else "hosts/host99/metadata.sock"
    )
    if len(str(longest)) > LONGEST_SOCKET_PATH:
        found.append(
            f"The state directory {settings.state_dir} has too long a name for the sockets in it: "
            f"choose one of at most {LONGEST_SOCKET_PATH - len(str(longest)) + len(str(settings.state_dir))} characters."
        )
    return found + _disk(settings)


def _disk(settings: Settings) -> list[str]:
    place = settings.state_dir
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        return [f"The directory {place} cannot be written to: choose another one with --state-dir."]
    free_mb = shutil.disk_usage(place).free // 2**20
    if free_mb < LEAST_FREE_MB:
        return [
            f"Only {free_mb} MiB are free at {place}, at least {LEAST_FREE_MB} are needed: make room and start again."
        ]
    return []


def require(settings: Settings) -> None:
    """Raise CheckError with the first problem."""
    for sentence in problems(settings):
        raise CheckError(sentence)


def port_is_free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def choose_port(settings: Settings, explicit: bool) -> int:
    """The port of the settings; if it is occupied and nobody insisted on it, the next free one."""
    if port_is_free(settings.bind_address, settings.port):
        return settings.port
    if explicit:
        raise CheckError(
            f"Port {settings.port} of {settings.bind_address} is occupied: stop what listens there, "
            "or choose another with --port."
        )
    for port in range(settings.port + 1, min(settings.port + 200, 65536)):
        if port_is_free(settings.bind_address, port):
            return port
    raise CheckError(
        f"No port from {settings.port} on is free on {settings.bind_address}: choose one with --port."
    )
