"""Contributions of owners: merged, taken back, and only what changed is dirty."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from virga.sdn.flow import Flow
from virga.sdn.flowset import FlowSet

FLOWS = [
    *(Flow(82, 70, f"reg5={n:#x}", f"conjunction({c},1/2)", c) for n in (1, 2) for c in (7, 8, 9)),
    *(Flow(60, 100, f"in_port={n}", "resubmit(,71)", n) for n in (1, 2)),
]
CHANGES = st.lists(st.tuples(st.sampled_from("abc"), st.sets(st.sampled_from(FLOWS))), max_size=12)


@given(CHANGES)
def test_the_result_depends_on_the_state_not_on_the_road(changes: list[tuple[str, set[Flow]]]) -> None:
    walked, direct = FlowSet(), FlowSet()
    seen: dict[object, Flow | None] = {}
    for owner, flows in changes:
        unique = {flow.key: flow for flow in sorted(flows, key=str)}.values()
        walked.put(owner, unique)
        for key in walked.dirty:
            seen[key] = walked.flow(key)
        walked.dirty.clear()
    for owner, flows in dict(changes).items():
        direct.put(owner, {flow.key: flow for flow in sorted(flows, key=str)}.values())
    assert sorted(map(str, walked.flows())) == sorted(map(str, direct.flows()))
    assert {key: flow for key, flow in seen.items() if flow is not None} == {f.key: f for f in direct.flows()}


def test_conjunctions_of_several_owners_become_one_flow() -> None:
    flows = FlowSet()
    flows.put("a", [Flow(82, 70, "tcp,tp_dst=22", "conjunction(1,2/2)", 1)])
    flows.put("b", [Flow(82, 70, "tcp,tp_dst=22", "conjunction(2,2/2),conjunction(3,2/3)", 2)])
    (merged,) = flows.flows()
    assert merged.actions == "conjunction(1,2/2),conjunction(2,2/2),conjunction(3,2/3)"
    flows.put("a", [])
    assert flows.flow(merged.key) == Flow(82, 70, "tcp,tp_dst=22", "conjunction(2,2/2),conjunction(3,2/3)", 2)
