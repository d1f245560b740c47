"""Real iSCSI: the target daemon in a network namespace, QEMU's own initiator, CHAP, adoption, layered volumes."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from virga.agent.drivers.targets import PREFIX, Export, TargetOptions, TargetsDriver
from virga.agent.drivers.volume_pool import Source, VolumePool
from virga.contract.calls import VolumeCreate

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("tgtd") is None, reason="needs tgt"),
]
PORT = 33260


class Rig:
    """A pool, its targets on a port of the loopback that nobody else uses, and an initiator."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.start_agent()

    def start_agent(self) -> None:
        self.woken = threading.Event()
        self.targets = TargetsDriver(TargetOptions("127.0.0.1", PORT, self.root), self.woken.set)
        self.pool = VolumePool(self.root / "volumes", self.targets.is_exported)
        self.pool.open()
        self.targets.resync()

    def export(self, volume_id: str, password: str = "secretsecret") -> None:
        record = Path(self.pool.facts(volume_id).path)
        self.targets.want(volume_id, Export(record, f"user-{volume_id}", password))

    def settle(self) -> None:
        assert not self.targets.apply()
        assert not self.targets.prune()

    def initiator(self, volume_id: str, command: str, password: str = "secretsecret") -> str:
        """What QEMU's initiator prints for a ``qemu-io`` command on the exported volume."""
        image = (
            f"driver=iscsi,transport=tcp,portal=127.0.0.1:{PORT},target={PREFIX}{volume_id},lun=1,"
            f"user=user-{volume_id},password-secret=chap"
        )
        argv = [
            "qemu-io",
            *("--object", f"secret,id=chap,data={password}", "--image-opts", image, "-c", command),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout + done.stderr


@pytest.fixture
def rig() -> Iterator[Rig]:
    with tempfile.TemporaryDirectory(prefix="virga-targets-") as directory:
        made = Rig(Path(directory))
        try:
            yield made
        finally:
            made.targets.end()
            assert not list(Path(directory).glob("volume-*")), "exports were left behind"


def make(rig: Rig, volume_id: str, **source: str) -> None:
    rig.pool.create(VolumeCreate(volume_id=volume_id, size_gb=1, **source))  # type: ignore[arg-type]


def test_an_exported_volume_is_written_over_the_network_with_the_right_password_only(rig: Rig) -> None:
    make(rig, "a")
    rig.export("a")
    rig.settle()
    assert "wrote 512/512" in rig.initiator("a", "write -P 66 0 512")
    assert "Pattern verification failed" not in rig.initiator("a", "read -P 66 0 512")
    assert "wrote" not in rig.initiator("a", "write -P 66 0 512", password="wrongwrong12")
    environment = {**os.environ, "TGT_IPC_SOCKET": str(rig.root / "tgtd" / "socket")}
    shown = subprocess.run(
        ["tgtadm", "--op", "show", "--mode", "target"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"{PREFIX}a" in shown
    assert "user-a" in shown


def test_a_clone_is_exported_whole(rig: Rig) -> None:
    make(rig, "a")
    rig.export("a")
    rig.settle()
    rig.initiator("a", "write -P 67 0 512")
    rig.targets.want("a", None)
    rig.settle()
    make(rig, "b", source_volume_id="a")
    rig.export("b")
    rig.settle()
    assert "read 512/512" in rig.initiator("b", "read -P 67 0 512")
    assert "wrote 512/512" in rig.initiator("b", "write -P 68 0 512")
    rig.targets.want("b", None)
    rig.settle()
    out = rig.root / "out"
    rig.pool.copy_out(Source("a"), out, "raw")
    with out.open("rb") as file:
        assert file.read(1) == b"\x43"


def test_a_new_agent_adopts_and_withdraws_what_nobody_wants(rig: Rig) -> None:
    for name in ("a", "b"):
        make(rig, name)
        rig.export(name)
    rig.settle()
    rig.start_agent()
    rig.export("a")
    rig.settle()
    assert rig.targets.exported() == ["a"]
    assert not rig.targets.check()
    assert "wrote" in rig.initiator("a", "write 0 512")


def test_a_killed_daemon_comes_back_with_all_targets(rig: Rig) -> None:
    make(rig, "a")
    rig.export("a")
    rig.settle()
    descriptor = os.pidfd_open(daemon(rig))
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    assert select.select([descriptor], [], [], 10)[0]
    os.close(descriptor)
    assert rig.woken.wait(10), "the agent is told at once"
    rig.settle()
    assert "wrote" in rig.initiator("a", "write 0 512")


def daemon(rig: Rig) -> int:
    """The target daemon of this test, by the control socket in its environment."""
    mark = f"TGT_IPC_SOCKET={rig.root}/tgtd/socket".encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if b"tgtd" in (path / "cmdline").read_bytes() and mark in (path / "environ").read_bytes():
                return int(path.name)
        except OSError:
            continue
    raise AssertionError("the target daemon does not run")
