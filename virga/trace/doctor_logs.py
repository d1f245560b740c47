"""Errors in the logs of all processes of late, one finding a request (or a message, where no request is named)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from virga.contract.doctor import Finding

TAIL_BYTES = 2_000_000
LATE_S = 3600
MOST = 20


def errors(directory: Path, since: str) -> list[Finding]:
    """Lines of level error that were written since (ISO time), grouped; the end of each file only."""
    return grouped(
        line for path in sorted(directory.glob("*.log")) for line in _tail(path) if _is_error(line, since)
    )


def grouped(lines: Iterable[dict[str, Any]]) -> list[Finding]:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in lines:
        request = str(line.get("request_id") or line.get("request") or "")
        groups.setdefault((request, "" if request else str(line.get("event", ""))), []).append(line)
    newest = sorted(groups.items(), key=lambda pair: str(pair[1][-1].get("time", "")), reverse=True)
    return [_finding(request, found) for (request, _), found in newest[:MOST]]


def _finding(request: str, lines: list[dict[str, Any]]) -> Finding:
    last = lines[-1]
    reason = str(last.get("reason") or last.get("traceback") or "").strip().splitlines()
    text = f"{last.get('event', 'error')}{': ' + reason[-1][:200] if reason else ''}"
    return Finding(
        check="logs",
        level="note",
        subject=str(last.get("process", "")),
        sentence=f"{last.get('process', '')} said at {last.get('time', '')}: {text}"
        + (f" ({len(lines)} errors)" if len(lines) > 1 else ""),
        request_id=request,
        mend=f"virga logs --request {request}" if request else f"virga logs {last.get('process', '')}",
    )


def _is_error(line: dict[str, Any], since: str) -> bool:
    return line.get("level") in ("error", "critical") and str(line.get("time", "")) >= since


def _tail(path: Path) -> Iterable[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return
    for row in text.splitlines():
        if '"error"' not in row and '"critical"' not in row:
            continue
        try:
            line = json.loads(row)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line
