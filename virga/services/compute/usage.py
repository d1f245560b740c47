"""os-simple-tenant-usage: how much of what a project used, for how long."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import or_, select

from virga.api.request import Request
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.lib.clock import iso_micro, parse_iso
from virga.services.compute import states
from virga.services.compute.faults import Invalid
from virga.services.compute.models import server
from virga.services.compute.page import limit_of
from virga.services.compute.schema import NON_NEGATIVE, TEXT, V21, Versioned, check_query, obj, several
from virga.settings import Settings

POLICY = "os_compute_api:os-simple-tenant-usage:"
_QUERY = {"start": several(TEXT), "end": several(TEXT), "detailed": several(TEXT)}
_PAGED = _QUERY | {"limit": several(NON_NEGATIVE), "marker": several(TEXT)}
QUERY = Versioned((V21, obj(_QUERY, extra=True)), ((2, 40), obj(_PAGED, extra=True)), ((2, 75), obj(_PAGED)))
FOUR_WEEKS_US = 28 * 24 * 3600 * 1_000_000
HOUR_US = 3600 * 1_000_000


def _time(text: str | None, default: int) -> int:
    if not text:
        return default
    try:
        return parse_iso(text.replace(" ", "T") if "T" not in text else text)
    except ValueError:
        raise Invalid(f"Datetime is in invalid format: {text}") from None


def _span(req: Request, now: int) -> tuple[int, int, dict[str, list[str]]]:
    asked = check_query(req, QUERY)
    start = _time(asked.get("start", [None])[-1], now - FOUR_WEEKS_US)
    end = _time(asked.get("end", [None])[-1], now)
    if start > end:
        raise Invalid("Invalid start time. The start time cannot occur after the end time.")
    return start, end, asked


def _rows(tx: Tx, start: int, end: int, project_id: str | None) -> list[Any]:
    statement = select(server).where(
        server.c.launched_at.is_not(None),
        server.c.launched_at < end,
        or_(server.c.terminated_at.is_(None), server.c.terminated_at > start),
    )
    if project_id is not None:
        statement = statement.where(server.c.project_id == project_id)
    return list(tx.all(statement.order_by(server.c.number)))


def _server(row: Any, start: int, end: int, now: int) -> dict[str, Any]:
    flavor = row.flavor
    until = min(end, row.terminated_at or end, now)
    hours = max(0, until - max(start, row.launched_at)) / HOUR_US
    ended = row.terminated_at is not None
    return {
        "instance_id": row.id,
        "name": row.name,
        "hours": hours,
        "flavor": flavor["name"],
        "tenant_id": row.project_id,
        "started_at": iso_micro(row.launched_at, ""),
        "ended_at": iso_micro(row.terminated_at, "") if ended else None,
        "state": "terminated" if ended else (row.vm_state if row.vm_state != states.BUILDING else "building"),
        "uptime": int(((row.terminated_at or now) - row.launched_at) // 1_000_000),
        "vcpus": flavor["vcpus"],
        "memory_mb": flavor["memory_mb"],
        "local_gb": flavor["root_gb"] + flavor["ephemeral_gb"],
    }


def _usage(
    project_id: str, items: list[dict[str, Any]], start: int, end: int, detailed: bool
) -> dict[str, Any]:
    def total(name: str) -> float:
        return float(sum(item[name] * item["hours"] for item in items))

    body: dict[str, Any] = {
        "tenant_id": project_id,
        "total_hours": float(sum(item["hours"] for item in items)),
        "total_vcpus_usage": total("vcpus"),
        "total_memory_mb_usage": total("memory_mb"),
        "total_local_gb_usage": total("local_gb"),
        "start": iso_micro(start, ""),
        "stop": iso_micro(end, ""),
    }
    if detailed:
        body["server_usages"] = items
    return body


def _page(req: Request, rows: list[Any], page_limit: int) -> list[Any]:
    """From 2.40 on the servers behind the sums come in pages."""
    if req.microversion < (2, 40):
        return rows
    marker = req.param("marker")
    if marker:
        ids = [row.id for row in rows]
        if marker not in ids:
            raise Invalid(f"Marker {marker} could not be found.")
        rows = rows[ids.index(marker) + 1 :]
    return rows[: limit_of(req, page_limit)]


def _links(req: Request, path: str, rows: list[Any], page_limit: int) -> list[dict[str, str]]:
    limit = limit_of(req, page_limit)
    if req.microversion < (2, 40) or not rows or len(rows) < limit or req.param("limit") is None:
        return []
    query = {k: v for k, v in req.query if k != "marker"} | {"marker": rows[-1].id}
    return [{"rel": "next", "href": req.url(path) + "?" + urlencode(query)}]


def index(tx: Tx, req: Request, *, page_limit: int) -> Any:
    start, end, asked = _span(req, tx.now)
    detailed = asked.get("detailed", ["0"])[0] == "1"
    rows = _page(req, _rows(tx, start, end, None), page_limit)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row.project_id, []).append(_server(row, start, end, tx.now))
    body: dict[str, Any] = {
        "tenant_usages": [_usage(p, items, start, end, detailed) for p, items in found.items()]
    }
    if more := _links(req, "/v2.1/os-simple-tenant-usage", rows, page_limit):
        body["tenant_usages_links"] = more
    return body


def show(tx: Tx, req: Request, *, page_limit: int) -> Any:
    project_id = req["project_id"]
    req.enforce(POLICY + "show", {"project_id": project_id})
    start, end, _asked = _span(req, tx.now)
    rows = _page(req, _rows(tx, start, end, project_id), page_limit)
    items = [_server(row, start, end, tx.now) for row in rows]
    body: dict[str, Any] = {"tenant_usage": _usage(project_id, items, start, end, True) if items else {}}
    path = f"/v2.1/os-simple-tenant-usage/{project_id}"
    if more := _links(req, path, rows, page_limit):
        body["tenant_usage_links"] = more
    return body


def routes(settings: Settings) -> list[Route]:
    at, limit = "/v2.1/os-simple-tenant-usage", settings.page_limit
    return [
        Route("GET", at, partial(index, page_limit=limit), POLICY + "list"),
        Route("GET", at + "/{project_id}", partial(show, page_limit=limit), AUTHENTICATED),
    ]
