"""One radvd a router that announces IPv6 prefixes; configuration under ``STATE/ra``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from virga.agent.drivers.configured import ConfiguredDaemonDriver, Kind
from virga.lib.run import Runner, run


def radvd_driver(
    state: Path,
    wake: Callable[[], None] = lambda: None,
    runner: Runner = run,
    on_exit: Callable[[], None] | None = None,
) -> ConfiguredDaemonDriver:
    logs = state / "ra" / "radvd.log"
    kind = Kind(
        name="radvd",
        program="radvd",
        directory=state / "ra",
        suffix=".radvd.conf",
        pids=state / "external" / "pids",
        arguments=lambda config, pid: ("-C", config, "-p", pid, "-m", "logfile", "-l", str(logs)),
        reloads=True,
    )
    return ConfiguredDaemonDriver(kind, wake, runner, on_exit)
