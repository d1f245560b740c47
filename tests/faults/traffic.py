"""Whether packets really arrive: asked of the kernel, by programs that know nothing of explanations."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.world import World

ASK_NAME = """
import socket, struct, sys
server, name = sys.argv[1:]
question = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\\0" + struct.pack("!HH", 1, 1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(1)
    sock.connect((server, 53))
    sock.send(struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + question)
    answer = sock.recv(2000)
sys.exit(0 if answer[6:8] > b"\\0\\0" else 2)
"""
LEASE = """
d=$(mktemp -d); trap 'rm -rf $d' EXIT
printf '#!/bin/sh\\n[ "$1" = bound ] && echo "$ip $dns" > %s/lease\\n' $d > $d/s; chmod +x $d/s
busybox udhcpc -f -q -n -t 2 -T 1 -i eth0 -s $d/s > /dev/null 2>&1 && cat $d/lease
"""


@dataclass(frozen=True)
class Path:
    """Two ends and what is sent. ``big`` packets fill the network's MTU. ``target`` may be an address."""

    source: str
    target: str = ""
    traffic: str = "icmp"
    version: int = 4
    big: bool = False

    def __str__(self) -> str:
        words = [self.source, *([self.target] if self.target else []), self.traffic]
        return " ".join(
            [*words, *(["(IPv6)"] if self.version == 6 else []), *(["(big)"] if self.big else [])]
        )


def address(world: World, path: Path) -> str:
    """Where the source really sends to."""
    if path.target == "outside":
        return world.outside
    server = world.servers.get(path.target)
    if server is None:
        return path.target
    if path.source == "outside":
        return server.fip
    return server.ip6 if path.version == 6 else server.ip


def works(world: World, path: Path) -> bool:
    """One try."""
    host, space = world.place(path.source)
    if path.traffic in SERVICES:
        return SERVICES[path.traffic](world, path)
    target = address(world, path)
    if path.traffic == "icmp":
        size = ["-M", "do", "-s", "1452" if path.version == 6 else "1472"] if path.big else []
        argv = ["ping", f"-{path.version}", "-n", "-c", "1", "-W", "0.6", *size, target]
        return world.run(host, *argv, ns=space).returncode == 0
    port = path.traffic.partition("/")[2]
    return world.run(host, "nc", "-z", "-n", "-w", "1", target, port, ns=space).returncode == 0


def _lease(world: World, path: Path) -> list[str]:
    """Address and name servers that a fresh client is given."""
    host, space = world.place(path.source)
    return world.run(host, "sh", "-c", LEASE, ns=space).stdout.split()


def _dhcp(world: World, path: Path) -> bool:
    return _lease(world, path)[:1] == [world.servers[path.source].ip]


def _dns(world: World, path: Path) -> bool:
    host, space = world.place(path.source)
    servers = _lease(world, path)[1:]
    name = f"{path.source}.openstacklocal"
    ask = ["python3", "-c", ASK_NAME]
    return bool(servers) and world.run(host, *ask, servers[0], name, ns=space).returncode == 0


def _metadata(world: World, path: Path) -> bool:
    host, space = world.place(path.source)
    url = "http://169.254.169.254/latest/meta-data/hostname"
    said = world.run(host, "curl", "-sf", "-m", "2", url, ns=space)
    return said.returncode == 0 and said.stdout.startswith(path.source)


SERVICES: dict[str, Callable[[World, Path], bool]] = {"dhcp": _dhcp, "dns": _dns, "metadata": _metadata}


def becomes(world: World, path: Path, wanted: bool, limit_s: float = 15.0) -> bool:
    """Whether the path comes to work, or to fail twice in a row, in time."""
    deadline = time.monotonic() + limit_s
    same = 0
    while True:
        same = same + 1 if works(world, path) == wanted else 0
        if same == (1 if wanted else 2):
            return True
        if time.monotonic() > deadline:
            return False
