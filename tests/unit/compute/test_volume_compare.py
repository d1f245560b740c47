"""What is lost, leaked, doubled, different or stuck: worlds that are right, and each way to be wrong."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from virga.contract.calls import HeldDisk, PoolFacts
from virga.services.compute.volume_compare import Rows, Seen, compare


def volume(ident: str = "v", **known: Any) -> SimpleNamespace:
    there = {
        "host": "h",
        "size": 1,
        "status": "in-use",
        "export": True,
        "exported": True,
        "multiattach": False,
    }
    return SimpleNamespace(id=ident, **{**there, **known})


def pool(**known: Any) -> PoolFacts:
    there: dict[str, Any] = {
        "total_gb": 9, "free_gb": 9, "volumes": ["v"], "snapshots": ["s"], "targets": ["v"],
        "sizes": {"v": 1}, "snapshot_of": {"s": "v"},
    }  # fmt: skip
    return PoolFacts(**{**there, **known})


ROWS = Rows(
    volumes=[volume()],
    snapshots=[SimpleNamespace(id="s", volume_id="v", status="available")],
    backups=[SimpleNamespace(id="b", volume_id="v", status="available")],
    attachments=[SimpleNamespace(id="a", volume_id="v", server_id="i", status="attached")],
    devices=[SimpleNamespace(server_id="i", volume_id="v", attachment_id="a", attached=True)],
    servers={"i": SimpleNamespace(id="i", host="h", vm_state="active")},
)
SEEN = Seen({"h": pool()}, {"h": [HeldDisk(instance_id="i", volume_id="v")]}, frozenset({"b", "b.map"}))


def found(rows: Rows = ROWS, seen: Seen = SEEN) -> list[tuple[str, str, str]]:
    return [(one.kind, one.what, one.id) for one in compare(rows, seen)]


def test_a_world_that_is_right() -> None:
    assert found() == []
    assert found(Rows(), Seen({}, {})) == []


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (pool(volumes=[], sizes={}), [("lost", "volume", "v")]),
        (pool(volumes=["v", "x"]), [("leaked", "volume", "x")]),
        (pool(volumes=["v", "x"], unmanaged=["x"]), []),
        (pool(sizes={"v": 2}), [("differs", "volume", "v")]),
        (pool(snapshots=[]), [("lost", "snapshot", "s")]),
        (pool(snapshots=["s", "t"]), [("leaked", "snapshot", "t")]),
        (pool(targets=[]), [("lost", "target", "v")]),
        (pool(targets=["v", "x"]), [("leaked", "target", "x")]),
        (pool(problems=["layer x is reached by nobody"]), [("differs", "pool", "h")]),
    ],
)
def test_a_pool_that_is_not_as_the_rows_say(there: PoolFacts, expected: list[tuple[str, str, str]]) -> None:
    assert found(seen=replace(SEEN, pools={"h": there})) == expected


def test_a_volume_in_two_pools() -> None:
    seen = replace(SEEN, pools={"h": pool(), "g": pool(snapshots=[], targets=[])})
    assert found(seen=seen) == [("doubled", "volume", "v")]


def test_a_disk_of_a_machine() -> None:
    assert found(seen=replace(SEEN, machines={"h": []})) == [("lost", "disk", "v")]
    twice = [*SEEN.machines["h"], HeldDisk(instance_id="j", volume_id="v")]
    assert set(found(seen=replace(SEEN, machines={"h": twice}))) == {
        ("leaked", "disk", "v"),
        ("doubled", "disk", "v"),
    }
    off = {"i": SimpleNamespace(id="i", host="h", vm_state="stopped")}
    assert found(replace(ROWS, servers=off), replace(SEEN, machines={"h": []})) == []


def test_attachments_and_devices() -> None:
    assert ("lost", "attachment", "a") in found(replace(ROWS, attachments=[]))
    assert ("leaked", "attachment", "a") in found(replace(ROWS, servers={}))
    two = [*ROWS.attachments, SimpleNamespace(id="a2", volume_id="v", server_id="k", status="reserved")]
    assert found(replace(ROWS, attachments=two)) == [("doubled", "attachment", "v")]
    assert found(replace(ROWS, attachments=two, volumes=[volume(multiattach=True)])) == []
    assert ("differs", "volume", "v") in found(replace(ROWS, volumes=[volume(status="available")]))


def test_backups() -> None:
    assert found(seen=replace(SEEN, files=frozenset())) == [("lost", "backup", "b")]
    assert found(seen=replace(SEEN, files=frozenset({"b", "b.map", "x"}))) == [("leaked", "backup", "x")]


@pytest.mark.parametrize("status", ["creating", "deleting", "detaching", "extending"])
def test_a_row_between_two_states(status: str) -> None:
    rows = replace(ROWS, volumes=[volume(status=status)])
    assert ("stuck", "volume", "v") in found(rows)
    assert found(replace(rows, worked_on=frozenset({"v"}))) == []


def test_what_is_worked_on_is_let_be() -> None:
    rows = replace(ROWS, worked_on=frozenset({"v", "i", "s", "b"}))
    seen = Seen({"h": pool(volumes=[], snapshots=[], sizes={})}, {"h": []}, frozenset({"b"}))
    assert found(rows, seen) == []
