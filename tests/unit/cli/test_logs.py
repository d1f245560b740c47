"""`virga logs`: one story out of several files, also while they grow and rotate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from virga.cli.logs import Story, Tails, merged


def write(path: Path, *lines: dict[str, Any]) -> None:
    with path.open("a") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)


def line(second: int, **fields: Any) -> dict[str, Any]:
    return {"time": f"2026-01-01T00:00:{second:02}.000000Z", "event": str(second), **fields}


def test_files_are_merged_by_time_rotated_ones_included(tmp_path: Path) -> None:
    write(tmp_path / "server.log.2", line(1))
    write(tmp_path / "server.log.1", line(3))
    write(tmp_path / "server.log", line(5))
    write(tmp_path / "agent-host1.log", line(2), line(4))
    with (tmp_path / "agent-host1.log").open("a") as stream:
        stream.write("not json\n")
    assert [one["event"] for one in merged(tmp_path)] == ["1", "2", "3", "4", "5"]


PORT = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"


def test_a_request_is_followed_through_all_processes() -> None:
    story = Story((), "req-1")
    assert not story.has(line(1, process="agent-host1", port_id=PORT)), (
        "before anything is known of the request"
    )
    assert story.has(line(2, process="server", request_id="req-1", project_id=OTHER))
    assert story.has(line(3, process="server", request_id="req-1", objects=[f"port/{PORT}"]))
    assert not story.has(line(4, process="server", request_id="req-2", port_id=PORT))
    assert story.has(line(5, process="agent-host1", event=f"port {PORT} is active"))
    assert not story.has(line(6, process="agent-host1", port_id=OTHER)), (
        "a project is not an object of the request"
    )


def matches(one: dict[str, Any], about: list[str]) -> bool:
    return Story(about, None).has(one)


def test_a_host_a_process_and_an_id_can_be_named() -> None:
    one = line(1, process="agent-host1", port_id="aaaaaaaa-bbbb")
    assert matches(one, ["host1"])
    assert matches(one, ["host1", "aaaaaaaa-bbbb"])
    assert not matches(one, ["host2"])
    assert matches(line(1, event="port aaaaaaaa-bbbb is active"), ["aaaaaaaa"])


def test_following_gives_every_line_once_over_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    write(path, line(1))
    tails = Tails(tmp_path)
    assert [one["event"] for one in tails.news()] == ["1"]
    write(path, line(2))
    path.rename(tmp_path / "server.log.1")
    write(path, line(3))
    assert [one["event"] for one in tails.news()] == ["2", "3"]
    assert tails.news() == []
    tails.close()


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    text = json.dumps(line(1)) + "\n"
    path.write_text(text[:10])
    tails = Tails(tmp_path)
    assert tails.news() == []
    with path.open("a") as stream:
        stream.write(text[10:])
    assert [one["event"] for one in tails.news()] == ["1"]
    tails.close()
