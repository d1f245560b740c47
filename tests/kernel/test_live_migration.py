"""A real QEMU machine goes to another host while it runs: memory, disks and where its devices are go with it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.lib.guest import guest_directory
from tests.lib.qemu_rig import Rig, server, volume
from virga.agent.drivers.guest_kind import GuestError
from virga.contract.items import Arrival, Instance

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs QEMU"),
    pytest.mark.timeout(600),
]


@pytest.fixture
def hosts() -> Iterator[tuple[Rig, Rig]]:
    with tempfile.TemporaryDirectory(prefix="virga-move-") as directory:
        one = Rig(Path(directory) / "one")
        other = Rig(Path(directory) / "other")
        try:
            yield one, other
        finally:
            other.close()
            one.close()


def expect(source: Rig, target: Rig, item: Instance) -> dict[str, str]:
    """The target waits; where."""
    layout = source.guests.actions.layout(item)
    arrival = Arrival(disks=layout.disks, slots=layout.slots)
    outcome = target.be(msgspec.structs.replace(item, arrival=arrival), "awaited")
    return {name: str(place) for name, place in outcome.details.items()}


def test_memory_disks_and_devices_go_along(hosts: tuple[Rig, Rig]) -> None:
    source, target = hosts
    # A machine without ports: both hosts share one kernel, and a tap has one machine.
    item = server(guest_directory(), source, nics=[], swap_mb=16)
    source.root.mkdir(exist_ok=True)
    source.be(item)
    console = source.console(item.key)
    console.log_in()
    attached = volume(source)
    item = msgspec.structs.replace(item, disks=[attached])
    source.be(item, volumes=attached.volume_id)
    console.run("echo on-disk > kept; sync; export REMEMBERED=in-memory")

    going = msgspec.structs.replace(item, departing=True)
    source.driver.want(going)
    places = expect(source, target, item)
    source.guests.actions.migrate(going, places["memory"], places["disks"])
    assert source.be(going, "sent").status == "sent"
    assert target.guests.need(item.key).run_state() != "running", "nobody has told it to run"
    source.guests.actions.migrate(going, places["memory"], places["disks"])

    target.be(item)
    source.driver.unwant(item.key)
    source.until(item.key, "gone")
    console = target.console(item.key)
    console.say("")
    console.expect("$ ")
    assert console.run("echo $REMEMBERED; cat kept") == "in-memory\non-disk"
    assert console.run("lsblk -dnbo SIZE /dev/vdb") == str(16 * 1024**2)
    target.be(msgspec.structs.replace(item, disks=[]), volumes="")


def test_it_goes_on_where_it_is_when_the_other_side_dies(hosts: tuple[Rig, Rig]) -> None:
    source, target = hosts
    item = server(guest_directory(), source, nics=[])
    source.be(item)
    source.console(item.key).log_in()
    going = msgspec.structs.replace(item, departing=True)
    source.driver.want(going)
    places = expect(source, target, item)
    os.kill(target.guests.need(item.key).pid, signal.SIGKILL)
    with pytest.raises(GuestError):
        source.guests.actions.migrate(going, places["memory"], places["disks"])
    source.be(item)
    machine = source.guests.need(item.key)
    assert machine.run_state() == "running"
    assert not machine.execute("query-block-jobs")
    source.be(msgspec.structs.replace(item, power_state="suspended"), "suspended")
    source.be(item)


def test_a_machine_that_arrived_but_is_not_wanted_there_runs_on_here(hosts: tuple[Rig, Rig]) -> None:
    source, target = hosts
    item = server(guest_directory(), source, nics=[])
    source.be(item)
    going = msgspec.structs.replace(item, departing=True)
    source.driver.want(going)
    places = expect(source, target, item)
    source.guests.actions.migrate(going, places["memory"], places["disks"])
    target.driver.unwant(item.key)
    target.until(item.key, "gone")
    source.be(item)
    assert source.guests.need(item.key).run_state() == "running"
    source.console(item.key).log_in()
