"""The doctor's pure parts: wires that must carry VLANs, logs, pools, words."""

from __future__ import annotations

import json
from pathlib import Path

from virga.contract.calls import HostDifference, PoolFacts
from virga.contract.doctor import Heard, HostExamination, Uplink, WiresProbed
from virga.trace.doctor_database import PoolRows, pool_findings
from virga.trace.doctor_hosts import KnownHost, findings, services
from virga.trace.doctor_logs import errors
from virga.trace.doctor_wires import Carried, crossings, pings, targets, verdicts


def examination(host: str, mac: str) -> HostExamination:
    uplink = Uplink(physical_network="physnet1", bridge="br-eth1", nic="eth1", mac=mac, mtu=1500)
    return HostExamination(host=host, time=0.0, uplinks=[uplink], addresses={"tunnel": f"192.0.2.{mac[-1]}"})


HOSTS = {"a": examination("a", "00:00:00:00:00:01"), "b": examination("b", "00:00:00:00:00:02")}
BLUE = Carried("n1", "blue", "physnet1", 1000, frozenset({"a", "b"}))
ELSEWHERE = Carried("n2", "green", "physnet9", 1001, frozenset({"a", "b"}))
NAMES = {("physnet1", 1000): "blue"}


def heard(host: str, vlan: int = 1000, *, large: bool) -> Heard:
    return Heard(host=host, nic="eth1", vlan=vlan, large=large)


def test_each_vlan_must_cross_both_ways_where_both_ends_have_the_wire() -> None:
    wanted = crossings(HOSTS, [BLUE, ELSEWHERE])
    assert [(c.source, c.target, c.vlan) for c in wanted] == [("a", "b", 1000), ("b", "a", 1000)]
    (target,) = targets("a", HOSTS, wanted)
    assert (target.host, target.nic, target.mac, target.vlans) == ("b", "eth1", "00:00:00:00:00:02", [1000])
    assert pings("a", HOSTS) == {"b tunnel": "192.0.2.2"}


def test_what_is_heard_in_both_sizes_is_no_finding() -> None:
    wanted = crossings(HOSTS, [BLUE])
    probed = {
        "a": WiresProbed(heard=[heard("b", large=False), heard("b", large=True)]),
        "b": WiresProbed(heard=[heard("a", large=False), heard("a", large=True)]),
    }
    assert verdicts(wanted, probed, NAMES) == []


def test_a_vlan_that_is_not_trunked_and_a_wire_that_is_too_small_are_told_apart() -> None:
    wanted = crossings(HOSTS, [BLUE])
    probed = {
        "a": WiresProbed(heard=[heard("b", 7, large=True)]),
        "b": WiresProbed(heard=[heard("a", large=False)]),
    }
    found = {each.host: each.sentence for each in verdicts(wanted, probed, NAMES)}
    assert "No frames of VLAN 1000 of physnet1 (blue) pass from b to a" in found["a"]
    assert "Small frames of VLAN 1000 pass from a to b" in found["b"]


def test_a_host_that_did_not_listen_accuses_no_wire() -> None:
    assert verdicts(crossings(HOSTS, [BLUE]), {"a": WiresProbed()}, NAMES) == []


def test_differences_are_told_by_name_and_with_what_mends_them() -> None:
    router = "qrouter-11111111-2222-3333-4444-555555555555"
    ours = HostDifference(driver="addresses", key=router, kind="missing", wanted="addr add")
    strange = HostDifference(
        driver="iptables", key=f"{router}/v4/filter", kind="foreign", actual="-A FORWARD -j DROP"
    )
    tags = HostDifference(
        driver="flows", key="br-int table=0", kind="missing", wanted="actions=mod_vlan_vid:1"
    )
    names = {router.removeprefix("qrouter-"): "router r1"}
    first, second, third = findings("host1", [ours, strange, tags], names)
    assert (first.check, first.mend) == ("addresses", "virga doctor host1 --fix")
    assert "router r1" in first.sentence
    assert second.mend.endswith(f"ip netns exec {router} iptables-save")
    assert third.check == "translation"


def test_a_silent_agent_is_a_problem_and_a_disabled_one_a_note() -> None:
    found = services([KnownHost("h", 0, ("L3 agent",), ("nova-compute",))], 60_000_000)
    assert [each.level for each in found] == ["problem", "note"]
    assert "60 s ago" in found[0].sentence


def test_files_without_rows_and_rows_without_files() -> None:
    rows = PoolRows(frozenset({"here", "lost"}), frozenset(), frozenset({"coming"}))
    there = ["here", "coming", "stray", "let-go"]
    pool = PoolFacts(
        total_gb=1, free_gb=1, volumes=there, snapshots=[], targets=[], unmanaged=["let-go"], problems=["x"]
    )
    first, *found = pool_findings("h", pool, rows)
    assert first.sentence == "Pool of h: x"
    assert [(each.subject, each.kind) for each in found] == [("stray", "extra"), ("lost", "missing")]


def test_errors_are_grouped_by_request_and_old_ones_forgotten(tmp_path: Path) -> None:
    lines = [
        {"time": "2026-01-01T09:00:00Z", "level": "error", "event": "old", "process": "server"},
        {
            "time": "2026-01-01T10:00:01Z",
            "level": "error",
            "event": "job failed",
            "request_id": "req-1",
            "process": "server",
        },
        {
            "time": "2026-01-01T10:00:02Z",
            "level": "error",
            "event": "job failed",
            "request_id": "req-1",
            "process": "server",
        },
        {"time": "2026-01-01T10:00:03Z", "level": "info", "event": 'fine "error"', "process": "server"},
    ]
    (tmp_path / "server.log").write_text("".join(json.dumps(line) + "\n" for line in lines) + "half a li")
    (found,) = errors(tmp_path, "2026-01-01T10:00:00Z")
    assert (found.request_id, found.mend) == ("req-1", "virga logs --request req-1")
    assert "2 errors" in found.sentence
