"""Two guests on two networks with a router between them, whose packets are counted, and a third that may be killed."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import Any

from soak.api import Api
from soak.load import C, N
from tests.lib.lab import Lab, wait_for

PACE_S = 0.02


@dataclass
class Pair:
    """Who is pinged, from where."""

    router: str
    address: str
    victim: str

    def ping(self, lab: Lab, seconds: float) -> subprocess.Popen[str]:
        """So many packets as the time takes; the router's namespace asks, so two bridges and the filter are crossed."""
        count = int(seconds / PACE_S)
        command = f"exec ip netns exec qrouter-{self.router} ping -i {PACE_S} -c {count} {self.address}"
        return lab.start_on("host1", command)

    def answers(self, lab: Lab) -> bool:
        said = lab.on(
            "host1", f"ip netns exec qrouter-{self.router} ping -c 1 -W 1 {self.address}", check=False
        )
        return "1 received" in said


def lost(ping: subprocess.Popen[str]) -> tuple[int, int]:
    """Sent and lost."""
    out, _ = ping.communicate(timeout=120)
    match = re.search(r"(\d+) packets transmitted, (\d+) received", out)
    if match is None:
        return 0, -1
    return int(match[1]), int(match[1]) - int(match[2])


def make(api: Api, lab: Lab) -> Pair:
    """The pair, running and answering."""
    group = api.made(N + "security-groups", {"security_group": {"name": "steady"}})["id"]
    rule = {"security_group_id": group, "direction": "ingress", "protocol": "icmp"}
    api.made(N + "security-group-rules", {"security_group_rule": rule})
    router = api.made(N + "routers", {"router": {"name": "steady"}})["id"]
    ports = []
    for number in (1, 2):
        net = api.made(N + "networks", {"network": {"name": f"steady{number}"}})["id"]
        subnet = {"network_id": net, "ip_version": 4, "cidr": f"10.55.{number}.0/24"}
        made = api.made(N + "subnets", {"subnet": subnet})["id"]
        api.until_it_answers("PUT", N + f"routers/{router}/add_router_interface", {"subnet_id": made})
        ports.append(api.made(N + "ports", {"port": {"network_id": net, "security_groups": [group]}}))
    third = api.made(N + "ports", {"port": {"network_id": net, "security_groups": [group], "name": "victim"}})
    flavor, image = kinds(api)
    servers = []
    for number, port in enumerate((*ports, third)):
        body = {
            "name": f"steady{number}",
            "flavorRef": flavor,
            "imageRef": image,
            "networks": [{"port": port["id"]}],
        }
        servers.append(api.made(C + "servers", {"server": body})["id"])
    for server in servers:
        wait_for(f"server {server} runs", lambda s=server: status(api, s) == "ACTIVE")
    pair = Pair(router, ports[0]["fixed_ips"][0]["ip_address"], servers[2])
    wait_for("the guest answers", lambda: pair.answers(lab))
    return pair


def kinds(api: Api) -> tuple[str, str]:
    """The flavor of namespace instances, and the image."""
    flavor = next(f["id"] for f in api.all(C + "flavors") if f["name"] == "ns.tiny")
    return flavor, next(i["id"] for i in api.all("/image/v2/images") if i["name"] == "tiny")


def status(api: Api, server: str) -> str:
    answer = api.until_it_answers("GET", C + f"servers/{server}")
    return str(answer.json()["server"]["status"]) if answer.status_code == 200 else "gone"


def revive(api: Api, server: str) -> Any:
    """The cloud sees that the victim died, and starts it again when told to."""
    wait_for("the death of a guest is noticed", lambda: status(api, server) in ("SHUTOFF", "ACTIVE"))
    if status(api, server) == "SHUTOFF":
        api.until_it_answers("POST", C + f"servers/{server}/action", {"os-start": None})
        wait_for("the guest runs again", lambda: status(api, server) == "ACTIVE")
