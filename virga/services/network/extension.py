"""Which extensions of the Network API this service has: only what is true is listed.

``extensions.tsv`` holds them, one a line: alias, name, description, updated.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

from virga.api.request import Request
from virga.db.tx import Tx
from virga.services.network import faults

FILE = Path(__file__).with_name("extensions.tsv")


class Extension(NamedTuple):
    alias: str
    name: str
    description: str
    updated: str


@cache
def extensions() -> tuple[Extension, ...]:
    return tuple(Extension(*line.split("\t")) for line in FILE.read_text().splitlines())


def _shown(item: Extension) -> dict[str, object]:
    return {**item._asdict(), "links": []}


def index(tx: Tx, req: Request) -> object:
    return {"extensions": [_shown(item) for item in extensions()]}


def show(tx: Tx, req: Request) -> object:
    for item in extensions():
        if item.alias == req["alias"]:
            return {"extension": _shown(item)}
    raise faults.ExtensionNotFound(id=req["alias"])
