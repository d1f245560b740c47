"""From the command to the first API answer, to agent and OVS ready, and to an instance behind its floating IP."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.client import Client
from bench.clouds import ROOT, VIRGA, Running
from virga import settings as settings_module


def timed_start(state_dir: Path) -> dict[str, float]:
    """Start the (prepared, stopped) cloud of ``state_dir``; seconds to the first answer, to agents up, to the prompt."""
    settings = settings_module.load(state_dir)
    password = (state_dir / "admin_password").read_text().strip()
    began = time.monotonic()
    process = subprocess.Popen(
        [*VIRGA, "up", "--state-dir", str(state_dir)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    first = _until_answers(settings.endpoint, began)
    client = Client(settings.endpoint, password)
    agents = _until_agents(client, began)
    if process.wait() != 0:
        sys.exit("the start failed")
    return {
        "first_api_answer_s": first,
        "agents_ready_s": agents,
        "prompt_s": round(time.monotonic() - began, 2),
    }


def _until_answers(endpoint: str, began: float) -> float:
    host, port = endpoint.rpartition("//")[2].rsplit(":", 1)
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=1) as connection:
                connection.sendall(b"GET /identity/v3 HTTP/1.0\r\nHost: x\r\n\r\n")
                if b" 200 " in connection.recv(100):
                    return round(time.monotonic() - began, 2)
        except OSError:
            time.sleep(0.01)


def _until_agents(client: Client, began: float) -> float:
    while True:
        agents = client.json("GET", "/network/v2.0/agents")["agents"]
        if agents and all(agent["alive"] for agent in agents):
            return round(time.monotonic() - began, 2)
        time.sleep(0.01)


def first_instance(running: Running, flavor: str, image: str = "tiny") -> dict[str, float]:
    """Network, router, floating IP and a server; seconds from the first call until SSH answers from outside."""
    client = running.client()
    began = time.monotonic()
    public = client.json("GET", "/network/v2.0/networks?name=public")["networks"][0]["id"]
    network = _create(client, "network", {"name": "bench"})
    subnet = _create(client, "subnet", {"network_id": network, "ip_version": 4, "cidr": "10.99.0.0/24"})
    router = _create(client, "router", {"name": "bench", "external_gateway_info": {"network_id": public}})
    client.json("PUT", f"/network/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet})
    group = _create(client, "security_group", {"name": "bench"})
    for protocol in ("tcp", "icmp"):
        _create(
            client, "security_group_rule",
            {"security_group_id": group, "direction": "ingress", "protocol": protocol},
        )  # fmt: skip
    port = _create(client, "port", {"network_id": network, "security_groups": [group]})
    floating = client.json(
        "POST", "/network/v2.0/floatingips", {"floatingip": {"floating_network_id": public, "port_id": port}}
    )["floatingip"]["floating_ip_address"]
    flavors = client.json("GET", "/compute/v2.1/flavors")["flavors"]
    body = {
        "name": "bench",
        "flavorRef": next(f["id"] for f in flavors if f["name"] == flavor),
        "imageRef": client.json("GET", f"/image/v2/images?name={image}")["images"][0]["id"],
        "networks": [{"port": port}],
    }
    server = client.json("POST", "/compute/v2.1/servers", {"server": body})["server"]["id"]
    ping = _until_ping(floating, began)
    ssh = _until_ssh(floating, began)
    client.json("DELETE", f"/compute/v2.1/servers/{server}")
    return {"first_ping_s": ping, "first_ssh_banner_s": ssh}


def _create(client: Client, kind: str, body: dict[str, Any]) -> str:
    path = f"/network/v2.0/{kind.replace('_', '-')}s"
    return str(client.json("POST", path, {kind: body})[kind]["id"])


def _until_ping(address: str, began: float) -> float:
    while subprocess.run(["ping", "-c1", "-W1", address], capture_output=True, check=False).returncode:
        if time.monotonic() - began > 180:
            raise TimeoutError(f"{address} does not answer")
    return round(time.monotonic() - began, 2)


def _until_ssh(address: str, began: float) -> float:
    while time.monotonic() - began < 180:
        try:
            with socket.create_connection((address, 22), timeout=2) as connection:
                if connection.recv(4).startswith(b"SSH"):
                    return round(time.monotonic() - began, 2)
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"{address} does not speak SSH")
