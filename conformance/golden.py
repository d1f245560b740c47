"""Compares what a cloud answered in a Tempest run with recorded answers of a real OpenStack, field by field.

    python -m conformance.golden --trace FILE WORKSPACE/logs/tempest.log ...

Requests are matched by service, method, path without its ids, microversion, action and status; of each kind the
fields, their types, the headers and (of errors) the sentences are compared. Lists are compared by the union of what
their items hold. A kind that only one side has says nothing, and is counted.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

SERVICES = ("identity", "image", "compute", "placement")
HEADERS = frozenset(
    [
        "location",
        "vary",
        "openstack-api-version",
        "x-openstack-nova-api-version",
        "x-subject-token",
        "x-compute-request-id",
        "x-openstack-request-id",
        "openstack-image-import-methods",
        "content-type",
    ]
)
_ID = re.compile(
    r"^([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}|\d+|tempest-.*|.*-\d{5,})$"
)
_NAMES = frozenset(
    [
        "metadata",
        "tags",
        "extra_specs",
        "os-extra_specs",
        "namespaces",
        "objects",
        "properties",
        "regions",
        "ips",
    ]
)
_FREE = frozenset(
    ["metadata", "extra_specs", "addresses", "options", "properties", "image_properties", "blob"]
)
"""Objects whose keys are data."""
_VARIES = re.compile(
    r"req-[0-9a-f-]{36}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}|"
    r"tempest-[\w.-]+|\d+|http://\S+"
)


@dataclass(frozen=True, order=True)
class Kind:
    """What requests have in common that must be answered alike."""

    service: str
    method: str
    path: str
    version: str
    action: str
    status: int

    def __str__(self) -> str:
        words = [self.service, self.method, self.path, self.action, self.version, str(self.status)]
        return " ".join(word for word in words if word)


@dataclass
class Shape:
    """All that was seen of one kind."""

    count: int = 0
    fields: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    always: set[str] | None = None
    headers: set[str] | None = None
    sentences: set[str] = field(default_factory=set)

    def add(self, body: Any, headers: set[str], status: int) -> None:
        self.count += 1
        self.headers = headers if self.headers is None else self.headers & headers
        seen: dict[str, set[str]] = defaultdict(set)
        _walk(body, "", seen)
        for name, types in seen.items():
            self.fields[name] |= types
        self.always = set(seen) if self.always is None else self.always & set(seen)
        if status >= 400:
            self.sentences |= {_VARIES.sub("*", text) for text in _messages(body)}


def _walk(value: Any, at: str, seen: dict[str, set[str]]) -> None:
    if isinstance(value, dict):
        seen[at].add("object")
        if at.rpartition(".")[2] in _FREE:
            return
        for key, inner in value.items():
            _walk(inner, f"{at}.{'*' if _ID.match(key) else key}", seen)
    elif isinstance(value, list):
        seen[at].add("list")
        for inner in value:
            _walk(inner, f"{at}[]", seen)
    else:
        seen[at].add("null" if value is None else type(value).__name__)


def _messages(body: Any) -> Iterator[str]:
    if isinstance(body, dict):
        for key, value in body.items():
            if key in ("message", "detail") and isinstance(value, str):
                yield value
            else:
                yield from _messages(value)
    elif isinstance(body, list):
        for value in body:
            yield from _messages(value)


def template(path: str) -> str:
    """A path without what differs from run to run."""
    parts = path.rstrip("/").split("/") or [""]
    found = []
    for before, part in zip(["", *parts], parts, strict=False):
        varies = _ID.match(part) or (before in _NAMES and part)
        found.append("*" if varies else part)
    return "/".join(found) or "/"


def _action(body: Any) -> str:
    return str(next(iter(body), "")) if isinstance(body, dict) and len(body) == 1 else ""


def _kind(service: str, method: str, path: str, version: str, sent: Any, status: int) -> Kind:
    path = template(path)
    action = _action(sent) if path.endswith("/action") else ""
    return Kind(service, method, path, version, action, status)


def _decode(text: Any) -> Any:
    if isinstance(text, str) and text.startswith(("b'", 'b"')):
        try:
            text = ast.literal_eval(text).decode("utf-8", "replace")
        except (ValueError, SyntaxError):
            return None
    try:
        return json.loads(text) if text else None
    except (TypeError, ValueError):
        return None


def _version(headers: dict[str, str]) -> str:
    asked = {name.lower(): value for name, value in headers.items()}
    return asked.get("openstack-api-version", asked.get("x-openstack-nova-api-version", "")).split(" ")[-1]


def recorded(trace: Path) -> dict[Kind, Shape]:
    """The answers of the real one."""
    found: dict[Kind, Shape] = defaultdict(Shape)
    with gzip.open(trace, "rt") as lines:
        for line in lines:
            row = json.loads(line)
            service, _, rest = row["url"].partition("}")
            service = service.strip("{")
            if service not in SERVICES:
                continue
            kind = _kind(
                service,
                row["method"],
                urlsplit(rest).path,
                _version(row["req_headers"] or {}),
                _decode(row["req_body"]),
                int(row["status"]),
            )
            headers = {name.lower() for name in row["resp_headers"]} & HEADERS
            found[kind].add(_decode(row["resp_body"]), headers, kind.status)
    return found


_LINE = re.compile(r"Request \(([^)]*)\): (\d+) (\w+) (\S+) ")
_FULL = re.compile(
    r"Request - Headers: (?P<sent>\{.*\})\n\s+Body: (?P<body>.*)\n"
    r"\s+Response - Headers: (?P<headers>\{.*\})\n\s+Body: (?P<answer>.*?) _log_request_full"
)


def answered(log: Path) -> dict[Kind, Shape]:
    """The answers of the cloud that a Tempest log tells of."""
    found: dict[Kind, Shape] = defaultdict(Shape)
    text = log.read_text(errors="replace")
    lines = list(_LINE.finditer(text))
    for match, after in zip(lines, [*lines[1:], None], strict=True):
        part = text[match.end() : after.start() if after else len(text)]
        full = _FULL.search(part)
        path = urlsplit(match[4]).path
        service, _, rest = path.lstrip("/").partition("/")
        if full is None or service not in SERVICES:
            continue
        sent, headers = ast.literal_eval(full["sent"]), ast.literal_eval(full["headers"])
        kind = _kind(service, match[3], "/" + rest, _version(sent), _decode(full["body"]), int(match[2]))
        names = {name.lower() for name in headers} & HEADERS
        found[kind].add(_decode(full["answer"]), names, kind.status)
    return found


def differences(theirs: Shape, ours: Shape, strict: bool, status: int) -> Iterator[str]:
    """What a client could tell. ``strict``: fields that the real one never has count too."""
    for name in sorted((theirs.always or set()) - set(ours.fields)):
        yield f"lacks {name}"
    if strict and theirs.count > 1:
        for name in sorted(set(ours.always or ()) - set(theirs.fields)):
            yield f"has {name}, which OpenStack has not"
    for name in sorted(set(theirs.fields) & set(ours.fields)):
        odd = ours.fields[name] - theirs.fields[name] - {"null"}
        # One value that both have is enough: what a run made decides which others it sees.
        if odd == ours.fields[name] - {"null"} and odd and theirs.fields[name] != {"null"}:
            yield f"{name} is {'/'.join(sorted(odd))}, not {'/'.join(sorted(theirs.fields[name]))}"
    for name in sorted((theirs.headers or set()) - (ours.headers or set())):
        yield f"lacks the header {name}"
    if (
        status >= 400
        and theirs.sentences
        and ours.sentences - theirs.sentences
        and not (ours.sentences & theirs.sentences)
    ):
        yield f"says {sorted(ours.sentences)}, not {sorted(theirs.sentences)}"


@click.command()
@click.option(
    "--trace", type=click.Path(path_type=Path), required=True, help="Recorded answers, gzip of JSON lines."
)
@click.argument("logs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(trace: Path, logs: tuple[Path, ...]) -> None:
    """Exit status 0 when nothing differs."""
    if not trace.exists():
        print(f"There are no recorded answers at {trace}: nothing was compared.")
        return
    real = recorded(trace)
    ours: dict[Kind, Shape] = {}
    for log in logs:
        ours |= answered(log)
    both = sorted(set(real) & set(ours))
    wrong = 0
    for kind in both:
        strict = kind.service in ("compute", "placement")
        for text in differences(real[kind], ours[kind], strict, kind.status):
            wrong += 1
            print(f"{kind}: {text}")
    print(f"{len(both)} kinds compared, {wrong} differences; not asked here: {len(set(real) - set(ours))}.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
