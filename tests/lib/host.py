"""A simulated host for tests: network and mount namespace of its own, a private Open vSwitch, real agents in it.

Everything is a child of the test and ends with it; nothing of the machine's own network is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lib.control_plane import SmallControlPlane
from tests.lib.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
SETUP = (
    "mount -t tmpfs tmpfs /run/netns && ip link set lo up && "
    "sysctl -qw net.ipv6.conf.default.accept_dad=0 && echo ready && exec cat"
)


class Host:
    """``with Host("h1") as host:``; ``host.run([...])`` runs a command on it."""

    def __init__(self, name: str = "host1", **config: Any) -> None:
        self.name = name
        self.directory = Path(tempfile.mkdtemp(prefix="vh", dir="/tmp"))
        self._config = config
        self._processes: list[subprocess.Popen[bytes]] = []
        self._holder: subprocess.Popen[bytes] | None = None
        self.agent: subprocess.Popen[bytes] | None = None
        self.control = SmallControlPlane(self.directory / "bus.sock")

    def __enter__(self) -> Host:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is not None and (self.directory / "agent.log").exists():
            # Part of what pytest shows of a failed test.
            print(self.agent_log[-8000:])
        self.close()

    # -- commands ----------------------------------------------------------------------------------

    def inside(self, argv: Sequence[str], namespace: str = "") -> list[str]:
        assert self._holder is not None
        prefix = ["nsenter", "-t", str(self._holder.pid), "-n", "-m"]
        return [*prefix, *(["ip", "netns", "exec", namespace] if namespace else []), *argv]

    def run(
        self, argv: Sequence[str], namespace: str = "", *, check: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.inside(argv, namespace), capture_output=True, text=True, input=stdin, timeout=60, check=False
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def sh(self, script: str, namespace: str = "", *, check: bool = True) -> str:
        return self.run(["sh", "-ec", script], namespace, check=check).stdout

    def start(self, argv: Sequence[str], namespace: str = "", **more: Any) -> subprocess.Popen[bytes]:
        """A process that lives until it is stopped, or the host ends."""
        process = subprocess.Popen(self.inside(argv, namespace), **more)
        self._processes.append(process)
        return process

    # -- Open vSwitch ------------------------------------------------------------------------------

    @property
    def ovs(self) -> Path:
        return self.directory / "ovs"

    def vsctl(self, *arguments: str) -> str:
        return self.run(["ovs-vsctl", "--timeout=10", f"--db=unix:{self.ovs}/db.sock", *arguments]).stdout

    def flows(self, bridge: str = "br-int") -> list[str]:
        command = ["ovs-ofctl", "-O", "OpenFlow15", "--no-names", "--no-stats", "dump-flows"]
        return self.run([*command, f"unix:{self.ovs}/{bridge}.mgmt"]).stdout.splitlines()

    def appctl(self, *arguments: str) -> str:
        return self.run(["ovs-appctl", "-t", f"{self.ovs}/vsw.ctl", *arguments]).stdout

    def start_vswitchd(self) -> None:
        directory = self.ovs
        environment = {
            **os.environ,
            **{f"OVS_{k}DIR": str(directory) for k in ("RUN", "DB", "LOG", "SYSCONF")},
        }
        self.vswitchd = self.start(
            [
                "ovs-vswitchd",
                f"unix:{directory}/db.sock",
                f"--unixctl={directory}/vsw.ctl",
                f"--log-file={directory}/vsw.log",
                "-vconsole:off",
            ],
            env=environment,
            stderr=subprocess.DEVNULL,
        )

    def kill_vswitchd(self) -> None:
        self.vswitchd.send_signal(signal.SIGKILL)
        self.vswitchd.wait()

    def _start_ovs(self) -> None:
        directory = self.ovs
        directory.mkdir()
        database = directory / "conf.db"
        subprocess.run(
            ["ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema"], check=True
        )
        self.start_ovsdb()
        eventually(lambda: (directory / "db.sock").exists(), "ovsdb-server listens")
        self.vsctl("--no-wait", "init")
        self.start_vswitchd()

    def start_ovsdb(self) -> None:
        directory = self.ovs
        self.ovsdb = self.start(
            [
                "ovsdb-server",
                str(directory / "conf.db"),
                f"--remote=punix:{directory}/db.sock",
                f"--unixctl={directory}/ovsdb.ctl",
                f"--log-file={directory}/ovsdb.log",
                "-vconsole:off",
            ],
            stderr=subprocess.DEVNULL,
        )

    # -- the agent ---------------------------------------------------------------------------------

    def start_agent(self, **config: Any) -> None:
        """The real agent, as a process on this host."""
        settings = {
            "host": self.name,
            "directory": str(self.directory),
            "bus": str(self.directory / "bus.sock"),
            "ovs_directory": str(self.ovs),
            "roles": ["network"],
            **self._config,
            **config,
        }
        path = self.directory / "agent.json"
        path.write_text(json.dumps(settings))
        with (self.directory / "agent.log").open("ab") as log:
            self.agent = self.start(
                [sys.executable, "-m", "virga.agent", "--config", str(path)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=log,
                stdout=log,
            )

    def kill_agent(self) -> None:
        """As hard as can be."""
        assert self.agent is not None
        self.agent.send_signal(signal.SIGKILL)
        self.agent.wait()
        self.control.applied = 0

    @property
    def agent_log(self) -> str:
        return (self.directory / "agent.log").read_text()

    # -- life --------------------------------------------------------------------------------------

    def _start(self) -> None:
        Path("/run/netns").mkdir(exist_ok=True)
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-ec", SETUP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self._start_ovs()

    def _end_daemons(self) -> None:
        """What the agent started in namespaces outlives it, and is nobody's child."""
        if self.agent is not None and self.agent.poll() is None:
            self.kill_agent()
        script = "for n in $(ls /run/netns); do ip netns pids $n | xargs -r kill -9; done"
        if self._holder is not None and self._holder.poll() is None:
            self.run(["sh", "-c", script], check=False)

    def close(self) -> None:
        """End every process of this host; its namespaces go with the last one."""
        self.control.close()
        self._end_daemons()
        for process in reversed(self._processes):
            if process.poll() is None:
                process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
        if self._holder is not None:
            assert self._holder.stdin is not None and self._holder.stdout is not None
            self._holder.stdin.close()
            self._holder.wait(20)
            self._holder.stdout.close()
        shutil.rmtree(self.directory, ignore_errors=True)
