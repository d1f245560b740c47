"""TCP between two instances of one host through the pipeline, beside plain switching by the same Open vSwitch.

The instances are namespaces, so that no emulator is measured. ``plain`` are two namespaces more on a bridge of
their own whose only flow is NORMAL, with the same kind of wire. One run each in turn.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench.client import Client
from bench.clouds import ROOT, VIRGA, Running

SECONDS = 4
ROUNDS = 3
LAB = 'instance_kind = "namespace"\n'
PLAIN = ("bench-a", "bench-b")
RECEIVE = """
import socket, sys, time
listener = socket.create_server((sys.argv[1], 5201))
print("ready", flush=True)
taken, _ = listener.accept()
buffer, count, began = bytearray(1 << 20), 0, time.perf_counter()
while got := taken.recv_into(buffer):
    count += got
print(count / (time.perf_counter() - began) / 1e6)
"""
SEND = """
import socket, sys, time
with socket.create_connection((sys.argv[1], 5201), timeout=20) as wire:
    data, end = bytes(1 << 17), time.perf_counter() + float(sys.argv[2])
    while time.perf_counter() < end:
        wire.sendall(data)
"""


def throughput(running: Running) -> dict[str, float]:
    """Megabytes a second each way, medians, and the share that the pipeline keeps."""
    client = running.client()
    client.lift_quotas()
    ours = _instances(client)
    _make_plain(running)
    try:
        found: dict[str, list[float]] = {"pipeline": [], "plain": []}
        for _ in range(ROUNDS):
            found["plain"].append(_transfer(running, PLAIN, "10.250.0.2"))
            found["pipeline"].append(_transfer(running, (ours[0][0], ours[1][0]), ours[1][1]))
    finally:
        _drop_plain(running)
    medians = {name: round(statistics.median(values), 1) for name, values in found.items()}
    return {
        "plain switching, MB/s": medians["plain"],
        "the pipeline, MB/s": medians["pipeline"],
        "the pipeline has of plain switching, %": round(100 * medians["pipeline"] / medians["plain"], 1),
    }


def _instances(client: Client) -> list[tuple[str, str]]:
    """Two servers on one network: namespace and address of each."""
    network = client.json("POST", "/network/v2.0/networks", {"network": {"name": "tcp"}})["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.98.0.0/24"}
    client.json("POST", "/network/v2.0/subnets", {"subnet": subnet})
    flavors = client.json("GET", "/compute/v2.1/flavors")["flavors"]
    body = {
        "name": "tcp",
        "flavorRef": next(f["id"] for f in flavors if f["name"] == "m1.nano"),
        "imageRef": client.json("GET", "/image/v2/images?name=tiny")["images"][0]["id"],
        "networks": [{"uuid": network}],
        "min_count": 2,
    }
    client.json("POST", "/compute/v2.1/servers", {"server": body})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        servers = client.json("GET", "/compute/v2.1/servers/detail?name=tcp")["servers"]
        if all(s["status"] == "ACTIVE" for s in servers):
            return [(f"instance-{s['id']}", s["addresses"]["tcp"][0]["addr"]) for s in servers]
        if any(s["status"] == "ERROR" for s in servers):
            raise RuntimeError(f"a server failed: {servers[0].get('fault')}")
        time.sleep(0.2)
    raise TimeoutError("the servers did not become ACTIVE")


def _inside(running: Running, *command: str) -> list[str]:
    where = ("--state-dir", str(running.settings.state_dir))
    return [*VIRGA, "host", "exec", *where, "host1", "--", *command]


def _on_host(running: Running, script: str) -> None:
    subprocess.run(_inside(running, "sh", "-euc", script), check=True, cwd=ROOT, capture_output=True)


def _make_plain(running: Running) -> None:
    """Wires as the agent makes them: pairs without checksum offload, since the switch reads raw frames."""
    lines = [
        "datapath=$(ovs-vsctl get bridge br-int datapath_type)",
        "ovs-vsctl add-br bench-plain -- set bridge bench-plain datapath_type=$datapath fail_mode=standalone",
    ]
    for number, name in enumerate(PLAIN, 1):
        lines += [
            f"ip netns add {name}",
            f"ip link add {name}0 type veth peer name eth0 netns {name}",
            f"ethtool -K {name}0 tx off",
            f"ip netns exec {name} ethtool -K eth0 tx off",
            f"ip -n {name} addr add 10.250.0.{number}/24 dev eth0",
            f"ip -n {name} link set eth0 up",
            f"ip link set {name}0 up",
            f"ovs-vsctl add-port bench-plain {name}0",
        ]
    _on_host(running, "\n".join(lines))


def _drop_plain(running: Running) -> None:
    lines = ["ovs-vsctl --if-exists del-br bench-plain"]
    lines += [f"ip link del {name}0; ip netns del {name}" for name in PLAIN]
    _on_host(running, "set +e\n" + "\n".join(lines) + "\ntrue")


def _transfer(running: Running, ends: tuple[str, str], address: str) -> float:
    """MB/s from the first to the second namespace."""
    receive = _inside(running, "ip", "netns", "exec", ends[1], sys.executable, "-c", RECEIVE, address)
    send = _inside(running, "ip", "netns", "exec", ends[0], sys.executable, "-c", SEND, address, str(SECONDS))
    receiver = subprocess.Popen(receive, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert receiver.stdout is not None
        if receiver.stdout.readline().strip() != "ready":
            raise RuntimeError(f"nobody listens in {ends[1]}")
        subprocess.run(send, cwd=ROOT, check=True, capture_output=True)
        return float(receiver.stdout.readline())
    finally:
        receiver.kill()
        receiver.wait()
