"""URLs as endpoints of older clouds have them: ``/v2.1/PROJECT/servers``, ``/v2/servers``, ``/v2/PROJECT/servers``.

``/v2`` is version 2.1 without microversions: clients of that age neither send nor expect their headers.
"""

from __future__ import annotations

import re

from virga.api.request import Request

NEW, OLD = "/v2.1", "/v2"
_PROJECT = re.compile(r"[0-9a-f-]+\Z")


def modernise(req: Request) -> None:
    """Give the request the path that routes are written in, and note what it was."""
    _, root, *rest = req.path.split("/")
    root = "/" + root
    if root not in (NEW, OLD):
        return
    req.versioned = root == NEW
    # A bare root is the version document; what follows a project is never empty.
    named = len(rest) > 1 and _PROJECT.match(rest[0]) is not None
    if named:
        req.url_project = rest.pop(0)
    if named or (root == OLD and any(rest)):
        req.old_root = (NEW, "/".join([root, req.url_project] if req.url_project else [root]))
        req.path = "/".join([NEW, *rest])
