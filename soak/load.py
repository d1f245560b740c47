"""What clients do while things die: small lives of networks, ports, servers and volumes, several at once."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from soak import volumes
from soak.api import Api

NAME = "soakload"
N, V, C = "/network/v2.0/", volumes.V, volumes.C
BUSY = (
    "BUILD",
    "creating",
    "deleting",
    "attaching",
    "detaching",
    "saving",
    "queued",
    "REBUILD",
    "RESIZE",
    "HARD_REBOOT",
)


@dataclass
class Load:
    """Threads that ask until they are told to stop."""

    api: Api
    flavor: str
    image: str
    seed: str
    machine: str = ""
    """The server that volumes are given to; none when it is empty."""
    counts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._number = itertools.count()
        self._threads: list[threading.Thread] = []

    def start(self, clients: int = 3) -> None:
        for client in range(clients):
            rng = random.Random(f"{self.seed}:{client}")
            thread = threading.Thread(target=self._work, args=(rng,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _work(self, rng: random.Random) -> None:
        lives = (self._network, self._network, self._volume, self._volume, self._server)
        while not self._stop.is_set():
            rng.choice(lives)(rng, f"{NAME}-{next(self._number)}")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The thing, or None. A 5xx is a failure whatever died; nobody at home is not."""
        answer = self.api.ask(method, path, body)
        if answer is None:
            self.counts["unanswered"] += 1
            self._stop.wait(0.02)
            return None
        self.counts[str(answer.status_code)] += 1
        if answer.status_code >= 500:
            self.broken.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        if answer.status_code >= 300 or not answer.content:
            return None
        return next(iter(answer.json().values()))

    def _network(self, rng: random.Random, name: str) -> None:
        net = self._ask("POST", N + "networks", {"network": {"name": name}})
        if net is None:
            return
        third = rng.randrange(1, 250)
        subnet = {
            "network_id": net["id"],
            "ip_version": 4,
            "cidr": f"10.{rng.randrange(100, 200)}.{third}.0/24",
        }
        self._ask("POST", N + "subnets", {"subnet": {**subnet, "name": name}})
        ports = [
            self._ask("POST", N + "ports", {"port": {"network_id": net["id"], "name": name}})
            for _ in range(2)
        ]
        if rng.random() < 0.6:
            for port in ports:
                if port is not None:
                    self._ask("DELETE", N + f"ports/{port['id']}")
            self._ask("DELETE", N + f"networks/{net['id']}")

    def _volume(self, rng: random.Random, name: str) -> None:
        volumes.life(self._ask, self.machine, rng, name)

    def _server(self, rng: random.Random, name: str) -> None:
        body = {"name": name, "flavorRef": self.flavor, "imageRef": self.image, "networks": "none"}
        made = self._ask("POST", C + "servers", {"server": body})
        if made is not None and rng.random() < 0.5:
            self._ask("DELETE", C + f"servers/{made['id']}")
