"""A list of 1,000 servers with all details, each with a port, an address and a security group."""

from __future__ import annotations

import statistics
import time
from typing import Any

from bench.client import Client

SERVERS = 1000
HOSTS = 32
SAMPLES = 20


def long_list(client: Client) -> dict[str, float]:
    """Milliseconds of one list."""
    client.lift_quotas()
    unlimited = {"instances": -1, "cores": -1, "ram": -1, "force": True}
    client.json("PUT", f"/compute/v2.1/os-quota-sets/{client.project_id}", {"quota_set": unlimited})
    network = client.json("POST", "/network/v2.0/networks", {"network": {"name": "many"}})["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.97.0.0/16"}
    client.json("POST", "/network/v2.0/subnets", {"subnet": subnet})
    flavors = client.json("GET", "/compute/v2.1/flavors")["flavors"]
    body: dict[str, Any] = {
        "name": "many",
        "flavorRef": next(f["id"] for f in flavors if f["name"] == "m1.nano"),
        "imageRef": client.json("GET", "/image/v2/images?name=tiny")["images"][0]["id"],
        "networks": [{"uuid": network}],
        "min_count": 50,
        "max_count": 50,
    }
    for _ in range(SERVERS // 50):
        client.json("POST", "/compute/v2.1/servers", {"server": body})
    deadline = time.monotonic() + 240
    while client.json("GET", "/compute/v2.1/servers?status=BUILD&limit=1")["servers"]:
        if time.monotonic() > deadline:
            raise TimeoutError("the servers were not built")
        time.sleep(0.5)
    times = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        status, content = client.raw("GET", f"/compute/v2.1/servers/detail?limit={SERVERS}")
        times.append((time.perf_counter() - began) * 1000)
        if status != 200:
            raise RuntimeError(f"the list answered {status}: {content[:300]!r}")
    return {
        f"{SERVERS} servers with details, p50": round(statistics.median(times), 1),
        "the quickest": round(min(times), 1),
    }
