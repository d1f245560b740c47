"""Pages of a list: limit and marker in, next link out; and the two links that every thing has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from virga.api.request import Request
from virga.services.compute.faults import Invalid

MAX_INT = 0x7FFFFFFF


def limit_of(req: Request, page_limit: int) -> int:
    """How many items this page may have."""
    text = req.param("limit")
    if text is None:
        return page_limit
    try:
        limit = int(text)
    except ValueError:
        raise Invalid("limit param must be an integer") from None
    if limit < 0:
        raise Invalid("limit param must be positive")
    return min(limit, page_limit)


def marker_not_found(marker: str) -> Invalid:
    return Invalid(f"marker [{marker}] not found", type="MarkerNotFound")


def next_link(req: Request, path: str, ids: Sequence[str], page_limit: int) -> list[dict[str, str]]:
    """The ``…_links`` of a page that is full."""
    limit = limit_of(req, page_limit) or 0
    if not limit or limit != len(ids):
        return []
    query = {name: value for name, value in req.query if name != "marker"}
    return [{"rel": "next", "href": req.url(path) + "?" + urlencode({**query, "marker": ids[-1]})}]


def links(req: Request, collection: str, ident: str) -> list[dict[str, str]]:
    """``self`` and ``bookmark``."""
    return [
        {"rel": "self", "href": req.url(f"/v2.1/{collection}/{ident}")},
        {"rel": "bookmark", "href": f"{req.base_url}{_project(req)}/{collection}/{ident}"},
    ]


def bookmark(req: Request, collection: str, ident: str) -> list[dict[str, str]]:
    return [{"rel": "bookmark", "href": f"{req.base_url}{_project(req)}/{collection}/{ident}"}]


def after_marker(rows: Sequence[Any], marker: str | None, limit: int, key: str = "id") -> list[Any]:
    """The page of an ordered list that is short enough to be in memory."""
    if marker is not None:
        for index, row in enumerate(rows):
            if str(getattr(row, key)) == marker:
                return list(rows[index + 1 : index + 1 + limit])
        raise marker_not_found(marker)
    return list(rows[:limit])


def _project(req: Request) -> str:
    """Bookmarks have no version, but the project where the URL had it."""
    return f"/{req.url_project}" if req.url_project else ""
