"""Latency and throughput of the Network API: lists at several sizes, creates with one and with eight clients."""

from __future__ import annotations

from bench.client import Act, Client, Timing, measure

SIZES = (1, 100, 1000, 5000)


def lists(client: Client) -> list[Timing]:
    """GET /networks while there are 1, 100, 1,000 and 5,000 of them."""
    timings: list[Timing] = []
    there = len(client.json("GET", "/network/v2.0/networks?fields=id")["networks"])
    for size in SIZES:
        while there < size:
            step = min(100, size - there)
            client.json(
                "POST",
                "/network/v2.0/networks",
                {"networks": [{"name": f"n{there + i}"} for i in range(step)]},
            )
            there += step
        path = f"/network/v2.0/networks?limit={size}"
        for clients in (1, 8):
            requests = max(8, min(200, 40_000 // size))
            timings.append(measure(f"list {size} networks", client, clients, requests, _get(path)))
    return timings


def _get(path: str) -> Act:
    return lambda client, _number: client.raw("GET", path)[0]


def _post_subnets(client: Client, second_octet: int, count: int) -> Act:
    """Each subnet goes into a network of its own, made beforehand."""
    body = {"networks": [{"name": f"s{i}"} for i in range(count)]}
    networks = [n["id"] for n in client.json("POST", "/network/v2.0/networks", body)["networks"]]

    def act(mine: Client, number: int) -> int:
        cidr = f"10.{second_octet}.{number}.0/24"
        subnet = {"network_id": networks[number], "ip_version": 4, "cidr": cidr}
        return mine.raw("POST", "/network/v2.0/subnets", {"subnet": subnet})[0]

    return act


def creates(client: Client, requests: int = 200) -> list[Timing]:
    """POST network, subnet and port, and GET a port."""
    network = client.json("POST", "/network/v2.0/networks", {"network": {"name": "ports"}})["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.128.0.0/12"}
    client.json("POST", "/network/v2.0/subnets", {"subnet": subnet})
    port = client.json("POST", "/network/v2.0/ports", {"port": {"network_id": network}})["port"]["id"]
    timings: list[Timing] = []
    for clients in (1, 8):
        timings += [
            measure(
                "create network", client, clients, requests,
                lambda c, n: c.raw("POST", "/network/v2.0/networks", {"network": {"name": f"b{n}"}})[0],
            ),
            measure(
                "create subnet", client, clients, requests,
                _post_subnets(client, clients, requests),
            ),
            measure(
                "create port", client, clients, requests,
                lambda c, n: c.raw(
                    "POST", "/network/v2.0/ports", {"port": {"network_id": network, "name": f"p{n}"}}
                )[0],
            ),
            measure(
                "get port", client, clients, requests,
                _get(f"/network/v2.0/ports/{port}"),
            ),
        ]  # fmt: skip
    return timings
