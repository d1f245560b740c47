"""Instances walk to where they should be, whatever the road; failures stay wanted; calls take turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from virga.agent.calls import CallRegistry
from virga.agent.drivers.fake.instances import FakeGuests
from virga.agent.drivers.guest_kind import GuestError
from virga.agent.drivers.instance_home import KEPT_LOG, LARGEST_LOG, InstanceHome
from virga.agent.drivers.instances import InstancesDriver, in_this_thread
from virga.agent.instance_calls import InstanceCallError, InstanceCalls
from virga.agent.managers.instance import InstanceManager
from virga.contract.items import Disk, Instance, Nic

ID = "0d3c6f0e-1f0c-4a50-9c5e-3f3a8f0d8a01"
NIC = Nic("port-1", "net-1", "fa:16:3e:00:00:01", "tapport-1")


@dataclass
class Host:
    """An agent's instances with everything in memory and a clock that only tests move."""

    now: float = 100.0
    ready: bool | None = True
    guests: FakeGuests = field(default_factory=FakeGuests)
    statuses: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new agent: it remembers nothing, the guests go on."""
        self.driver = InstancesDriver(
            {"qemu": self.guests},
            ports_ready=lambda ids: self.ready,
            wake=lambda: None,
            background=in_this_thread,
            clock=lambda: self.now,
        )
        self.manager = InstanceManager(self.driver)
        self.driver.resync()

    def be(self, item: Instance | None) -> str:
        """Walk and give the last status told."""
        self.manager.on_update("instance", ID, item)
        return self.walk()

    def walk(self) -> str:
        self.manager.resolve()
        self.driver.apply()
        self.driver.prune()
        self.statuses += [report.status for report in self.manager.reports()]
        return self.statuses[-1]


def wish(power_state: str = "running", **other: object) -> Instance:
    return Instance(key=ID, name="vm", hostname="vm", nics=[NIC], power_state=power_state, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize("first", ["running", "shutdown", "paused", "suspended"])
@pytest.mark.parametrize("then", ["running", "shutdown", "paused", "suspended"])
def test_every_power_state_is_reached_from_every_other(first: str, then: str) -> None:
    host = Host()
    assert host.be(wish(first)) == first
    assert host.be(wish(then)) == then
    assert host.be(wish(then)) == then, "the same wish twice changes nothing"
    host.restart()
    assert host.be(wish(then)) == then, "a new agent finds what is wanted"


def test_no_instance_runs_before_its_ports_are_wired() -> None:
    host = Host(ready=None)
    assert host.be(wish()) == "building"
    assert host.guests.guests[ID].state == "off"
    host.ready = True
    assert host.walk() == "running"


def test_ports_that_are_never_wired_become_an_error_and_are_waited_for_again() -> None:
    host = Host(ready=None)
    host.be(wish())
    host.now += 299
    assert host.walk() == "building"
    host.now += 2
    assert host.walk() == "error"
    host.ready = True
    host.now += 10
    assert host.walk() == "running"


def test_a_console_log_without_end_is_cut_to_its_end(tmp_path: Path) -> None:
    home = InstanceHome(tmp_path)
    with home.console_log.open("ab", buffering=0) as guest:
        guest.write(b"a" * LARGEST_LOG + b"end")
        home.trim_console()
        guest.write(b"more")
    kept = home.console_log.read_bytes()
    assert kept.endswith(b"aendmore")
    assert len(kept) == KEPT_LOG + 4


def test_a_port_that_cannot_be_wired_is_an_error_with_a_reason() -> None:
    host = Host(ready=False)
    host.manager.on_update("instance", ID, wish())
    host.manager.resolve()
    failures = host.driver.apply()
    host.driver.prune()
    report = host.manager.reports()[-1]
    assert (report.status, report.reason) == ("error", f"a port of instance {ID} could not be wired")
    assert [(f.driver, f.key) for f in [*failures, *host.driver.apply()]][-1] == ("instances", ID)


def test_a_failure_is_tried_again_with_longer_and_longer_pauses() -> None:
    host = Host()
    host.guests.failing[ID] = "no space left"
    assert host.be(wish()) == "error"
    tries = []
    for _ in range(20):
        host.now += 1
        before = len(host.statuses)
        host.walk()
        if len(host.statuses) > before:
            tries.append(host.now)
    assert tries == [102.0, 106.0, 114.0]
    host.guests.failing.clear()
    host.now += 60
    assert host.walk() == "running"
    assert not host.driver.apply()


def test_a_new_wish_is_tried_at_once_though_the_last_one_failed() -> None:
    host = Host()
    host.guests.failing[ID] = "no space left"
    host.be(wish())
    host.guests.failing.clear()
    assert host.be(wish(memory_mb=128)) == "running"


@pytest.mark.parametrize("how", ["shutdown", "crashed"])
def test_a_guest_that_ended_by_itself_is_told_and_not_started_unasked(how: str) -> None:
    host = Host()
    host.be(wish())
    host.guests.end(ID, how)
    assert host.walk() == how
    host.restart()
    assert host.be(wish()) == how
    assert host.be(wish("shutdown")) == "shutdown"
    assert host.be(wish()) == "running"


def test_an_instance_that_nobody_wants_is_removed_by_an_agent_that_remembers_nothing() -> None:
    host = Host()
    host.be(wish())
    host.restart()
    assert host.walk() == "gone"
    assert not host.guests.guests


def test_deleting_twice_and_an_unknown_one_does_no_harm() -> None:
    host = Host()
    host.be(wish())
    assert host.be(None) == "gone"
    assert host.be(None) == "gone"
    assert not host.guests.guests


def test_a_start_is_heard_though_the_wish_to_be_down_was_not() -> None:
    """The guest ended, the cloud wished it down and, asked by somebody, up again, before the host heard of either."""
    host = Host()
    host.be(wish())
    host.guests.end(ID, "crashed")
    assert host.walk() == "crashed"
    assert host.be(wish()) == "crashed"
    assert host.be(wish(starts=1)) == "running"


def test_what_came_and_went_in_one_breath_is_told_to_be_gone() -> None:
    host = Host()
    host.manager.on_update("instance", ID, wish())
    assert host.be(None) == "gone"
    assert not host.driver.knows(ID)


def test_a_rebuild_starts_anew() -> None:
    host = Host()
    host.be(wish())
    host.guests.guests[ID].console = "old"
    assert host.be(wish(build=2)) == "running"
    assert "old" not in host.guests.guests[ID].console


def test_an_unknown_kind_is_an_error_not_a_crash() -> None:
    host = Host()
    host.guests.failing.clear()
    item = msgspec.structs.replace(wish(), driver="mainframe")
    assert host.be(item) == "error"
    assert host.be(None) == "gone"


class TestCalls:
    def call(self, host: Host, method: str, **arguments: object) -> object:
        registry = CallRegistry()
        InstanceCalls(host.driver).register(registry)
        found = registry.find(method)
        assert found is not None
        struct, function = found
        return function(struct(instance_id=ID, **arguments))

    def test_reboot_brings_back_a_guest_that_shut_itself_down(self) -> None:
        host = Host()
        host.be(wish())
        host.guests.end(ID, "shutdown")
        host.walk()
        self.call(host, "instance.reboot", reboot_type="HARD")
        assert host.walk() == "running"

    def test_console_output_gives_the_last_lines(self) -> None:
        host = Host()
        host.be(wish())
        host.guests.guests[ID].console = "one\ntwo\nthree\n"
        assert self.call(host, "instance.console_output") == "one\ntwo\nthree\n"
        assert self.call(host, "instance.console_output", length=2) == "three\n"
        assert self.call(host, "instance.console_output", length=0) == ""

    def test_a_detached_volume_stays_off_until_the_item_follows(self) -> None:
        host = Host()
        disk = Disk(volume_id="vol-1", device="/dev/vdb", connection={"driver": "file", "path": "/v"})
        host.be(wish(disks=[disk]))
        self.call(host, "instance.detach_disk", volume_id="vol-1")
        host.walk()
        outcome = host.guests.converge(wish(disks=[disk]), lambda ids: True)
        assert outcome.details["volumes"] == ""
        host.be(wish())
        host.be(wish(disks=[disk]))
        assert host.guests.converge(wish(disks=[disk]), lambda ids: True).details["volumes"] == "vol-1"

    def test_an_instance_that_is_not_here_is_refused(self) -> None:
        with pytest.raises(InstanceCallError) as refused:
            self.call(Host(), "instance.reboot")
        assert refused.value.error_type == "InstanceNotFound"

    def test_what_no_guest_agent_can_do_is_refused_clearly(self) -> None:
        host = Host()
        host.be(wish())
        with pytest.raises(InstanceCallError, match="guest agent is not enabled"):
            self.call(host, "instance.set_password", password="new")


def test_a_turn_on_a_missing_instance_raises() -> None:
    with pytest.raises(GuestError), Host().driver.turn("nobody"):
        pass
