"""The flow driver against a pretended ovs-ofctl: the least is sent, refusals are found, restarts are repaired."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from virga.agent.drivers.flows import FlowDriver, parse_flow
from virga.agent.wishes import Outcome
from virga.lib.run import CommandError, Completed
from virga.sdn.flow import Flow, flow_line
from virga.sdn.qos_flows import Meter

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
        self.meters: dict[int, str] = {}
        self.refused_meters: set[int] = set()
        self.dead = False
        self.connected = True
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
        if "meter" in argv[3]:
            return Completed(tuple(argv), 0, self._meter(argv), "")
        if "ct-flush-zone" in argv:
            self.zones.append(argv[-1])
            return Completed(tuple(argv), 0, "", "")
        lines = (stdin or "").splitlines()
        named = {int(n) for line in lines for n in re.findall(r"actions=meter:(\d+)", line)}
        if named - self.meters.keys():
            raise CommandError(Completed(tuple(argv), 1, "", "OFPT_ERROR: OFPMMFC_INVALID_METER"))
        if any("no_such_action" in line for line in lines):
            raise CommandError(Completed(tuple(argv), 1, "", "ovs-ofctl: -:1: unknown action no_such_action"))
        self.bundles.append(lines)
        for line in lines:
            self._do(line)
        return Completed(tuple(argv), 0, "", "")

    def _meter(self, argv: Sequence[str]) -> str:
        command, text = argv[3], argv[-1]
        if command == "dump-meters":
            return "OFPST_METER_CONFIG reply (OF1.5):\n" + "\n".join(self.meters.values())
        number = int(text.removeprefix("meter=").partition(",")[0])
        if command == "del-meter":
            del self.meters[number]
            self.flows = {k: f for k, f in self.flows.items() if not f.actions.startswith(f"meter:{number},")}
            return ""
        if number in self.refused_meters or (command == "add-meter") == (number in self.meters):
            raise CommandError(Completed(tuple(argv), 1, "", "OFPT_ERROR: OFPMMFC_BAD_BAND"))
        words = text.replace(",band=", " bands=\n").replace(",", " ")
        self.meters[number] = words
        return ""

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
    assert parse_flow(" table=3, idle_timeout=90, actions=drop") == Flow(3, 32768, "", "drop", 0)
    assert parse_flow(" priority=9,arp actions=drop") == Flow(0, 9, "arp", "drop", 0)
    assert parse_flow("OFPST_FLOW reply (OF1.5) (xid=0x2):") is None


LIMIT = Meter(4, "kbps", 1000, 800)
LIMITED = Flow(0, 20, "in_port=1", "meter:4,resubmit(,60)", 0xA)


def limited(switch: PretendedSwitch, *meters: Meter) -> FlowDriver:
    flows = driver(switch)
    flows.want("br-int", "port/a", [LIMITED])
    flows.want_meters("br-int", "port/a", meters)
    return flows


def test_meters_come_before_the_flows_that_name_them_and_go_after() -> None:
    switch = PretendedSwitch()
    flows = limited(switch, LIMIT)
    assert flows.apply() == [] and switch.flows == {LIMITED.key: LIMITED}
    flows.want_meters("br-int", "port/a", [Meter(4, "kbps", 2000, 800)])
    assert flows.apply() == []
    assert "rate=2000" in switch.meters[4] and flows.check() == []
    switch.meters[7] = switch.meters[4].replace("meter=4", "meter=7")
    assert [(d.key, d.kind) for d in flows.check()] == [("br-int meter=7", "extra")]
    flows.want("br-int", "port/a", [A])
    flows.want_meters("br-int", "port/a", [])
    flows.resync()
    flows.apply()
    assert switch.meters == {} and switch.flows == {A.key: A}


def test_a_meter_that_is_refused_is_the_reason_of_its_owner() -> None:
    switch = PretendedSwitch()
    switch.refused_meters.add(4)
    flows = limited(switch, LIMIT)
    failures = flows.apply()
    assert failures and not switch.flows
    assert "BAD_BAND" in flows.owner_outcome("br-int", "port/a").reason
    switch.refused_meters.clear()
    assert flows.apply() == []
    assert flows.owner_outcome("br-int", "port/a") == Outcome(True)


def test_a_switch_that_came_back_empty_gets_its_meters_again() -> None:
    switch = PretendedSwitch()
    flows = limited(switch, LIMIT)
    flows.apply()
    switch.meters.clear()
    switch.flows.clear()
    switch.come_back[0]()
    assert flows.apply() == []
    assert set(switch.meters) == {4} and switch.flows == {LIMITED.key: LIMITED}


def test_low_meters_are_a_persons() -> None:
    switch = PretendedSwitch()
    switch.meters[1] = "meter=1 kbps burst bands=\ntype=drop rate=5 burst_size=5"
    driver(switch).apply()
    assert set(switch.meters) == {1}


def test_what_was_taken_back_is_settled_once_the_switch_has_forgotten_it() -> None:
    switch = PretendedSwitch()
    flows = driver(switch)
    flows.apply()
    flows.want("br-int", "port/a", [])
    assert flows.owner_outcome("br-int", "port/a") == Outcome(False)
    flows.apply()
    assert flows.owner_outcome("br-int", "port/a") == Outcome(True)


def test_nothing_is_settled_before_the_end_of_the_switch_would_be_noticed() -> None:
    switch = PretendedSwitch()
    switch.connected = False
    flows = driver(switch)
    assert list(flows.apply()) == []
    assert switch.flows == {A.key: A}
    assert not flows.owner_outcome("br-int", "port/a").settled
    switch.connected = True
    switch.come_back[0]()
    flows.apply()
    assert flows.owner_outcome("br-int", "port/a") == Outcome(True)
