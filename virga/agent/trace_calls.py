"""The calls of the explainer (``trace.…`` of contract/trace.py): read the host, watch it, send a probe."""

from __future__ import annotations

import queue
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from virga.agent.calls import CallRegistry
from virga.agent.config import AgentConfig
from virga.agent.drivers.probe import Probes
from virga.agent.drivers.reading_namespace import read_namespace
from virga.agent.drivers.reading_process import read_dhcp_files, read_processes
from virga.agent.drivers.reading_switch import read_switch
from virga.agent.loop import Loop
from virga.agent.protocol import Difference
from virga.agent.wiring_layer3 import metadata_socket
from virga.contract.calls import HostDifference
from virga.contract.trace import Collect, HostReading, ReadHost, Send, Watch

DIFFERENCES_S = 2.5
NOT_ASKED = ("flows", "dnsmasq", "haproxy", "radvd", "instances", "targets", "shapers")
"""Drivers whose differences the explainer finds by itself, from what is read here, or has no use for."""


class TraceCalls:
    """Reads everything at the same time, so that an explanation costs one call a host."""

    def __init__(self, config: AgentConfig, loop: Callable[[], Loop | None]) -> None:
        self._config = config
        self._loop = loop
        self._probes = Probes()

    def register(self, registry: CallRegistry) -> None:
        registry.register("trace.read", ReadHost, self.read)
        registry.register("trace.watch", Watch, self._probes.watch)
        registry.register("trace.send", Send, self._probes.send)
        registry.register("trace.collect", Collect, self._probes.collect)

    def read(self, call: ReadHost) -> HostReading:
        """One host, as it is now."""
        config = self._config
        if config.drivers == "fake":
            return HostReading(host=config.host, in_memory=True)
        directory = Path(config.directory)
        keys = {*call.networks, *call.routers, *call.instances}
        with ThreadPoolExecutor(8, thread_name_prefix="reading") as pool:
            switch = pool.submit(read_switch, Path(config.ovs_directory), call.addresses)
            differences = pool.submit(self._differences)
            spaces = [
                pool.submit(read_namespace, name, call.addresses)
                for name in dict.fromkeys(["", *call.namespaces])
            ]
            processes = pool.submit(read_processes, directory, keys)
            found, problems = differences.result()
            state = switch.result()
            loop = self._loop()
            return HostReading(
                host=config.host,
                switch_problem=state.problem,
                flows=state.flows,
                ports=state.ports,
                switch_connections=state.connections,
                integration_bridge=config.integration_bridge,
                bridge_mappings=config.bridge_mappings,
                bridge_nics=config.bridge_nics,
                namespaces=[space.result() for space in spaces],
                processes=processes.result(),
                files=read_dhcp_files(directory, call.networks),
                differences=found,
                metadata_problem=self._metadata_problem(),
                failures=[f"{f.driver} {f.key}: {f.reason}" for f in loop.failures] if loop else [],
                revision=loop.revision if loop else 0,
                problems=problems,
            )

    def _metadata_problem(self) -> str:
        """Whether somebody takes connections where the proxies hand requests over."""
        if "metadata" not in self._config.roles:
            return ""
        path = metadata_socket(self._config)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(str(path))
            except OSError as error:
                return f"{path.name}: {error}"
        return ""

    def _differences(self) -> tuple[list[HostDifference], list[str]]:
        """All but flows, which are compared along the path."""
        loop = self._loop()
        if loop is None:
            return [], ["the agent's loop is not there yet"]
        answer: queue.SimpleQueue[list[Difference]] = queue.SimpleQueue()
        loop.ask_differences(answer.put, without=NOT_ASKED)
        try:
            found = answer.get(timeout=DIFFERENCES_S)
        except queue.Empty:
            return [], [f"the agent's loop did not answer within {DIFFERENCES_S:g} s"]
        return [
            HostDifference(driver=d.driver, key=d.key, kind=d.kind, wanted=d.wanted, actual=d.actual)
            for d in found
        ], []
