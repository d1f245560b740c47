"""The load: the same requests of the Network API v2.0 to any server that speaks it, one kind after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.client import Client, Timing, measure

PORTS = 1000
"""How many ports the long list has."""


@dataclass(frozen=True)
class Target:
    """A server under load."""

    name: str
    client: Client
    prefix: str
    """``/v2.0`` or ``/network/v2.0``."""
    weight: int = 1
    """Requests of each kind are multiplied by this: a fast server needs more of them for a steady figure."""

    def make(self, kind: str, **body: Any) -> str:
        return str(self.client.json("POST", f"{self.prefix}/{kind}s", {kind: body})[kind]["id"])

    def act(
        self, method: str, path: Callable[[int], str], body: Callable[[int], Any] | None = None
    ) -> Callable[[Client, int], int]:
        return lambda client, number: client.raw(
            method, self.prefix + path(number), body(number) if body else None
        )[0]


def steps(target: Target, second: int, fill: bool) -> Iterator[Timing]:
    """One timing after another; ``second`` makes the addresses of this round its own."""
    many = target.weight

    def timed(name: str, clients: int, requests: int, act: Callable[[Client, int], int]) -> Timing:
        return measure(name, target.client, clients, requests, act)

    for clients in (1, 8):
        yield timed("create network", clients, 24 * many,
                    target.act("POST", lambda n: "/networks", lambda n: {"network": {"name": f"n{n}"}}))  # fmt: skip
    for clients in (1, 8):
        networks = [target.make("network", name=f"s{n}") for n in range(16 * many)]
        yield timed("create subnet", clients, len(networks), target.act(
            "POST", lambda n: "/subnets",
            lambda n, networks=networks, clients=clients: {"subnet": {  # type: ignore[misc]
                "network_id": networks[n], "ip_version": 4,
                "cidr": f"10.{second * 16 + clients}.{n}.0/24"}}))  # fmt: skip
    network = target.make("network", name="ports")
    target.make("subnet", network_id=network, ip_version=4, cidr="10.128.0.0/12")
    for clients, requests in ((1, 24), (8, 64)):
        yield timed("create port", clients, requests * many, target.act(
            "POST", lambda n: "/ports", lambda n: {"port": {"network_id": network, "name": f"p{n}"}}))  # fmt: skip
    port = target.make("port", network_id=network)
    for clients, requests in ((1, 60), (8, 120)):
        yield timed("get port", clients, requests * many, target.act("GET", lambda n: f"/ports/{port}"))
    yield from _routers(target, second)
    if fill:
        yield from _bulk(target, network)


def _routers(target: Target, second: int) -> Iterator[Timing]:
    count = 8 * target.weight
    routers = [target.make("router", name=f"r{n}") for n in range(count)]
    subnets = [
        target.make(
            "subnet",
            network_id=target.make("network", name=f"i{n}"),
            ip_version=4,
            cidr=f"10.{second * 16 + 12}.{n}.0/24",
        )
        for n in range(count)
    ]
    yield measure("add router interface", target.client, 1, count, target.act(
        "PUT", lambda n: f"/routers/{routers[n]}/add_router_interface", lambda n: {"subnet_id": subnets[n]}))  # fmt: skip
    outside = _outside(target)
    for clients in (1, 8):
        yield measure("create floating IP", target.client, clients, 2 * count, target.act(
            "POST", lambda n: "/floatingips", lambda n: {"floatingip": {"floating_network_id": outside}}))  # fmt: skip


def _outside(target: Target) -> str:
    """The external network, made in the first round."""
    found = target.client.json("GET", f"{target.prefix}/networks?name=outside")["networks"]
    if found:
        return str(found[0]["id"])
    flat = {"provider:network_type": "flat", "provider:physical_network": "public", "router:external": True}
    network = target.make("network", name="outside", **flat)
    target.make("subnet", network_id=network, ip_version=4, cidr="172.24.0.0/16", enable_dhcp=False)
    return network


def _bulk(target: Target, network: str) -> Iterator[Timing]:
    """100 ports a request, until there are enough for the long list."""
    path = f"{target.prefix}/ports?fields=id"
    there = len(target.client.json("GET", path)["ports"])
    requests = max(2, -(-(PORTS - there) // 100))
    yield measure("create 100 ports in one request", target.client, 1, requests, target.act(
        "POST", lambda n: "/ports",
        lambda n: {"ports": [{"network_id": network, "name": f"b{n}-{i}"} for i in range(100)]}))  # fmt: skip
    for clients in (1, 8):
        yield measure(f"list {PORTS} ports", target.client, clients, 8 * target.weight, target.act(
            "GET", lambda n: f"/ports?limit={PORTS}"))  # fmt: skip
