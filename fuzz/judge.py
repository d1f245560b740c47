"""What must hold for every answer, told from the outside: how each service words a refusal, and that nothing broke."""

from __future__ import annotations

import json
import logging
import threading
import traceback
from dataclasses import dataclass, field
from typing import Any

from fuzz.wire import Answer, Sent

COMPUTE_KEYS = {400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod",
                406: "notAcceptable", 409: "conflictingRequest", 413: "overLimit", 415: "badMediaType",
                429: "overLimit", 501: "notImplemented", 503: "serviceUnavailable"}  # fmt: skip


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _identity(status: int, body: Any) -> bool:
    inner = body["error"]
    return (
        set(body) == {"error"}
        and inner["code"] == status
        and _text(inner["message"])
        and _text(inner["title"])
    )


def _network(status: int, body: Any) -> bool:
    inner = body["NeutronError"]
    return set(inner) == {"type", "message", "detail"} and _text(inner["type"]) and _text(inner["message"])


def _compute(status: int, body: Any) -> bool:
    key = COMPUTE_KEYS.get(status, "computeFault")
    if status == 404 and set(body) == {"message", "code", "title"}:
        # No such page: the router in front of Nova and Cinder has words of its own.
        return _image(status, body)
    if status == 410:
        key = next(iter(body))
    return set(body) == {key} and body[key]["code"] == status and isinstance(body[key]["message"], str)


def _image(status: int, body: Any) -> bool:
    return (
        set(body) == {"message", "code", "title"}
        and str(body["code"]).startswith(str(status))
        and _text(body["message"])
    )


def _placement(status: int, body: Any) -> bool:
    (inner,) = body["errors"]
    return (
        inner["status"] == status
        and _text(inner["title"])
        and "detail" in inner
        and _text(inner["request_id"])
    )


def _explain(status: int, body: Any) -> bool:
    inner = body["error"]
    return inner["code"] == status and _text(inner["message"]) and _text(inner["request_id"])


ENVELOPES = {"identity": _identity, "network": _network, "compute": _compute, "block-storage": _compute,
             "image": _image, "placement": _placement, "explain": _explain,
             "volume-check": _explain}  # fmt: skip


OPENSTACKS_OWN = (
    (501, b"/os-hosts"),
    (503, b"/backups/import_record"),
    (503, b"/networks"),
    (503, b"/segments"),
)
"""Answers of 5xx that OpenStack itself gives: Nova's driver cannot switch a host on or off; Cinder knows no such backup
service; Neutron has no segmentation id left."""


def complaint(service: str, sent: Sent, answer: Answer) -> str | None:
    """What is wrong with an answer; None when nothing is."""
    status = answer.status
    if status == 0:
        return "hung up without an answer"
    if status >= 500 and not any(status == known and path in sent.target for known, path in OPENSTACKS_OWN):
        return f"status {status}"
    if "x-openstack-request-id" not in answer.headers:
        # What is not HTTP never reaches a service; the server says so in a line of text.
        if status == 400 and answer.body == b"Invalid HTTP request received.":
            return None
        return f"status {status} without a request id"
    if sent.method == "HEAD" or status in (204, 304):
        return "a body where there is none" if answer.body else None
    if status >= 400:
        return _refusal(service, answer)
    return _success(answer)


def _success(answer: Answer) -> str | None:
    # Nova says JSON of an answer that has no body, too.
    if answer.body and answer.headers.get("content-type", "").startswith("application/json"):
        try:
            json.loads(answer.body)
        except ValueError:
            return "an answer that is not the JSON it says"
    return None


def _refusal(service: str, answer: Answer) -> str | None:
    rule = _identity if answer.status == 401 else ENVELOPES.get(service, _identity)
    try:
        fits = rule(answer.status, json.loads(answer.body))
    except (ValueError, KeyError, TypeError, IndexError, StopIteration):
        fits = False
    if not fits:
        return f"an envelope that is not the service's: {answer.status} {answer.body[:200]!r}"
    if b"Traceback" in answer.body or b'.py"' in answer.body or b"sqlite3" in answer.body:
        return f"an error that tells about the code: {answer.body[:300]!r}"
    return None


@dataclass
class Trouble(logging.Handler):
    """Keeps what was logged as an error, or with a traceback."""

    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        logging.Handler.__init__(self, logging.WARNING)
        self.kept = threading.Lock()

    def __hash__(self) -> int:
        return id(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            frames = traceback.extract_tb(error.__traceback__)
            ours = [f for f in frames if "/virga/" in f.filename] or frames
            where = f"{ours[-1].filename.rpartition('/virga/')[2]}:{ours[-1].lineno}" if ours else "?"
            text = f"{record.getMessage()}: {type(error).__name__} at {where}: {str(error)[:200]}"
        elif record.levelno >= logging.ERROR:
            text = f"{record.name}: {record.getMessage()} {getattr(record, 'fields', '')}"[:400]
        else:
            return
        with self.kept:
            self.found.append(text)

    def take(self) -> list[str]:
        with self.kept:
            found, self.found = self.found, []
        return found


class Ledger:
    """Which request changed rows: every write is counted for the request that it was made for."""

    def __init__(self, database: Any) -> None:
        self.commits: dict[str, int] = {}
        self.total = 0
        self._try = database._try
        database._try = self.attempt

    def attempt(self, work: Any, attempt: Any) -> None:
        function, changed = work.function, 0

        def counted(tx: Any) -> Any:
            nonlocal changed
            driver = tx.connection.connection.driver_connection
            before = driver.total_changes
            result = function(tx)
            changed = driver.total_changes - before
            # Counted before the commit: whoever sees the rows sees the count.
            self.total += changed > 0
            return result

        work.function = counted
        self._try(work, attempt)
        if changed and work.error is None:
            self.commits[work.request_id] = self.commits.get(work.request_id, 0) + changed

    def changed_by(self, request_id: str) -> int:
        return self.commits.pop(request_id, 0)
