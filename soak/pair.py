"""Two guests on two networks with a router between them, whose packets are counted, and a third that may be killed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from soak.api import Api
from soak.load import C, N, V
from tests.lib.lab import Lab, wait_for

PACE_S = 0.02


@dataclass
class Pair:
    """Who is pinged, from where."""

    router: str
    address: str
    victim: str
    machine: str = ""
    """A guest of QEMU with an iSCSI volume; none in fast rounds."""

    def of(self, kind: str) -> str:
        """The guest of that kind that may die."""
        return self.machine if kind == "qemu" else self.victim

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


def machine(api: Api) -> str:
    """A guest of QEMU whose steady volume is reached by iSCSI."""
    flavor, image = kinds(api, "m1.nano")
    body = {"name": "steady-qemu", "flavorRef": flavor, "imageRef": image, "networks": "none"}
    server = str(api.made(C + "servers", {"server": body})["id"])
    wait_for("the guest of QEMU runs", lambda: status(api, server) == "ACTIVE", 180)

    def at_login() -> bool:
        path = C + f"servers/{server}/action"
        return "login:" in api.until_it_answers("POST", path, {"os-getConsoleOutput": {}}).text

    wait_for("its kernel is up, which must be before it takes a disk", at_login, 180)
    volume = api.made(V + "volumes", {"volume": {"size": 1, "name": "steady"}})["id"]

    def volume_is(wanted: str) -> bool:
        return bool(api.until_it_answers("GET", V + f"volumes/{volume}").json()["volume"]["status"] == wanted)

    wait_for("its volume is there", lambda: volume_is("available"))
    api.made(C + f"servers/{server}/os-volume_attachments", {"volumeAttachment": {"volumeId": volume}})
    wait_for("its volume is attached", lambda: volume_is("in-use"))
    return server


def kinds(api: Api, name: str = "ns.tiny") -> tuple[str, str]:
    """The flavor of that name (without one, of namespace instances), and the image."""
    flavor = next(f["id"] for f in api.all(C + "flavors") if f["name"] == name)
    return flavor, next(i["id"] for i in api.all("/image/v2/images") if i["name"] == "tiny")


def status(api: Api, server: str) -> str:
    answer = api.until_it_answers("GET", C + f"servers/{server}")
    return str(answer.json()["server"]["status"]) if answer.status_code == 200 else "gone"


def revive(api: Api, server: str, runs: Callable[[], bool]) -> None:
    """The cloud sees that a guest died, and starts it again when told to. ``runs``: its process is there."""

    def up() -> bool:
        now = status(api, server)
        if now == "SHUTOFF":
            api.ask("POST", C + f"servers/{server}/action", {"os-start": None})
        return now == "ACTIVE" and runs()

    wait_for(f"the guest {server} runs again", up, 120)
