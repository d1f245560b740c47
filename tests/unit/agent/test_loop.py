"""The loop: same host whatever the road; nothing before the first full state; failures are tried again."""

from __future__ import annotations

from collections.abc import Sequence

from virga.agent.drivers.fake.layer2 import FakeNamespaces
from virga.agent.loop import Loop
from virga.agent.protocol import Difference
from virga.contract.items import AnyItem, Network
from virga.contract.messages import Report, Reports, State

A, B, C = (Network(key=key, network_type="flat") for key in "abc")
B2 = Network(key="b", network_type="flat", mtu=1400)


class NamespacePerNetwork:
    """A manager as simple as can be: a namespace for each network."""

    name = "test"
    kinds: tuple[str, ...] = ("network",)

    def __init__(self, driver: FakeNamespaces) -> None:
        self._driver = driver
        self._stale: dict[str, bool] = {}
        self._held: set[str] = set()
        self.updates = 0

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        self.updates += 1
        self._stale[key] = item is not None
        (self._held.add if item is not None else self._held.discard)(key)

    def resolve(self) -> None:
        for key, present in self._stale.items():
            self._driver.want(f"q-{key}", present)
        self._stale.clear()

    def reports(self) -> Sequence[Report]:
        found = []
        for key in sorted(self._held):
            outcome = self._driver.outcome(f"q-{key}")
            status = "ERROR" if outcome.reason else "ACTIVE"
            found.append(Report(kind="network", key=key, status=status, reason=outcome.reason))
        return found


class Bench:
    """A loop over one driver whose world may outlive it."""

    def __init__(self, world: dict[str, object] | None = None) -> None:
        self.now = 1000.0
        self.driver = FakeNamespaces()
        if world is not None:
            self.driver.world = world
        self.manager = NamespacePerNetwork(self.driver)
        self.sent: list[Reports] = []
        self.loop = Loop([self.manager], [self.driver], self.sent.append, clock=lambda: self.now)

    def news(self) -> list[Report]:
        """What was reported since the last look."""
        found = [report for reports in self.sent for report in reports.reports]
        self.sent.clear()
        return found

    def walk(self, *states: State) -> set[str]:
        for state in states:
            self.loop.offer(state)
            self.loop.step()
        return set(self.driver.world)


def full(*items: AnyItem, revision: int = 1) -> State:
    return State(epoch="e", revision=revision, full=True, items=list(items))


def delta(*items: AnyItem, removed: Sequence[str] = (), revision: int = 2) -> State:
    return State(epoch="e", revision=revision, items=list(items), removed=[("network", k) for k in removed])


def test_forward_back_doubled_and_squashed_end_the_same() -> None:
    road = [full(A), delta(B), delta(B2, C), delta(removed=["a"])]
    assert Bench().walk(*road) == {"q-b", "q-c"}
    assert Bench().walk(*[state for state in road for _ in "12"]) == {"q-b", "q-c"}
    assert Bench().walk(*road, delta(A), delta(removed=["a"])) == {"q-b", "q-c"}
    squashed = Bench()
    for state in road:
        squashed.loop.offer(state)
    squashed.loop.step()
    assert set(squashed.driver.world) == {"q-b", "q-c"}
    assert Bench().walk(full(B2, C)) == {"q-b", "q-c"}


def test_nothing_is_touched_before_the_first_full_state() -> None:
    bench = Bench({"q-a": True, "q-z": True})
    bench.loop.wake()
    assert bench.walk(delta(B)) == {"q-a", "q-z"}
    assert bench.driver.writes == 0
    assert bench.walk(full(A, B)) == {"q-a", "q-b"}


def test_a_restarted_agent_adopts_and_writes_nothing() -> None:
    first = Bench()
    first.walk(full(A, B))
    second = Bench(first.driver.world)
    assert second.walk(full(A, B)) == {"q-a", "q-b"}
    assert second.driver.writes == 0


def test_the_same_item_again_is_no_news() -> None:
    bench = Bench()
    bench.walk(full(A), full(A), delta(A))
    assert bench.manager.updates == 1
    assert [(r.revision, len(r.reports)) for r in bench.sent] == [(0, 1), (1, 0), (1, 0), (2, 0)]


def test_one_failure_stops_nothing_else_and_is_tried_again_with_growing_pauses() -> None:
    bench = Bench()
    bench.driver.failing["q-a"] = "no room"
    assert bench.walk(full(A, B)) == {"q-b"}
    assert {(r.key, r.status, r.reason) for r in bench.news()} == {
        ("a", "ERROR", "no room"),
        ("b", "ACTIVE", ""),
    }
    pauses = []
    for _ in range(4):
        before = bench.now
        while not bench.loop.step():
            bench.now += 0.25
        pauses.append(bench.now - before)
    assert pauses == [0.5, 1.0, 2.0, 4.0]
    bench.driver.failing.clear()
    bench.now += 30
    assert bench.loop.step()
    assert set(bench.driver.world) == {"q-a", "q-b"}
    assert [(r.key, r.status) for r in bench.news()] == [("a", "ACTIVE")]
    bench.now += 5
    assert not bench.loop.step()


def test_drift_is_found_by_the_slow_timer() -> None:
    bench = Bench()
    bench.walk(full(A, B))
    del bench.driver.world["q-a"]
    bench.driver.world["q-junk"] = True
    bench.now += 200
    assert bench.loop.step()
    assert set(bench.driver.world) == {"q-a", "q-b"}


def test_everything_is_reported_again_after_a_reconnection() -> None:
    bench = Bench()
    bench.walk(full(A, B))
    bench.news()
    bench.loop.reconnected()
    bench.loop.step()
    assert {r.key for r in bench.news()} == {"a", "b"}


def test_differences_are_answered_without_writing() -> None:
    bench = Bench()
    bench.walk(full(A, B))
    del bench.driver.world["q-a"]
    found: list[str] = []
    bench.loop.ask_differences(lambda differences: found.extend(f"{d.key} {d.kind}" for d in differences))
    bench.loop.step()
    assert found == ["q-a missing"]
    assert set(bench.driver.world) == {"q-b"}


def test_drivers_of_the_same_name_are_all_asked_for_differences() -> None:
    """The rules of the host and those of router namespaces are both called iptables."""
    drivers = [FakeNamespaces(), FakeNamespaces()]
    loop = Loop([], drivers, lambda _: None)
    drivers[0].want("q-a", True)
    answers: list[list[Difference]] = []
    loop.ask_differences(answers.append)
    loop.ask_differences(answers.append, without=(drivers[0].name,))
    loop.step()
    assert [[each.key for each in answer] for answer in answers] == [["q-a"], []]
