"""What runs gave, kept as JSON beside the page that is made of it: ``docs/conformance.json`` and ``.md``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from conformance.tempest_run import TEMPEST, Outcome

Record = dict[str, Any]
"""Group to what its last run gave."""

HEADS = {
    "lab": (
        "On a lab: packets, QEMU guests, logins",
        "Two simulated hosts, guests of the image `tiny`, `run_validation` on: the suites log in to the guests.",
        "make conformance",
    ),
    "memory": (
        "With the data plane in memory: the APIs alone",
        "No packets, no guests, no root; tests that log in to a guest are left out by the suites themselves.",
        "make conformance-api",
    ),
}


def read(path: Path) -> Record:
    """An absent file is an empty record."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def keep(path: Path, group: str, outcomes: Sequence[Outcome], seconds: float) -> None:
    """Replace what the group's last run gave."""
    record = read(path)
    record[group] = {
        "date": date.today().isoformat(),
        "versions": " and ".join(name.replace("==", " ") for name in TEMPEST[:2]),
        "minutes": round(seconds / 60, 1),
        "suites": [{**asdict(found), "ran": found.ran} for found in outcomes],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def page(record: Mapping[str, Any]) -> str:
    """The page, Markdown. Pure."""
    parts = [
        "# Conformance\n",
        "Other people's suites are the judge. This page is made by the runs themselves; each fails unless every name of a",
        "list ran and passed: a name that Tempest does not know, or skips, counts. `make conformance` and",
        "`make conformance-api` install Tempest into an environment of its own, start a cloud, write its tempest.conf from",
        "what the cloud answers, run, and remove the cloud. `LISTS=DIRECTORY` says where the guideline's load lists are.\n",
        "    make conformance LIST=my-list.txt                        # a list of yours, on a lab",
        '    make conformance LIST=my-list.txt ARGS="--dataplane fake" # no packets, no guests, no root',
        "",
    ]
    for group, head in HEADS.items():
        if group in record:
            parts += _group(head, record[group])
    return "\n".join(parts)


def _group(head: tuple[str, str, str], run: Mapping[str, Any]) -> list[str]:
    title, sentence, command = head
    lines = [
        f"## {title}\n",
        f"{sentence} {run['versions']}, {run['date']}, one run, {run['minutes']} minutes: `{command}`.\n",
        "| suite | expected | run | passed | failed | skipped | not there |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {s['suite']} | {s['expected']} | {s['ran']} | {s['passed']} | {len(s['failed'])} | {len(s['skipped'])} "
        f"| {len(s['missing'])} |"
        for s in run["suites"]
    ]
    return [*lines, "", *_failures(run["suites"]), *_skips(run["suites"])]


def _failures(suites: Sequence[Mapping[str, Any]]) -> list[str]:
    found = {name: text for suite in suites for name, text in suite["failed"].items()}
    found |= {name: "not there" for suite in suites for name in suite["missing"]}
    if not found:
        return []
    rows = [f"| `{name}` | {_cell(text)} |" for name, text in sorted(found.items())]
    return ["| failed | what it said |", "|---|---|", *rows, ""]


def _skips(suites: Sequence[Mapping[str, Any]]) -> list[str]:
    """Reasons with how many tests gave them; names would be pages."""
    reasons = {name: text for suite in suites for name, text in suite["skipped"].items()}
    if not reasons:
        return []
    counted = Counter(reasons.values()).most_common()
    rows = [f"| {number} | {_cell(text)} |" for text, number in counted]
    return ["| skipped | the reason it gave |", "|---|---|", *rows, ""]


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|").strip()[:160]
