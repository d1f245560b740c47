"""A private namespace in which a guest image can run: DHCP, router advertisements, metadata, and QEMU with a console."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PREFIX = "10.99.0"
SECOND_PREFIX = "10.98.0"
METADATA = "169.254.169.254"


class GuestLab:
    """Two networks, for first and second cards, in a namespace of its own; everything in it goes with the lab."""

    _made = 0

    def __init__(self, work: Path) -> None:
        self.work = work
        GuestLab._made += 1
        self.netns = f"vg-{os.getpid()}-{GuestLab._made}"
        self.key = work / "id_ecdsa"
        self.hosts = work / "hosts"
        self.options = work / "options"
        self.metadata = work / "metadata"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for path in (self.hosts, self.options):
            path.write_text("")
        self.metadata.mkdir()
        keygen = ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", "user@lab", "-f", str(self.key)]
        subprocess.run(keygen, check=True)
        subprocess.run(["ip", "netns", "add", self.netns], check=True)
        for line in (
            "link set lo up",
            "link add br0 type bridge",
            "link set br0 up",
            f"addr add {PREFIX}.1/24 dev br0",
            f"addr add {METADATA}/32 dev br0",
            "addr add fd99::1/64 dev br0 nodad",
            "link add br1 type bridge",
            "link set br1 up",
            f"addr add {SECOND_PREFIX}.1/24 dev br1",
            "addr add fd98::1/64 dev br1 nodad",
        ):
            self.run("ip", *line.split())
        self._start_dnsmasq()
        self._start_metadata()
        poll_until((self.work / "dnsmasq.pid").exists, "dnsmasq runs")
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for process in self._processes:
            process.terminate()
            process.wait(10)
        subprocess.run(["ip", "netns", "del", self.netns], check=True)

    def run(self, *command: str, check: bool = True) -> str:
        """A command in the namespace; its output."""
        inside = ["ip", "netns", "exec", self.netns, *command]
        done = subprocess.run(inside, capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def spawn(self, *command: str, log: str) -> subprocess.Popen[bytes]:
        """A process in the namespace that ends with the lab."""
        inside = ["ip", "netns", "exec", self.netns, *command]
        with (self.work / log).open("wb") as output:
            process = subprocess.Popen(
                inside, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self._processes.append(process)
        return process

    def lease(self, mac: str, address: str, name: str) -> None:
        """What DHCP answers to a network card."""
        with self.hosts.open("a") as file:
            file.write(f"{mac},{address},{name}\n")
        self.reload()

    def reload(self) -> None:
        self._dnsmasq.send_signal(1)

    def serve(self, path: str, content: str | bytes) -> None:
        """Puts a document into the metadata service."""
        target = self.metadata / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())

    def describe(self, uuid: str, name: str, **more: Any) -> dict[str, Any]:
        """Serves the usual metadata of a server; returns it."""
        public = self.key.with_suffix(".pub").read_text()
        document = {
            "uuid": uuid,
            "hostname": f"{name}.novalocal",
            "name": name,
            "meta": {"hostname": "not this", "quote": 'a "quoted" word', "list": "[1, {]"},
            "public_keys": {"mine": public},
            "keys": [{"name": "mine", "type": "ssh", "data": public}],
            "launch_index": 0,
        }
        self.serve("openstack/latest/meta_data.json", json.dumps(document | more))
        self.serve("latest/meta-data/public-ipv4", "172.24.4.9")
        return document | more

    def ssh_command(self, address: str, *options: str) -> list[str]:
        return [
            *(
                "ip",
                "netns",
                "exec",
                self.netns,
                "ssh",
                "-q",
                "-i",
                str(self.key),
                "-o",
                "IdentitiesOnly=yes",
            ),
            *(
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "ConnectTimeout=10",
            ),
            *(*options, f"cirros@{address}"),
        ]

    def ssh(self, address: str, command: str, check: bool = True) -> str:
        """A command in a guest, with the prologue that Tempest puts before its own."""
        prologue = "set -eu -o pipefail; PATH=$PATH:/sbin:/usr/sbin; "
        argv = [*self.ssh_command(address), prologue + command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=90, check=False)
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def _start_dnsmasq(self) -> None:
        self._dnsmasq = self.spawn(
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--bind-interfaces"),
            *(
                "--interface=br0",
                "--interface=br1",
                "--except-interface=lo",
                f"--pid-file={self.work}/dnsmasq.pid",
                "--no-resolv",
            ),
            *("--no-hosts", f"--dhcp-leasefile={self.work}/leases", f"--dhcp-hostsfile={self.hosts}"),
            *(f"--dhcp-optsfile={self.options}", f"--dhcp-range={PREFIX}.50,{PREFIX}.99,2m", "--enable-ra"),
            f"--dhcp-range={SECOND_PREFIX}.50,{SECOND_PREFIX}.99,2m",
            "--dhcp-range=fd98::,ra-only,64",
            *("--dhcp-range=fd99::,ra-only,64", "--domain=lab.test", "--dhcp-option=option:mtu,1442"),
            *("--dhcp-authoritative", "--no-ping", "--log-facility=-", "--log-dhcp"),
            log="dnsmasq.log",
        )

    def _start_metadata(self) -> None:
        argv = ("-m", "http.server", "80", "--bind", METADATA, "--directory", str(self.metadata))
        self.spawn(sys.executable, *argv, log="metadata.log")


def poll_until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Asks again and again, with a short rest, until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        select.select([], [], [], 0.02)


class Console:
    """The serial console of a guest: what it printed so far, and a way to type."""

    def __init__(self, path: Path) -> None:
        self.text = ""
        self._socket = connect(path)

    def wait(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Waits until the pattern was printed; what came before it is consumed."""
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, self.text)) is None:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                data = b""
            if not data:
                raise AssertionError(f"{pattern!r} was not printed, but: {self.text[-2000:]}")
            self.text += data.decode(errors="replace")
        self.text = self.text[found.end() :]
        return found

    def type(self, line: str) -> None:
        self._socket.sendall(line.encode() + b"\n")

    def close(self) -> None:
        self._socket.close()


