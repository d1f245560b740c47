"""Instances that are namespaces: a real init and SSH server, up and down in a blink, adopted by a new agent."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.lib.guest import guest_directory
from virga.agent.drivers.guest_kind import Outcome
from virga.agent.drivers.guest_namespace import NamespaceGuests, NamespaceOptions
from virga.agent.drivers.instances import InstancesDriver
from virga.contract.items import Instance, Nic

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
LAUNCH = Path(__file__).resolve().parents[2] / "virga" / "lab" / "guest" / "namespace" / "launch"
META_DATA = "eyJ1dWlkIjogIjEiLCAiaG9zdG5hbWUiOiAibnMxIn0="


class Rig:
    """A namespace with a card, as the port wiring leaves it, and the driver."""

    def __init__(self, root: Path, tree: Path) -> None:
        self.root, self.tree = root, tree
        self.key = str(uuid.uuid4())
        self.netns = f"instance-{self.key}"
        self.tap = f"tap{self.key[:11]}"
        for command in (
            f"ip netns add {self.netns}",
            f"ip link add {self.tap} type veth peer name eth0 netns {self.netns}",
            f"ip link set {self.tap} up",
        ):
            subprocess.run(command.split(), check=True)
        self.start_agent()

    def start_agent(self) -> None:
        self._news = threading.Event()
        options = NamespaceOptions(launch=LAUNCH, tree=self.tree)
        self.guests = NamespaceGuests(self.root, options)
        self.driver = InstancesDriver(
            {"namespace": self.guests}, ports_ready=lambda ids: True, wake=self._news.set
        )
        self.driver.resync()

    def item(self, **changes: object) -> Instance:
        item = Instance(
            key=self.key,
            name="ns1",
            hostname="ns1",
            driver="namespace",
            nics=[Nic(str(uuid.UUID(int=1)), "net", "fa:16:3e:00:00:09", self.tap)],
            config_drive=True,
            config_drive_files={"openstack/latest/meta_data.json": META_DATA},
        )
        return msgspec.structs.replace(item, **changes)

    def until(self, status: str, limit_s: float = 30) -> Outcome:
        deadline = time.monotonic() + limit_s
        seen: Outcome | None = None
        while time.monotonic() < deadline:
            self._news.clear()
            self.driver.apply()
            self.driver.prune()
            seen = self.driver.outcomes().get(self.key, seen)
            if seen and seen.status == status:
                return seen
            self._news.wait(0.5)
        raise AssertionError(f"waited in vain for {status}: {seen}")

    def be(self, item: Instance, status: str = "running") -> Outcome:
        self.driver.want(item)
        return self.until(status)

    def ssh_banner(self, limit_s: float = 10) -> str:
        """What the SSH server of the guest says first, asked inside its network namespace."""
        script = (
            "import socket,sys,time\n"
            f"end=time.monotonic()+{limit_s}\n"
            "while time.monotonic()<end:\n"
            "    try:\n"
            "        s=socket.create_connection(('127.0.0.1',22),1); print(s.recv(7).decode()); break\n"
            "    except OSError: time.sleep(0.05)\n"
        )
        argv = ["ip", "netns", "exec", self.netns, "python3", "-c", script]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def close(self) -> None:
        if self.driver.wanted():
            self.driver.unwant(self.key)
            self.until("gone")
        self.guests.close()
        pids = subprocess.run(["ip", "netns", "pids", self.netns], capture_output=True, text=True, check=True)
        subprocess.run(["ip", "netns", "del", self.netns], check=True)
        assert not pids.stdout.split(), "processes were left behind"
        assert not list(self.guests.homes.ids()), "directories were left behind"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with tempfile.TemporaryDirectory(prefix="virga-namespaces-") as directory:
        made = Rig(Path(directory), guest_directory() / "tiny-root")
        try:
            yield made
        finally:
            made.close()


def test_the_life_of_a_namespace_instance(rig: Rig) -> None:
    rig.be(rig.item())
    assert rig.ssh_banner().startswith("SSH-2.0")
    first = rig.guests.keeper(rig.key)
    assert first is not None

    rig.guests.close()
    rig.start_agent()
    rig.be(rig.item())
    adopted = rig.guests.keeper(rig.key)
    assert adopted is not None
    assert adopted.pid == first.pid

    rig.be(rig.item(power_state="paused"), "paused")
    assert rig.ssh_banner(limit_s=1) == "", "a paused guest does not speak"
    rig.be(rig.item())
    assert rig.ssh_banner().startswith("SSH-2.0")

    rig.driver.reboot(rig.key, soft=True)
    rig.until("running")
    again = rig.guests.keeper(rig.key)
    assert again is not None
    assert again.pid != first.pid
    assert rig.ssh_banner().startswith("SSH-2.0")
    assert b"tiny" in rig.guests.actions.console_output(rig.key)

    rig.be(rig.item(power_state="shutdown"), "shutdown")
    assert rig.guests.keeper(rig.key) is None
    rig.be(rig.item())
    rig.be(rig.item(build=2))


def test_how_a_guest_ended_is_known_also_to_a_later_agent(rig: Rig) -> None:
    rig.be(rig.item())
    assert rig.ssh_banner()
    keeper = rig.guests.keeper(rig.key)
    assert keeper is not None
    rig.guests.close()
    inits = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()
    init = Path(f"/proc/{inits[0]}/task/{inits[0]}/children").read_text().split()[0]
    os.kill(int(init), 12)  # SIGUSR2: power off, as the guest would do itself
    assert keeper.gone.wait(0) or _gone(keeper.pid)
    rig.start_agent()
    rig.be(rig.item(), "shutdown")
    rig.driver.reboot(rig.key, soft=False)
    rig.until("running")


def _gone(pid: int) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], 20)[0])
    finally:
        os.close(descriptor)
