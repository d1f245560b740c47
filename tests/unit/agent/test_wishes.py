"""What is stale is worked on at once, what is only doubted a little at a time."""

from __future__ import annotations

from virga.agent.wishes import DOUBT_BUDGET_S, Wishes


class Refused(Exception):
    pass


class World:
    """Realising takes time, and may be refused."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[str] = []
        self.refused: set[str] = set()
        self.wishes: Wishes[int] = Wishes("driver", lambda: self.now)

    def realise(self, key: str, value: int) -> None:
        self.now += DOUBT_BUDGET_S * 0.6
        if key in self.refused:
            raise Refused(f"{key} is refused")
        self.done.append(key)

    def settle(self) -> list[str]:
        self.done = []
        return [failure.key for failure in self.wishes.settle(self.realise, Refused)]


def test_stale_wishes_are_all_settled() -> None:
    world = World()
    for key in "abcd":
        world.wishes.want(key, 1)
    assert world.settle() == []
    assert world.done == ["a", "b", "c", "d"]
    world.wishes.want("a", 1)
    assert world.settle() == [] and world.done == []


def test_doubts_take_several_rounds_and_all_get_their_turn() -> None:
    world = World()
    for key in "abcd":
        world.wishes.want(key, 1)
    world.settle()
    world.wishes.doubt()
    looked_at = []
    while world.wishes.in_doubt:
        assert world.wishes.outcome("d").settled
        world.settle()
        looked_at.append(list(world.done))
    assert looked_at == [["a", "b"], ["c", "d"]]


def test_a_doubt_that_turns_out_right_is_a_failure_until_it_is_repaired() -> None:
    world = World()
    world.wishes.want("a", 1)
    world.settle()
    world.refused.add("a")
    world.wishes.doubt()
    assert world.settle() == ["a"]
    assert world.wishes.outcome("a").reason == "a is refused"
    world.refused.clear()
    assert world.settle() == []
    assert world.wishes.outcome("a").reason == ""


def test_what_nobody_wants_any_more_is_not_looked_at() -> None:
    world = World()
    world.wishes.want("a", 1)
    world.settle()
    world.wishes.doubt()
    world.wishes.want("a", None)
    assert world.settle() == [] and world.done == []
