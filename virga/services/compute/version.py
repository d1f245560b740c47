"""Version documents: ``/``, ``/v2.1/`` and the legacy ``/v2/``."""

from __future__ import annotations

from typing import Any

from virga.api.microversion import Microversions, show
from virga.api.request import Request
from virga.api.routing import PUBLIC, Route
from virga.db.tx import Tx
from virga.settings import Settings

MICROVERSIONS = Microversions("compute", (2, 1), (2, 104), "x-openstack-nova-api-version")
_KNOWN = {
    "v2.0": ("DEPRECATED", "", "", "2025-07-04T12:00:00Z", "v2", ""),
    "v2.1": (
        "CURRENT",
        show(MICROVERSIONS.maximum),
        show(MICROVERSIONS.minimum),
        "2013-07-23T11:33:21Z",
        "v2.1",
        ".1",
    ),
}


def _document(req: Request, ident: str, whole: bool) -> dict[str, Any]:
    status, version, least, updated, path, suffix = _KNOWN[ident]
    links: list[dict[str, str]] = [{"rel": "self", "href": req.url(f"/{path}/")}]
    body: dict[str, Any] = {
        "id": ident,
        "status": status,
        "version": version,
        "min_version": least,
        "updated": updated,
        "links": links,
    }
    if whole:
        links.append({"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"})
        kind = f"application/vnd.openstack.compute+json;version=2{suffix}"
        body["media-types"] = [{"base": "application/json", "type": kind}]
    return body


def index(tx: Tx, req: Request) -> Any:
    return {"versions": [_document(req, ident, False) for ident in _KNOWN]}


def new(tx: Tx, req: Request) -> Any:
    return {"version": _document(req, "v2.1", True)}


def old(tx: Tx, req: Request) -> Any:
    return {"version": _document(req, "v2.0", True)}


def routes(settings: Settings) -> list[Route]:
    return [
        Route("GET", "/", index, PUBLIC),
        Route("GET", "/v2.1/", new, PUBLIC),
        Route("GET", "/v2.1", new, PUBLIC),
        Route("GET", "/v2/", old, PUBLIC),
        Route("GET", "/v2", old, PUBLIC),
    ]
