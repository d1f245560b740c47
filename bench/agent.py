"""An agent at work: many ports plugged at once, and started anew beside many ports."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from bench.client import Client
from bench.clouds import Running
from bench.wiring import bound_port, until_active

PORTS = "/network/v2.0/ports"


def plug_and_restart(running: Running, plugged: int = 50, beside: int = 200) -> dict[str, float]:
    """Seconds until all of ``plugged`` new ports are ACTIVE, and until a new agent works beside ``beside``."""
    client = running.client()
    client.lift_quotas()
    network = client.json("POST", "/network/v2.0/networks", {"network": {"name": "agent"}})["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.65.0.0/16"}
    client.json("POST", "/network/v2.0/subnets", {"subnet": subnet})
    found: dict[str, float] = {}
    _plug(client, network, 0, 1)
    found[f"{plugged} ports at once, all ACTIVE"] = _plug(client, network, 1, plugged)
    _plug(client, network, 1 + plugged, beside - plugged - 1)
    found[f"agent killed beside {beside} ports, until a port that came meanwhile is ACTIVE"] = _restart(
        running, client, network, beside
    )
    return found


def _plug(client: Client, network: str, first: int, count: int) -> float:
    """From sending the request until the last port is ACTIVE."""
    began = time.perf_counter()
    body = {"ports": [bound_port(network, "host1", first + i) for i in range(count)]}
    ports = client.json("POST", PORTS, body)["ports"]
    for port in ports:
        until_active(client, port["id"])
    return round(time.perf_counter() - began, 2)


def _restart(running: Running, client: Client, network: str, number: int) -> float:
    """The new agent reads the host, gets all items, finds that they are so, and then does the one that is new."""
    pid = next(pid for pid, line in running.pids().items() if "virga.agent" in line)
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    port: dict[str, Any] = {"port": bound_port(network, "host1", number)}
    until_active(client, client.json("POST", PORTS, port)["port"]["id"])
    return round(time.perf_counter() - began, 2)
