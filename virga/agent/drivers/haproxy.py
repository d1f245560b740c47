"""One haproxy a router or isolated network, for metadata; configuration under ``STATE/ns-metadata-proxy``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from virga.agent.drivers.configured import ConfiguredDaemonDriver, Kind
from virga.lib.run import Runner, run


def haproxy_driver(
    state: Path,
    wake: Callable[[], None] = lambda: None,
    runner: Runner = run,
    on_exit: Callable[[], None] | None = None,
) -> ConfiguredDaemonDriver:
    kind = Kind(
        name="haproxy",
        program="haproxy",
        directory=state / "ns-metadata-proxy",
        suffix=".conf",
        pids=state / "external" / "pids",
        arguments=lambda config, pid: ("-f", config),
        reloads=False,
    )
    return ConfiguredDaemonDriver(kind, wake, runner, on_exit)
