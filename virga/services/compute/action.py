"""Actions on servers share one URL; the key of the body says which it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from virga.api.request import Request
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.services.compute.faults import Invalid

PATH = "/v2.1/servers/{server_id}/action"
Version = tuple[int, int]


def action_route(
    key: str,
    handler: Callable[..., Any],
    *,
    status: int = 202,
    least: Version | None = None,
    most: Version | None = None,
) -> Route:
    """The route of one action; its policy is asked about the very server, by the handler."""
    return Route(
        "POST", PATH, handler, AUTHENTICATED, status=status, action=key, min_version=least, max_version=most
    )


def unknown(tx: Tx, req: Request) -> Any:
    """No such action, or not in this microversion."""
    if not isinstance(req.body, dict) or len(req.body) != 1:
        raise Invalid("Malformed request body")
    raise Invalid(f"There is no such action: {next(iter(req.body))}")


def fallback() -> Route:
    """What is left when no action fits."""
    return Route("POST", PATH, unknown, AUTHENTICATED)
