"""Captures of a host: read by number, ended by time, by silence and by request; what hops become. With a pretended kernel."""

from __future__ import annotations

from typing import Any

import pytest

from virga.agent.captures import MOST_FRAMES, UNREAD_S, BadFilter, Captures
from virga.agent.drivers.capture_hops import whole_filter
from virga.agent.drivers.fake.capture import FakeHops
from virga.contract.capture import Hop, ReadCapture, StartCapture, StopCapture

HOP = Hop(name="h:tap1", host="h", kind="tap", device="tap1")


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.hops = FakeHops()
        self.captures = Captures(self.hops, clock=lambda: self.now)

    def start(self, **more: Any) -> None:
        self.captures.start(StartCapture(id="c", hops=[HOP], **more))

    def frames(self, *numbers: int) -> None:
        for number in numbers:
            self.hops.receivers["c"](HOP.name, number, 60, b"x")

    def read(self, after: int = 0) -> tuple[list[int], int, bool]:
        found = self.captures.read(ReadCapture(id="c", after=after, wait_s=0))
        return [frame.time_ns for frame in found.frames], found.next, found.done


@pytest.fixture
def world() -> Any:
    made = World()
    yield made
    made.captures.close()


def test_frames_are_read_once_and_again_when_the_answer_was_lost(world: World) -> None:
    world.start()
    world.frames(1, 2)
    assert world.read() == ([1, 2], 2, False)
    assert world.read() == ([1, 2], 2, False)
    world.frames(3)
    assert world.read(2) == ([3], 3, False)
    assert world.read(3) == ([], 3, False)


def test_when_its_time_is_over_the_rest_can_still_be_read(world: World) -> None:
    world.start(seconds=5)
    world.frames(1)
    world.now = 5.1
    world.captures.end_due()
    assert world.hops.opened == {}
    assert world.read() == ([1], 1, True)
    with pytest.raises(Exception, match="no capture"):
        world.read(1)


def test_it_ends_when_nobody_reads(world: World) -> None:
    world.start(seconds=1000)
    world.now = UNREAD_S - 1
    world.read()
    world.now = 2 * UNREAD_S - 2
    world.captures.end_due()
    assert "c" in world.hops.opened
    world.now = 2 * UNREAD_S + 1
    world.captures.end_due()
    assert world.hops.opened == {}


def test_it_ends_by_request_and_twice_is_no_harm(world: World) -> None:
    world.start()
    world.captures.stop(StopCapture(id="c"))
    world.captures.stop(StopCapture(id="c"))
    assert world.hops.opened == {}


def test_what_nobody_fetches_is_counted_and_does_not_fill_the_memory(world: World) -> None:
    world.start()
    world.frames(*range(MOST_FRAMES + 3))
    found = world.captures.read(ReadCapture(id="c"))
    assert (found.lost, found.frames[0].time_ns) == (3, 3)


def test_a_bad_filter_is_refused(world: World) -> None:
    with pytest.raises(BadFilter, match="syntax error"):
        world.start(filter="bad")


@pytest.mark.parametrize(
    ("written", "given"),
    [("", ""), ("icmp", "(icmp) or (vlan and (icmp))"), ("vlan 5 and icmp", "vlan 5 and icmp")],
)
def test_filters_look_behind_tags(written: str, given: str) -> None:
    assert whole_filter(written) == given
