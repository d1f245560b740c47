"""Kill -9 of server and agent: they come back, adopt what runs, and no running instance loses a packet."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lib.lab import Lab, wait_for


def processes(lab: Lab, module: str) -> set[int]:
    """Pids of ``python -m MODULE`` of this cloud."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if module.encode() in words and any(str(lab.state_dir).encode() in word for word in words):
                found.add(int(entry.name))
    return found


@pytest.fixture(scope="module")
def pair(lab: Lab, demo: Any) -> Iterator[tuple[str, str, str]]:
    """Two namespace instances on two networks with a router between them: host, netns pid finder and address."""
    networks, ports, servers = [], [], []
    router = demo.network.create_router(name="survival")
    group = demo.network.create_security_group(name="survival")
    demo.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", ethertype="IPv4", protocol="icmp"
    )
    for number in (1, 2):
        network = demo.network.create_network(name=f"survival{number}")
        subnet = demo.network.create_subnet(network_id=network.id, ip_version=4, cidr=f"10.33.{number}.0/24")
        demo.network.add_interface_to_router(router, subnet=subnet.id)
        networks.append((network, subnet))
        ports.append(demo.network.create_port(network_id=network.id, security_groups=[group.id]))
    flavor = demo.compute.find_flavor("ns.tiny")
    image = demo.image.find_image("tiny")
    for number, port in enumerate(ports):
        server = demo.compute.create_server(
            name=f"survivor{number}", flavor_id=flavor.id, image_id=image.id, networks=[{"port": port.id}]
        )
        servers.append(demo.compute.wait_for_server(server, wait=120))
    yield servers[0].id, ports[0].fixed_ips[0]["ip_address"], ports[1].fixed_ips[0]["ip_address"]
    for server in servers:
        demo.compute.delete_server(server)
    for server in servers:
        demo.compute.wait_for_delete(server, wait=120)
    for port in ports:
        demo.network.delete_port(port.id, ignore_missing=True)
    for network, subnet in networks:
        demo.network.remove_interface_from_router(router, subnet=subnet.id)
        demo.network.delete_network(network)
    demo.network.delete_router(router)
    demo.network.delete_security_group(group)


@pytest.mark.parametrize("victims", [("virga.agent",), ("virga.server",), ("virga.agent", "virga.server")])
def test_no_packet_is_lost(lab: Lab, demo: Any, pair: tuple[str, str, str], victims: tuple[str, ...]) -> None:
    _server, _source, target = pair
    router = next(iter(demo.network.routers(name="survival")))
    space = f"qrouter-{router.id}"
    wait_for("the instance answers", lambda: "1 received" in lab.on(
        "host1", f"ip netns exec {space} ping -c 1 -W 1 {target}", check=False))  # fmt: skip
    count = 1000
    ping = lab.start_on("host1", f"ip netns exec {space} ping -i 0.01 -c {count} {target}")
    killed = set().union(*(processes(lab, victim) for victim in victims))
    assert killed
    for pid in killed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    out, _ = ping.communicate(timeout=60)
    received = re.search(r"(\d+) received", out)
    assert received is not None
    assert int(received[1]) == count
    for victim in victims:
        wait_for(f"{victim} is back", lambda v=victim: processes(lab, v) - killed)
    fresh = demo.network.create_network(name="after")
    try:
        demo.network.create_subnet(network_id=fresh.id, ip_version=4, cidr="10.44.0.0/24")
        wait_for("what came back works", lambda: f"qdhcp-{fresh.id}" in lab.on("host1", "ip netns list"))
    finally:
        demo.network.delete_network(fresh)
    wait_for("and cleans up", lambda: f"qdhcp-{fresh.id}" not in lab.on("host1", "ip netns list"))
