"""Version discovery: ``GET /`` answers 300 with all versions, ``GET /v3`` with the one."""

from __future__ import annotations

from typing import Any

from virga.api.request import Request, Response
from virga.db.tx import Tx


def _v3(req: Request) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": req.url("/v3/")}],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"},
        ],
    }


def index(tx: Tx, req: Request) -> Response:
    """All versions there are."""
    return Response(300, {"versions": {"values": [_v3(req)]}}, {"location": req.url("/v3/")})


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """Version 3."""
    return {"version": _v3(req)}
