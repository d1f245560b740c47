"""Run by Tempest's own Python: reads a subunit stream from standard input, prints one JSON line a test."""

from __future__ import annotations

import json
import sys
from typing import Any

import subunit  # type: ignore[import-not-found]
import testtools  # type: ignore[import-not-found]


def on_test(test: dict[str, Any]) -> None:
    """Print name, status and - for a skip or a failure - what it said."""
    details = {
        name: content.as_text()
        for name, content in test["details"].items()
        if name in ("reason", "traceback")
    }
    text = details.get("reason") or details.get("traceback", "").strip().rpartition("\n")[2]
    print(json.dumps({"id": test["id"], "status": test["status"], "text": text[:300]}))


result = testtools.StreamToDict(on_test)
result.startTestRun()
subunit.ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name="noise").run(result)
result.stopTestRun()
