"""Version discovery: ``GET /`` answers 300, ``GET /versions`` 200, with all versions of the API."""

from __future__ import annotations

from typing import Any

from virga.api.request import Request, Response
from virga.db.tx import Tx

CURRENT = "2.17"
SUPPORTED = (
    "2.15",
    "2.13",
    "2.12",
    "2.11",
    "2.10",
    "2.9",
    "2.8",
    "2.7",
    "2.6",
    "2.5",
    "2.4",
    "2.3",
    "2.2",
    "2.1",
    "2.0",
)


def _versions(req: Request) -> dict[str, Any]:
    links = [{"rel": "self", "href": req.url("/v2/")}]
    found = [{"id": f"v{number}", "status": "SUPPORTED", "links": links} for number in SUPPORTED]
    return {"versions": [{"id": f"v{CURRENT}", "status": "CURRENT", "links": links}, *found]}


def index(tx: Tx, req: Request) -> Response:
    """What there is."""
    return Response(300, _versions(req))


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """The same, to a direct question."""
    return _versions(req)
