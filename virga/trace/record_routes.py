"""``/v1/changes``, ``/v1/observations`` and the list of ``/v1/explain``: who changed what, and what was seen."""

from __future__ import annotations

from typing import Any

from virga.api.faults import BadRequest
from virga.api.request import Request
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.desired import record
from virga.lib.clock import iso_micro, parse_iso
from virga.trace.discretion import kept_for_project

ANYBODY = "role:reader or role:member or role:admin"
POLICIES = {"virga:record": ANYBODY, "virga:record_of_all_projects": "role:admin"}
MOST = 1000
LISTED = 200
KINDS = ("explanation", "drift")


def changes(tx: Tx, req: Request) -> Any:
    """``?object=ID`` (any number of them) ``&since=TIME&limit=N``; members see what was asked for in their project."""
    found = record.changes(tx, req.params("object"), _since(req), _project(req), _limit(req))
    return {
        "changes": [
            {
                "at": iso_micro(one.at),
                "kind": one.kind,
                "object_id": one.object_id,
                "action": one.action,
                "by": one.by,
                "user_id": one.user_id,
                "project_id": one.project_id,
                "request_id": one.request_id,
            }
            for one in found
        ]
    }


def observations(tx: Tx, req: Request) -> Any:
    """``?kind=explanation|drift&since=TIME&limit=N``; members see the explanations that their project asked for."""
    kind = req.param("kind")
    if kind is not None and kind not in KINDS:
        raise BadRequest(f"kind is one of {', '.join(KINDS)}, not {kind!r}.")
    project_id = _project(req)
    rows = record.observations(tx, _since(req), kind, project_id, _limit(req))
    return {
        "observations": [
            {
                "at": iso_micro(row.observed_at),
                "kind": row.kind,
                "host": row.host,
                "subject": row.subject,
                "user_id": row.user_id,
                "project_id": row.project_id,
                "request_id": row.request_id,
                row.kind: row.body if project_id is None else kept_for_project(tx, row.body, project_id),
            }
            for row in rows
        ]
    }


def explanations(tx: Tx, req: Request) -> Any:
    """The last answers, newest first, each with who asked when; members see what their project asked."""
    everything = req.allows("explain:all_projects")
    project_id = None if everything else req.caller.project_id or "none"
    rows = record.observations(tx, _since(req), "explanation", project_id, _limit(req, LISTED))
    return {
        "explanations": [
            {
                **(row.body if project_id is None else kept_for_project(tx, row.body, project_id)),
                "asked_at": iso_micro(row.observed_at),
                "user_id": row.user_id,
                "project_id": row.project_id,
                "request_id": row.request_id,
            }
            for row in reversed(rows)
        ]
    }


def _project(req: Request) -> str | None:
    return None if req.allows("virga:record_of_all_projects") else req.caller.project_id or "none"


def _since(req: Request) -> int:
    text = req.param("since")
    try:
        moment = parse_iso(text) if text else 0
    except (ValueError, OverflowError):
        moment = -1
    if moment < 0:
        raise BadRequest(f"{text!r} is no time: say it as 2026-11-24T10:02:00Z.")
    return moment


def _limit(req: Request, usual: int = MOST) -> int:
    text = req.param("limit", str(usual)) or ""
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:9]) <= MOST:
        raise BadRequest(f"limit is a number from 1 to {MOST}, not {text!r}.")
    return int(text)


ROUTES = (
    Route("GET", "/explain", explanations, "explain:get"),
    Route("GET", "/changes", changes, "virga:record"),
    Route("GET", "/observations", observations, "virga:record"),
)