def connect(path: Path) -> socket.socket:
    """Connects to a socket that a process is about to make."""
    deadline = time.monotonic() + 10
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(str(path))
            return sock
        except OSError:
            sock.close()
            if time.monotonic() > deadline:
                raise


class Guest:
    """A QEMU process that runs a guest image without a base of hardware acceleration."""

    def __init__(
        self, lab: GuestLab, name: str, macs: Sequence[str], *arguments: str, memory: int = 128
    ) -> None:
        self.lab = lab
        self.work = lab.work / name
        self.work.mkdir()
        self.started = time.monotonic()
        network: list[str] = []
        for number, mac in enumerate(macs):
            tap = f"t{number}-{name}"
            lab.run("ip", "tuntap", "add", tap, "mode", "tap")
            lab.run("ip", "link", "set", tap, "master", f"br{number}", "up")
            network += ["-netdev", f"tap,id=n{number},ifname={tap},script=no,downscript=no,vnet_hdr=off"]
            network += ["-device", f"virtio-net-pci,netdev=n{number},mac={mac}"]
        serial, control = self.work / "serial", self.work / "qmp"
        self._process = lab.spawn(
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-accel", "tcg,thread=multi", "-m", str(memory)),
            *("-chardev", f"socket,id=s0,path={serial},server=on,wait=on,logfile={self.work}/console.log"),
            *("-serial", "chardev:s0", "-qmp", f"unix:{control},server=on,wait=off"),
            *(*network, *arguments),
            log=f"{name}/qemu.log",
        )
        self.console = Console(serial)
        self._control = connect(control)
        self._control.settimeout(30)
        self._lines = self._control.makefile("r")
        self._lines.readline()
        self.qmp("qmp_capabilities")

    def qmp(self, command: str, **arguments: Any) -> Any:
        """One command to QEMU; events that come before its answer are skipped."""
        self._control.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self._lines.readline())
            if "event" in answer:
                continue
            if "error" in answer:
                raise AssertionError(f"{command}: {answer['error']}")
            return answer["return"]

    def wait_exit(self, seconds: float = 60) -> None:
        self._process.wait(seconds)

    def memory_kib(self) -> int:
        """Resident memory of the QEMU process."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found is not None
        return int(found.group(1))

    def close(self) -> None:
        """Ends the machine as if the power had failed."""
        self._process.kill()
        self._process.wait(10)
        self.console.close()
        self._lines.close()
        self._control.close()


def overlay(base: Path, target: Path, size: str) -> Path:
    """A disk of the given size that starts as the base image."""
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(target), size]
    subprocess.run(argv, check=True)
    return target


def config_drive(work: Path, files: dict[str, bytes], target: Path) -> Path:
    """An ISO image with the label by which guests know a config drive."""
    tree = work / "config-drive"
    with suppress(FileNotFoundError):
        shutil.rmtree(tree)
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    argv = ["genisoimage", "-quiet", "-J", "-r", "-V", "config-2", "-o", str(target), str(tree)]
    subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)
    return target
