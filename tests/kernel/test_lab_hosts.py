"""Simulated hosts on the real machine: what is seen inside, what is seen outside, and that nothing stays."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lib.lab import ROOT, Lab, answers_on, wait_for
from virga.lab import process
from virga.lab.holder import Holder

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="simulated hosts need root")


def links() -> set[str]:
    return {link["ifname"] for link in json.loads(subprocess.check_output(["ip", "-j", "link"]))}


def processes_of(directory: Path) -> list[str]:
    """Command lines of living processes that name the directory or carry it in their environment."""
    found = []
    for pid in process.everyone():
        with contextlib.suppress(OSError):
            place = Path(f"/proc/{pid}")
            if str(directory).encode() in (place / "cmdline").read_bytes() + (place / "environ").read_bytes():
                found.append(f"{pid}: " + (place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return [line for line in found if not line.startswith(f"{os.getpid()}:")]


@contextlib.contextmanager
def state_directory() -> Iterator[Lab]:
    directory = Path(tempfile.mkdtemp(prefix="virga-kernel-"))
    lab = Lab(directory)
    try:
        yield lab
    finally:
        lab.virga("down", "--wipe", check=False)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with state_directory() as lab:
        lab.virga("up", "--detach", "--hosts", "2")
        yield lab


def test_the_machine_shows_one_interface_and_no_namespace(lab: Lab) -> None:
    ours = json.loads((lab.state_dir / "outside.json").read_text())["interface"]
    addresses = json.loads(subprocess.check_output(["ip", "-j", "-4", "addr", "show", "dev", ours]))
    assert addresses[0]["addr_info"][0]["local"].startswith("172.24.")
    assert Path(f"/proc/sys/net/ipv4/conf/{ours}/forwarding").read_text().strip() == "0"
    named = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert "qdhcp" not in named and "qrouter" not in named
    assert str(lab.state_dir) not in Path("/proc/self/mountinfo").read_text()


def test_a_host_looks_like_a_machine_of_its_own(lab: Lab) -> None:
    assert lab.on("host1", "hostname") == "host1\n"
    nics = lab.on("host1", "ls /sys/class/net").split()
    assert {"eth0", "eth1", "eth2", "eth3", "lo"} <= set(nics)
    assert "eth2" not in lab.on("host2", "ls /sys/class/net").split()
    assert "ovs_version" in lab.on("host1", "ovs-vsctl --timeout=5 show")
    lab.on("host2", "ip netns add here && ip netns exec here true")
    assert lab.on("host2", "ip netns list") == "here\n"
    assert lab.on("host1", "ip netns list | grep -c ^here || true") == "0\n"
    lab.on("host2", "ip netns del here")


def test_exit_status_and_standard_input_pass_through(lab: Lab) -> None:
    command = [
        sys.executable,
        "-m",
        "virga.cli.main",
        "host",
        "exec",
        "--state-dir",
        str(lab.state_dir),
        "host1",
    ]
    done = subprocess.run(
        [*command, "--", "sh", "-c", "cat; exit 7"], input="word", capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (7, "word")
    done = subprocess.run([*command[:-1], "host9", "--", "true"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert "There is no host 'host9'; there is host1, host2." in done.stderr


def test_hosts_reach_one_another_over_storage_and_carry_tcp(lab: Lab) -> None:
    server = lab.start_on(
        "host2", "echo ready; nc -l -N -s 198.51.100.12 -p 9000 2>&1 || nc -l 198.51.100.12 9000 2>&1"
    )
    try:
        assert server.stdout and server.stdout.readline() == "ready\n"
        wait_for(
            "a listener on host2",
            lambda: ":9000" in lab.on("host2", "ss -ltn"),
            limit_s=10,
        )
        # More than a segment, so that checksums and sizes matter.
        lab.on("host1", "head -c 200000 /dev/zero | tr '\\0' x | nc -N -w 5 198.51.100.12 9000")
        assert len(server.stdout.read()) == 200000
    finally:
        server.kill()
        server.wait()
        if server.stdout:
            server.stdout.close()


def test_vlan_tags_cross_the_trunk(lab: Lab) -> None:
    """A tagged frame that leaves eth1 of one host arrives, still tagged, at eth1 of the other."""
    listen = lab.start_on(
        "host2", "echo ready; timeout 20 tcpdump -p -n -e -c 1 -i eth1 vlan 100 2>/dev/null"
    )
    send = (
        "import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth1', 0)); "
        "s.send(bytes.fromhex('ffffffffffff' '020000000001' '81000064' '88b5') + bytes(60))"
    )
    assert listen.stdout and listen.stdout.readline() == "ready\n"
    lab.on("host1", "ip link set eth1 up")

    def seen() -> bool:
        lab.on("host1", f'{sys.executable} -c "{send}"')
        return listen.poll() is not None

    wait_for("a tagged frame at host2", seen, limit_s=15)
    assert "vlan 100" in listen.stdout.read()
    listen.stdout.close()
    assert listen.returncode == 0


def test_a_killed_program_comes_back_and_the_others_stay(lab: Lab) -> None:
    records = lab.state_dir / "run"
    names = ["server", "agent-host2", "host2-vswitchd"]
    before = {name: process.living(records / f"{name}.pid.json") for name in names}
    server = before["server"]
    assert server
    server.signal(signal.SIGKILL)

    def reborn() -> bool:
        now = process.living(records / "server.pid.json")
        return now is not None and now != server

    wait_for("a new server", reborn, limit_s=20)
    port = json.loads((lab.state_dir / "chosen.json").read_text())["port"]
    wait_for("its answer", lambda: answers_on("127.0.0.1", port), limit_s=20)
    assert process.living(records / "host2-vswitchd.pid.json") == before["host2-vswitchd"]


def test_a_second_up_adopts_what_runs(lab: Lab) -> None:
    records = lab.state_dir / "run"
    supervisor = process.living(records / "supervisor.pid.json")
    switch = process.living(records / "host1-vswitchd.pid.json")
    assert supervisor
    supervisor.signal(signal.SIGKILL)
    wait_for("the supervisor to be gone", lambda: not supervisor.alive, limit_s=10)
    lab.virga("up", "--detach")
    assert process.living(records / "host1-vswitchd.pid.json") == switch
    assert process.living(records / "supervisor.pid.json")


def test_two_clouds_do_not_disturb_one_another(lab: Lab) -> None:
    before = links()
    with state_directory() as other:
        other.virga("up", "--detach")
        mine, theirs = (json.loads((one.state_dir / "outside.json").read_text()) for one in (lab, other))
        assert mine["interface"] != theirs["interface"] and mine["cidr"] != theirs["cidr"]
        ports = [json.loads((one.state_dir / "chosen.json").read_text())["port"] for one in (lab, other)]
        assert ports[0] != ports[1]
        assert lab.on("host1", "readlink /proc/self/ns/net") != other.on(
            "host1", "readlink /proc/self/ns/net"
        )
        other.virga("down")
        assert links() == before
        assert lab.on("host1", "hostname") == "host1\n"
        assert lab.virga("hosts").stdout.count(" up ") >= 2


def test_down_leaves_nothing_and_up_brings_it_back() -> None:
    before = links()
    with state_directory() as lab:
        lab.virga("up", "--detach")
        password = (lab.state_dir / "admin_password").read_text()
        # Something that outlives agents, started deep inside.
        lab.on("host1", "ip netns add deep && (ip netns exec deep env -i sleep 1000 > /dev/null 2>&1 &)")
        lab.virga("down")
        assert links() == before
        assert processes_of(lab.state_dir) == []
        lab.virga("up", "--detach")
        assert (lab.state_dir / "admin_password").read_text() == password
        lab.virga("down", "--wipe")
        assert not lab.state_dir.exists()
    assert links() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_start_cleans_up(number: int) -> None:
    before = links()
    with state_directory() as lab:
        command = [
            sys.executable,
            "-m",
            "virga.cli.main",
            "up",
            "--state-dir",
            str(lab.state_dir),
            "--hosts",
            "3",
        ]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as starting:
            wait_for("a holder", lambda: any(lab.state_dir.glob("hosts/host*/holder.json")), limit_s=20)
            starting.send_signal(number)
            _, said = starting.communicate(timeout=60)
        assert starting.returncode != 0
        if number != signal.SIGKILL:
            assert "Interrupted; everything that was started has been stopped again." in said
        else:
            lab.virga("down")
        assert links() == before
        assert processes_of(lab.state_dir) == []


def test_nat_is_only_there_when_asked_for_and_goes_with_the_cloud() -> None:
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    before = forwarding.read_text()
    with state_directory() as lab:
        lab.virga("up", "--detach", "--nat")
        ours = json.loads((lab.state_dir / "outside.json").read_text())["interface"]
        assert forwarding.read_text().strip() == "1"
        assert Path(f"/proc/sys/net/ipv4/conf/{ours}/forwarding").read_text().strip() == "1"
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        assert f"table ip {ours}" in tables
        lab.virga("down")
    assert forwarding.read_text() == before
    assert (
        "virga-"
        not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    )


def test_ending_a_host_spares_what_runs_in_the_machines_own_namespaces(tmp_path: Path) -> None:
    name = f"spared-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    bystander = subprocess.Popen(["ip", "netns", "exec", name, "sleep", "60"])
    try:
        host = Holder("host1", tmp_path)
        host.make(dict(os.environ))
        host.end()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
        subprocess.run(["ip", "netns", "del", name], check=True)
