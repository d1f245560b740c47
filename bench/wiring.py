"""How long a port takes from the API call that binds it to ACTIVE, beside few and beside many ports of the host."""

from __future__ import annotations

import statistics
import time

from bench.client import Client

SAMPLES = 10


def port_wiring(client: Client, host: str, sizes: tuple[int, ...] = (10, 500)) -> list[dict[str, float]]:
    """Bind ports to ``host`` up to each size, then time some more one by one. Milliseconds."""
    network = client.json("POST", "/network/v2.0/networks", {"network": {"name": "wiring"}})["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.64.0.0/16"}
    client.json("POST", "/network/v2.0/subnets", {"subnet": subnet})
    results: list[dict[str, float]] = []
    there = 0
    for size in sizes:
        ports: list[str] = []
        while there < size:
            step = min(50, size - there)
            body = {"ports": [bound_port(network, host, there + i) for i in range(step)]}
            ports += [p["id"] for p in client.json("POST", "/network/v2.0/ports", body)["ports"]]
            there += step
        for port in ports:
            until_active(client, port)
        times = []
        for number in range(SAMPLES):
            began = time.perf_counter()
            one = {"port": bound_port(network, host, there + number)}
            port = client.json("POST", "/network/v2.0/ports", one)["port"]["id"]
            until_active(client, port)
            times.append((time.perf_counter() - began) * 1000)
        there += SAMPLES
        results.append(
            {"ports": size, "p50_ms": round(statistics.median(times), 1), "max_ms": round(max(times), 1)}
        )
    return results


def bound_port(network: str, host: str, number: int) -> dict[str, str]:
    """A port as Compute would bind it to a host."""
    return {
        "network_id": network,
        "name": f"wired{number}",
        "binding:host_id": host,
        "device_owner": "compute:nova",
        "device_id": f"bench-{number}",
    }


def until_active(client: Client, port: str, limit_s: float = 120) -> None:
    """Ask again at once: the time between two answers is the resolution of the measurement."""
    deadline = time.monotonic() + limit_s
    while client.json("GET", f"/network/v2.0/ports/{port}?fields=status")["port"]["status"] != "ACTIVE":
        if time.monotonic() > deadline:
            raise TimeoutError(f"port {port} did not become ACTIVE within {limit_s} s")
