"""Open vSwitch of a simulated host: its own database and switch, at the places where a real host has them.

The lab starts the two daemons with an empty database, as after the boot of a host. Bridges, ports and flows are
the agent's.
"""

from __future__ import annotations

from pathlib import Path

from virga.lab.holder import Holder
from virga.lab.program import Program, Programs, marked
from virga.lib.run import CommandError, run
from virga.lib.wait import wait_until

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
DATABASE = "/var/lib/openvswitch/conf.db"
SOCKET = "/run/openvswitch/db.sock"


def start(programs: Programs, host: Holder, environment: dict[str, str]) -> None:
    """Start database and switch unless they run, and wait for the database. Idempotent."""
    if not (host.directory / DATABASE.lstrip("/")).exists():
        run(host.inside("ovsdb-tool", "create", DATABASE, SCHEMA))
    inside = marked(environment, host.directory)
    for name, argv in zip(daemons(host), (_database_argv(), _switch_argv()), strict=True):
        programs.ensure(Program(name=name, argv=[*host.inside(*argv)], environment=inside, host=host.name))
    socket = Path(f"/proc/{host.pid}/root{SOCKET}")
    wait_until(socket.exists, 5.0, 0.005)
    _initialise(host)


def daemons(host: Holder) -> tuple[str, str]:
    """Names of the two programs."""
    return f"{host.name}-ovsdb", f"{host.name}-vswitchd"


def _database_argv() -> list[str]:
    return [
        "ovsdb-server",
        DATABASE,
        f"--remote=punix:{SOCKET}",
        "--pidfile",
        "--log-file",
        "-vconsole:off",
        "--no-chdir",
    ]


def _switch_argv() -> list[str]:
    return ["ovs-vswitchd", f"unix:{SOCKET}", "--pidfile", "--log-file", "-vconsole:off", "--no-chdir"]


def _initialise(host: Holder) -> None:
    version = run(["ovs-vsctl", "--version"]).stdout.splitlines()[0].rpartition(" ")[2]
    names = [
        f"external_ids:hostname={host.name}",
        f"external_ids:system-id={host.name}",
        f"ovs_version={version}",
    ]
    argv = host.inside(
        "ovs-vsctl", "--timeout=5", "--no-wait", "init", "--", "set", "Open_vSwitch", ".", *names
    )

    def done() -> bool:
        try:
            run(argv)
        except CommandError:
            return False
        return True

    # The socket exists a moment before the server listens.
    if not wait_until(done, 5.0):
        run(argv)


def has_bridge(host: Holder, name: str) -> bool:
    """The switch (not only its database) has this bridge."""
    done = run(host.inside("ovs-vsctl", "--timeout=5", "get", "Interface", name, "ofport"), check=False)
    return done.returncode == 0 and done.stdout.strip().isdigit()
