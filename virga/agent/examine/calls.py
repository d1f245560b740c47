"""The calls by which the doctor asks an agent: examine, probe the wires, read everything again."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from virga.agent.calls import CallError, CallRegistry
from virga.agent.config import AgentConfig
from virga.agent.examine import capacity, interfaces, wires
from virga.agent.examine.lldp import LldpEars
from virga.contract.doctor import ExamineHost, HostExamination, ProbeWires, ResyncHost, WiresProbed
from virga.lib.run import Runner, run

RESYNC_S = 60.0


class Examiner:
    """One host. In the fake data plane there is no host to look at."""

    def __init__(self, config: AgentConfig, largest_mtu: Callable[[], int], runner: Runner = run) -> None:
        self._config = config
        self._largest_mtu = largest_mtu
        self._run = runner
        nics = sorted({nic for names in config.bridge_nics.values() for nic in names})
        self.ears = LldpEars(nics)

    @property
    def _is_real(self) -> bool:
        return self._config.drivers != "fake"

    def register(self, registry: CallRegistry, ask_resync: Callable[[Callable[[], None]], None]) -> None:
        registry.register("agent.examine", ExamineHost, self.examine)
        registry.register("agent.probe_wires", ProbeWires, self.probe)
        registry.register("agent.resync", ResyncHost, lambda _: _wait(ask_resync))

    def start(self) -> None:
        if self._is_real:
            self.ears.start()

    def examine(self, _: ExamineHost) -> HostExamination:
        config, host = self._config, self._config.host
        if not self._is_real:
            return HostExamination(host=host, time=time.time())
        links = self._links()
        uplinks = interfaces.uplinks(config, links)
        addresses = self._addresses()
        gauges = capacity.gauges(self._watched())
        sockets = {
            "ovsdb-server": config.ovsdb_socket,
            "ovs-vswitchd": Path(config.ovs_directory) / f"{config.integration_bridge}.mgmt",
        }
        return HostExamination(
            host=host,
            time=time.time(),
            findings=[
                *interfaces.nics(host, uplinks, links, self._largest_mtu()),
                *interfaces.addresses(host, addresses, links),
                *interfaces.switch(host, sockets),
                *capacity.room(host, Path(config.directory)),
                *capacity.nearly_full(host, gauges),
            ],
            uplinks=uplinks,
            addresses=addresses,
            neighbours=self.ears.neighbours(),
            checked={"interfaces": len(uplinks) + len(addresses), "services": 2, "capacity": len(gauges) + 3},
        )

    def probe(self, wish: ProbeWires) -> WiresProbed:
        if not self._is_real:
            return WiresProbed()
        uplinks = interfaces.uplinks(self._config, self._links())
        try:
            macs, mtus = {u.nic: u.mac for u in uplinks}, {u.nic: u.mtu for u in uplinks}
            return wires.probe(wish, self._config.host, macs, mtus)
        except (OSError, KeyError) as error:
            raise CallError(f"probing the wires: {error}") from error

    def _links(self) -> dict[str, dict[str, Any]]:
        text = self._run(["ip", "-d", "-j", "addr", "show"]).stdout
        return {entry["ifname"]: entry for entry in json.loads(text or "[]")}

    def _addresses(self) -> dict[str, str]:
        config = self._config
        found = {"tunnel": config.host_ip, "storage": config.storage_ip}
        return {
            name: address for name, address in found.items() if address and not address.startswith("127.")
        }

    def _watched(self) -> dict[str, int]:
        """Processes whose descriptors may run out, by name."""
        found = {"the agent": os.getpid()}
        try:
            found["ovs-vswitchd"] = int((Path(self._config.ovs_directory) / "ovs-vswitchd.pid").read_text())
        except (OSError, ValueError):
            return found
        return found


def _wait(ask_resync: Callable[[Callable[[], None]], None]) -> None:
    done = threading.Event()
    ask_resync(done.set)
    if not done.wait(RESYNC_S):
        raise CallError(f"the host was not read again within {RESYNC_S:.0f} s")
