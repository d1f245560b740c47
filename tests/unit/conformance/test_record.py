"""Runs of other people's suites are counted name by name, and the page says what the runs gave."""

from __future__ import annotations

from pathlib import Path

from conformance import record
from conformance.tempest_run import Result, outcome, spread

RESULTS = {
    "t.A.one": Result("success"),
    "t.A.two": Result("skip", "no such feature"),
    "t.A.three": Result("fail", "404 | not 200"),
    "setUpClass (t.B)": Result("fail", "no network"),
    "setUpClass (t.C)": Result("skip", "no dvr"),
}


def test_every_name_is_counted_once() -> None:
    names = ["t.A.one", "t.A.two", "t.A.three", "t.A.gone"]
    found = outcome("list", names, RESULTS)
    assert (found.expected, found.ran, found.passed) == (4, 2, 1)
    assert found.failed == {"t.A.three": "404 | not 200"}
    assert found.skipped == {"t.A.two": "no such feature"}
    assert found.missing == ["t.A.gone"] and not found.ok


def test_a_class_that_was_not_set_up_counts_for_its_tests() -> None:
    found = outcome("list", ["t.B.x", "t.C.y"], spread(RESULTS, ["t.B.x", "t.C.y", "t.A.one"]))
    assert found.failed == {"t.B.x": "no network"} and found.skipped == {"t.C.y": "no dvr"}


def test_the_page_shows_each_group_of_the_record(tmp_path: Path) -> None:
    path = tmp_path / "conformance.json"
    record.keep(path, "memory", [outcome("S", ["t.A.one", "t.A.two", "t.A.three"], RESULTS)], 90.0)
    record.keep(path, "lab", [outcome("L", ["t.A.one"], RESULTS)], 60.0)
    page = record.page(record.read(path))
    assert "| L | 1 | 1 | 1 | 0 | 0 | 0 |" in page and "| S | 3 | 2 | 1 | 1 | 1 | 0 |" in page
    assert r"| `t.A.three` | 404 \| not 200 |" in page and "| 1 | no such feature |" in page
