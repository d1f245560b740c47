"""The flow driver against a pretended ovs-ofctl: the least is sent, refusals are found, restarts are repaired."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from virga.agent.drivers.flows import FlowDriver, parse_flow
from virga.lib.run import CommandError, Completed
from virga.sdn.flow import Flow, flow_line

A = Flow(60, 100, "in_port=1", "resubmit(,71)", 0xA)
B = Flow(60, 100, "in_port=2", "resubmit(,71)", 0xB)
BAD = Flow(60, 100, "in_port=3", "no_such_action", 0xC)
FOREIGN = Flow(50, 1, "", "drop", 0)


class PretendedSwitch:
    """Understands dump-flows and add-flows of bundles; refuses a bundle that holds nonsense."""

    def __init__(self, *flows: Flow) -> None:
        self.flows = {flow.key: flow for flow in flows}
        self.bundles: list[list[str]] = []
        self.zones: list[str] = []
        self.dead = False
        self.come_back: list[Callable[[], None]] = []

    def watch(self, bridge: str, on_lost: Callable[[], None]) -> PretendedSwitch:
        self.come_back.append(on_lost)
        return self

    def close(self) -> None:
        self.come_back.clear()

    def __call__(
        self, argv: Sequence[str], *, stdin: str | None = None, timeout_s: float = 30.0, check: bool = True
    ) -> Completed:
        if self.dead:
            raise CommandError(Completed(tuple(argv), 1, "", "ovs-ofctl: br-int is not a bridge or a socket"))
        if "dump-flows" in argv:
            lines = [
                f" {flow_line(flow).replace(',table', ', table', 1).replace(',priority', ', priority', 1)}"
                for flow in self.flows.values()
            ]
            return Completed(tuple(argv), 0, "OFPST_FLOW reply (OF1.5):\n" + "\n".join(lines), "")
        if "ct-flush-zone" in argv:
            self.zones.append(argv[-1])
            return Completed(tuple(argv), 0, "", "")
        lines = (stdin or "").splitlines()
        if any("no_such_action" in line for line in lines):
            raise CommandError(Completed(tuple(argv), 1, "", "ovs-ofctl: -:1: unknown action no_such_action"))
        self.bundles.append(lines)
        for line in lines:
            self._do(line)
        return Completed(tuple(argv), 0, "", "")

    def _do(self, line: str) -> None:
        verb, _, text = line.partition(" ")
        if verb == "add":
            flow = parse_flow(text.replace(",table", ", table", 1).replace(",priority", ", priority", 1))
            assert flow is not None
            self.flows[flow.key] = flow
        else:
            found = parse_flow(f"cookie=0x0, {text.replace(',priority', ', priority', 1)} actions=drop")
            assert found is not None
            del self.flows[found.key]


def driver(switch: PretendedSwitch) -> FlowDriver:
    made = FlowDriver(Path("/nowhere"), lambda: None, runner=switch, watch=switch.watch)
    made.want("br-int", "port/a", [A])
    return made


def test_only_what_changed_is_sent_and_foreign_flows_stay() -> None:
    switch = PretendedSwitch(FOREIGN)
    flows = driver(switch)
    assert not flows.owner_outcome("br-int", "port/a").settled
    flows.apply()
    flows.want("br-int", "port/b", [B])
    flows.apply()
    flows.apply()
    flows.want("br-int", "port/a", [])
    flows.apply()
    assert [len(bundle) for bundle in switch.bundles] == [1, 1, 1]
    assert set(switch.flows.values()) == {FOREIGN, B}
    assert flows.owner_outcome("br-int", "port/b").settled


def test_a_fresh_driver_adopts_what_is_right_and_removes_what_is_not_wanted() -> None:
    switch = PretendedSwitch(A, B, FOREIGN)
    flows = driver(switch)
    flows.apply()
    assert set(switch.flows.values()) == {A, FOREIGN}
    assert len(switch.bundles) == 1 and "delete_strict" in switch.bundles[0][0]


def test_a_refused_flow_is_left_out_and_named() -> None:
    switch = PretendedSwitch()
    flows = driver(switch)
    flows.want("br-int", "port/bad", [BAD])
    flows.want("br-int", "port/b", [B])
    failures = flows.apply()
    assert [failure.key for failure in failures] == ["br-int port/bad"]
    assert "no_such_action" in flows.owner_outcome("br-int", "port/bad").reason
    assert flows.owner_outcome("br-int", "port/b").settled
    assert not flows.owner_outcome("br-int", "port/b").reason
    assert set(switch.flows.values()) == {A, B}
    assert [failure.key for failure in flows.apply()] == ["br-int port/bad"]
    flows.want("br-int", "port/bad", [])
    assert flows.apply() == []


def test_everything_is_pushed_again_after_the_switch_came_back() -> None:
    switch = PretendedSwitch()
    flows = driver(switch)
    flows.apply()
    switch.dead = True
    flows.resync()
    assert [failure.key for failure in flows.apply()] == ["br-int"]
    assert flows.owner_outcome("br-int", "port/a").reason
    switch.dead = False
    switch.flows.clear()
    for back in switch.come_back:
        back()
    assert flows.apply() == []
    assert set(switch.flows.values()) == {A}


def test_drift_is_seen_by_check_and_repaired_by_resync() -> None:
    switch = PretendedSwitch()
    flows = driver(switch)
    flows.apply()
    switch.flows = {B.key: B}
    assert sorted(difference.kind for difference in flows.check()) == ["extra", "missing"]
    flows.resync()
    flows.apply()
    assert set(switch.flows.values()) == {A}
    assert flows.check() == []


def test_connections_of_a_zone_are_forgotten_once() -> None:
    switch = PretendedSwitch()
    flows = driver(switch)
    flows.forget_connections("br-int", 7)
    flows.apply()
    flows.apply()
    assert switch.zones == ["7"]


def test_lines_of_the_switch_are_read() -> None:
    line = " cookie=0x5e, table=23, reset_counts priority=200,ip,reg3=0 actions=load:0x1->NXM_NX_REG3[0],resubmit(,0)"
    assert parse_flow(line) == Flow(23, 200, "ip,reg3=0", "load:0x1->NXM_NX_REG3[0],resubmit(,0)", 0x5E)
    assert parse_flow(" cookie=0x5e, priority=0 actions=drop") == Flow(0, 0, "", "drop", 0x5E)
    assert parse_flow(" cookie=0x0, table=3, arp actions=drop") == Flow(3, 32768, "arp", "drop", 0)
    assert parse_flow("OFPST_FLOW reply (OF1.5) (xid=0x2):") is None
