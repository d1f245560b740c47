"""Real QEMU machines with the built-in guest: one boot serves many questions, because boots are slow here."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.lib.guest import guest_directory
from tests.lib.qemu_rig import Rig, server, tiny, volume
from virga.agent.drivers.guest_kind import GuestError
from virga.agent.drivers.qemu_command import disk_name
from virga.agent.drivers.qemu_img import inspect
from virga.agent.drivers.targets import PREFIX, Export, TargetOptions, TargetsDriver
from virga.agent.drivers.volume_pool import Source, VolumePool
from virga.contract.calls import VolumeCreate
from virga.contract.items import Disk, ImageRef

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs QEMU"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def guest() -> Path:
    return guest_directory()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with tempfile.TemporaryDirectory(prefix="virga-instances-") as directory:
        made = Rig(Path(directory))
        try:
            yield made
        finally:
            made.close()


def within_s(seconds: int, command: str) -> str:
    """A guest takes a moment to see what was plugged: try until the command succeeds."""
    return f"for i in $(seq {seconds}); do {command} && break; sleep 1; done"


def test_the_life_of_an_instance(rig: Rig, guest: Path) -> None:
    rig.ready = None
    item = server(guest, rig)
    rig.driver.want(item)
    rig.until(item.key, "building", build=1)
    machine = rig.guests.need(item.key)
    assert machine.run_state() == "prelaunch", "it waits for its ports"
    rig.ready = True
    rig.until(item.key, "running", ports=item.nics[0].port_id)

    console = rig.console(item.key)
    console.log_in()
    assert "vm1" in console.run(within_s(20, "hostname | grep vm1"))
    console.run(within_s(20, "[ -e /run/tiny/ready ]"))
    assert "config-2" in console.run("sudo blkid")
    assert console.run("cat /sys/class/net/eth0/address") == item.nics[0].mac_address

    attached, nic = volume(rig), rig.nic()
    more = msgspec.structs.replace(item, disks=[attached], nics=[*item.nics, nic])
    rig.be(more, volumes=attached.volume_id)
    assert console.run(within_s(20, "lsblk -dnbo SIZE /dev/vdb 2>/dev/null")) == str(64 * 1024**2)
    assert nic.mac_address in console.run(within_s(20, f"ip link | grep {nic.mac_address}"))
    rig.guests.actions.resize_disk(more, attached, 1)
    assert console.run(within_s(20, f"lsblk -dnbo SIZE /dev/vdb | grep {1024**3}")) == str(1024**3)
    assert rig.guests.actions.diagnostics(item.key)["memory"] == 128 * 1024

    rig.be(item, volumes="", ports=item.nics[0].port_id)
    assert "vdb" not in console.run("ls /dev")
    assert nic.mac_address not in console.run("ip link")

    console.run("echo kept > kept; sync")
    target = rig.root / "snapshot.qcow2"
    assert rig.guests.actions.snapshot(item, target, "qcow2") == target.stat().st_size
    facts = inspect(target, "qcow2")
    assert (facts.backing, facts.virtual_size) == ("", 1024**3)

    rig.be(msgspec.structs.replace(item, power_state="paused"), "paused")
    rig.be(msgspec.structs.replace(item, power_state="suspended"), "suspended")
    assert not machine.home.path.joinpath("qemu.pid").exists() or machine.gone.is_set()
    rig.be(item)
    console = rig.console(item.key)
    console.say("")
    console.expect("$ ")
    assert console.run("cat kept") == "kept", "it goes on where it was"

    before = rig.guests.need(item.key).pid
    rig.stop_agent()
    rig.start_agent()
    rig.be(item)
    assert rig.guests.need(item.key).pid == before, "a new agent adopts the machine"
    assert b"tiny" in rig.guests.actions.console_output(item.key)

    started = time.monotonic()
    rig.be(msgspec.structs.replace(item, power_state="shutdown"), "shutdown")
    assert time.monotonic() - started < 25, "the guest obeys the power button"
    rig.guests.actions.snapshot(item, rig.root / "cold.raw", "raw")
    assert inspect(rig.root / "cold.raw", "raw").virtual_size == 1024**3


def test_a_machine_that_dies_is_noticed_at_once_and_not_started_unasked(rig: Rig, guest: Path) -> None:
    item = server(guest, rig)
    rig.be(item)
    os.kill(rig.guests.need(item.key).pid, signal.SIGKILL)
    outcome = rig.until(item.key, "crashed", limit_s=5)
    assert "ended unexpectedly" in outcome.reason
    rig.stop_agent()
    rig.start_agent()
    rig.be(item, "crashed")
    rig.driver.reboot(item.key, soft=False)
    rig.until(item.key, "running")


def test_instances_come_back_after_the_host_was_restarted(rig: Rig, guest: Path) -> None:
    item = server(guest, rig)
    rig.be(item)
    machine = rig.guests.need(item.key)
    rig.stop_agent()
    os.kill(machine.pid, signal.SIGKILL)
    rig.start_agent()
    rig.be(item)
    assert rig.guests.need(item.key).pid != machine.pid


def test_rebuild_resize_rescue(rig: Rig, guest: Path) -> None:
    item = server(guest, rig, power_state="shutdown")
    rig.be(item, "shutdown")
    home = rig.guests.homes.of(item.key)
    first = home.disk.stat().st_ino
    bigger = msgspec.structs.replace(item, root_gb=2, memory_mb=160)
    rig.be(bigger, "shutdown", memory_mb=160)
    assert inspect(home.disk, "qcow2").virtual_size == 2 * 1024**3
    rig.be(item, "shutdown", memory_mb=128)
    assert inspect(home.disk, "qcow2").virtual_size == 2 * 1024**3, "a disk never shrinks"
    rig.be(msgspec.structs.replace(item, rescue_image=tiny(guest)), "shutdown", rescue=True)
    assert home.rescue_disk.exists()
    rig.be(item, "shutdown", rescue=False)
    assert not home.rescue_disk.exists()
    assert home.disk.stat().st_ino == first
    rig.be(msgspec.structs.replace(item, build=2), "shutdown", build=2)
    assert inspect(home.disk, "qcow2").virtual_size == 1024**3
    released = rig.root / "released"
    rig.guests.actions.release_disk(item, released)
    other = server(guest, rig, power_state="shutdown", image=None, source_disk=str(released))
    rig.be(other, "shutdown")
    assert not released.exists(), "the disk was taken over"


def test_a_build_that_fails_says_why_and_a_better_wish_succeeds(rig: Rig, guest: Path) -> None:
    item = server(guest, rig, power_state="shutdown")
    missing = ImageRef(id="none", path=str(rig.root / "none"), disk_format="qcow2", size=1)
    outcome = rig.be(msgspec.structs.replace(item, image=missing), "error")
    assert "is not there" in outcome.reason
    small = msgspec.structs.replace(
        item, image=msgspec.structs.replace(tiny(guest), disk_format="raw", id="raw")
    )
    rig.be(small, "shutdown")


def test_what_is_not_there_is_refused_in_words(rig: Rig, guest: Path) -> None:
    item = server(guest, rig, power_state="shutdown")
    rig.be(item, "shutdown")
    with pytest.raises(GuestError, match="is not running"):
        rig.guests.actions.console_target(item.key, "novnc")


def test_volumes_of_a_pool_come_and_go_by_file_and_by_iscsi(rig: Rig, guest: Path) -> None:
    targets = TargetsDriver(TargetOptions("127.0.0.1", 33261, rig.root))
    pool = VolumePool(rig.root / "volumes", targets.is_exported)
    pool.open()
    try:
        local = pool.create(VolumeCreate(volume_id=str(uuid.uuid4()), size_gb=1))
        far = pool.create(VolumeCreate(volume_id=str(uuid.uuid4()), size_gb=2))
        targets.want(far.volume_id, Export(Path(far.path), "user", "secretsecret"))
        assert not targets.apply()
        by_file = Disk(
            volume_id=local.volume_id,
            device="/dev/vdb",
            connection={"driver": "pool", "path": local.path},
            limits={"read_iops_sec": 500, "write_bytes_sec": 8 << 20, "write_bytes_sec_max": 16 << 20},
        )
        by_iscsi = Disk(
            volume_id=far.volume_id,
            device="/dev/vdc",
            connection={
                "driver": "iscsi",
                "portal": targets.portal,
                "iqn": PREFIX + far.volume_id,
                "lun": 1,
                "user": "user",
                "password": "secretsecret",
            },
        )
        item = server(guest, rig, nics=[], config_drive=False, disks=[by_iscsi])
        rig.be(item, volumes=far.volume_id)
        with_secret = rig.guests.need(item.key).home.path.glob("*.secret")
        assert not list(with_secret), "the password was there for the start only"
        console = rig.console(item.key)
        console.log_in()
        both = msgspec.structs.replace(item, disks=[by_iscsi, by_file])
        rig.be(both, volumes=",".join(sorted((far.volume_id, local.volume_id))))
        assert sorted(v for _, v in rig.guests.actions.held_volumes()) == sorted(
            (far.volume_id, local.volume_id)
        )
        throttled = {
            one["inserted"]["node-name"]: one["inserted"]
            for one in rig.guests.need(item.key).execute("query-block")
            if "inserted" in one
        }
        near = throttled[disk_name(local.volume_id)]
        assert (near["iops_rd"], near["bps_wr"], near["bps_wr_max"]) == (500, 8 << 20, 16 << 20)
        assert throttled[disk_name(far.volume_id)]["iops"] == 0
        sizes = console.run(within_s(20, "lsblk -dnbo NAME,SIZE | grep vdc"))
        assert sizes.split() == ["vdc", str(1024**3)]
        assert str(2 * 1024**3) in console.run("lsblk -dnbo SIZE /dev/vdb")
        console.run("sudo sh -c 'echo far > /dev/vdb; echo near > /dev/vdc; sync'")
        for number, one in enumerate((far, local)):
            copy = pool.root / f"copy-{number}"
            assert rig.guests.actions.copy_disk(both, one.volume_id, copy) < 32 * 1024**2, "holes stay holes"
            pool.create_snapshot(one.volume_id, f"s{number}", copy)
            assert not copy.exists()
        console.run("sudo sh -c 'echo gone > /dev/vdb; echo gone > /dev/vdc; sync'")
        for number, text in ((0, b"far"), (1, b"near")):
            pool.copy_out(Source("", f"s{number}"), rig.root / "moment", "raw")
            with (rig.root / "moment").open("rb") as file:
                assert file.read(8).startswith(text)
        console.run("sudo sh -c 'echo far > /dev/vdb; echo near > /dev/vdc; sync'")
        pool.extend(local.volume_id, 2)
        rig.guests.actions.resize_disk(both, by_file, 2)
        assert str(2 * 1024**3) in console.run(
            within_s(20, f"lsblk -dnbo SIZE /dev/vdc | grep {2 * 1024**3}")
        )
        with pytest.raises(GuestError, match="cannot grow"):
            rig.guests.actions.resize_disk(both, by_iscsi, 3)
        with rig.driver.turn(item.key) as (_, wanted):
            rig.guests.actions.detach_disk(wanted, far.volume_id)
        assert "vdb" not in console.run("ls /dev")
        rig.until(item.key, "running", volumes=local.volume_id)
        rig.be(msgspec.structs.replace(item, disks=[]), volumes="")
        for volume_id, text in ((far.volume_id, b"far"), (local.volume_id, b"near")):
            out = rig.root / "out"
            pool.copy_out(Source(volume_id), out, "raw")
            with out.open("rb") as file:
                assert file.read(len(text)) == text
    finally:
        for item in rig.driver.wanted():
            rig.driver.unwant(item.key)
            rig.until(item.key, "gone")
        targets.end()
