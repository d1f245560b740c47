"""A log line is one JSON object with the ids of what it is about, and rotation loses none."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from virga.lib import log


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The root logger as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    ours = logging.getLogger("virga").level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("virga").setLevel(ours)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(text) for text in path.read_text().splitlines()]


def test_a_line_carries_process_event_and_ids(tmp_path: Path) -> None:
    log.start("server", tmp_path)
    with log.bind(request_id="req-1"):
        log.log_for("virga.x").info("port is active", port_id="p1")
    log.log_for("virga.x").debug("not at this level")
    [line] = lines(tmp_path / "server.log")
    assert (line["event"], line["request_id"], line["port_id"]) == ("port is active", "req-1", "p1")
    assert (line["process"], line["level"]) == ("server", "info")


def test_secrets_are_blanked(tmp_path: Path) -> None:
    log.start("server", tmp_path)
    log.log_for("virga.x").info("user", admin_password="hunter2", token="t", name="n")
    [line] = lines(tmp_path / "server.log")
    assert (line["admin_password"], line["token"], line["name"]) == ("***", "***", "n")


def test_lines_of_plain_loggers_have_the_same_shape(tmp_path: Path) -> None:
    log.start("agent-host1", tmp_path)
    logging.getLogger("somebody").warning("%s of %s", 1, 2, extra={"port_id": "p"})
    [line] = lines(tmp_path / "agent-host1.log")
    assert (line["event"], line["port_id"], line["logger"]) == ("1 of 2", "p", "somebody")


def test_rotation_keeps_every_line_of_the_newest_files(tmp_path: Path) -> None:
    handler = log.ProcessFile(tmp_path / "p.log", 300, 50)
    handler.setFormatter(log.JsonLines())
    for number in range(100):
        handler.emit(logging.makeLogRecord({"msg": f"event {number}", "levelname": "INFO"}))
    handler.close()
    found = [str(line["event"]) for path in tmp_path.glob("p.log*") for line in lines(path)]
    assert sorted(found) == sorted(f"event {number}" for number in range(100))
    assert len(list(tmp_path.glob("p.log.*"))) > 5


def test_rotation_forgets_the_oldest(tmp_path: Path) -> None:
    handler = log.ProcessFile(tmp_path / "p.log", 200, 2)
    handler.setFormatter(log.JsonLines())
    for number in range(50):
        handler.emit(logging.makeLogRecord({"msg": f"event {number}", "levelname": "INFO"}))
    handler.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.log", "p.log.1", "p.log.2"]
    assert "event 49" in (tmp_path / "p.log.1").read_text() + (tmp_path / "p.log").read_text()
