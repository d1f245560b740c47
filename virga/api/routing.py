"""What URLs exist: one Route a line, with who may, and a table that finds them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from re import Pattern
from typing import Any

from starlette.routing import compile_path

from virga.api.faults import Envelope, Fault
from virga.api.microversion import Microversions
from virga.api.request import Request

PUBLIC = "public"
"""Access rule: no token is asked for."""
AUTHENTICATED = "authenticated"
"""Access rule: any valid token; the handler (or the verbs it calls) enforces the rest by name."""

Handler = Callable[..., Any]
"""``def handler(tx, req)`` inside one transaction, or ``async def handler(ctx, req)`` that opens its own."""


@dataclass(frozen=True, slots=True)
class Route:
    """One URL. ``access`` is PUBLIC, AUTHENTICATED or the name of a policy checked before the handler runs."""

    method: str
    path: str
    """Starlette's notation: ``/v2.1/servers/{server_id}``."""
    handler: Handler
    access: str
    status: int = 200
    """Status when the handler returns a bare body."""
    write: bool | None = None
    """Whether the transaction writes; by default all methods but GET and HEAD do."""
    streams: bool = False
    """The body is left unread in ``req.stream``."""
    min_version: tuple[int, int] | None = None
    max_version: tuple[int, int] | None = None
    action: str | None = None
    """For ``POST …/action``: the key of the body that selects this route."""

    is_async: bool = field(init=False)
    writes: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_async", inspect.iscoroutinefunction(self.handler))
        writes = self.method not in ("GET", "HEAD") if self.write is None else self.write
        object.__setattr__(self, "writes", writes)


@dataclass(frozen=True)
class ServiceApi:
    """A service as the edge serves it. The edge knows services only by this."""

    name: str
    prefix: str
    """Under which all its paths lie: ``/compute``."""
    routes: Sequence[Route]
    envelope: Envelope
    policies: dict[str, str] = field(default_factory=dict)
    microversions: Microversions | None = None
    request_id_headers: tuple[str, ...] = ("x-openstack-request-id",)
    max_body: int = 16 * 1024 * 1024
    not_found: Callable[[str, str], Fault] | None = None
    """Method and path to the fault for a URL that does not exist."""
    method_not_allowed: Callable[[str, str], Fault] | None = None
    malformed: Callable[[str], Fault] | None = None
    """Reason to the fault for a body that is not JSON."""
    unauthenticated: Callable[[], Fault] | None = None
    project_scope: bool = False
    """Its policies are for tokens of a project: those of the system or of a domain are turned away."""
    forbidden: Callable[[Fault], Fault] | None = None
    """Rewords a policy refusal the way the service does."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Carried by every answer."""
    empty_types: Mapping[str, str] = field(default_factory=dict)
    """Method to the content type that its answers without a body carry."""
    fault_type: str = "application/json"
    """The content type of refusals."""
    modernise: Callable[[Request], None] | None = None
    """Turns an old URL of the service into today's, before routes are looked up."""


@dataclass(frozen=True, slots=True)
class Match:
    routes: tuple[Route, ...]
    """All routes of this method and path; they differ by action or microversion."""
    params: dict[str, str]


class RouteTable:
    """Finds routes by method and path: a dictionary for fixed paths, patterns by number of segments for the rest."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._fixed: dict[str, dict[str, list[Route]]] = {}
        self._patterns: dict[int, dict[str, tuple[Pattern[str], dict[str, list[Route]]]]] = {}
        self._open_ended: dict[str, tuple[Pattern[str], dict[str, list[Route]]]] = {}
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        if "{" not in route.path:
            self._fixed.setdefault(route.path, {}).setdefault(route.method, []).append(route)
            return
        if ":path}" in route.path:
            group = self._open_ended
        else:
            group = self._patterns.setdefault(route.path.count("/"), {})
        pattern = compile_path(route.path)[0]
        group.setdefault(route.path, (pattern, {}))[1].setdefault(route.method, []).append(route)

    def match(self, method: str, path: str) -> Match | set[str]:
        """The routes, or the set of methods that the path does allow (empty: no such path)."""
        allowed: set[str] = set()
        fixed = self._fixed.get(path)
        if fixed is not None:
            found = _by_method(fixed, method)
            if found:
                return Match(tuple(found), {})
            allowed |= fixed.keys()
        groups = (self._patterns.get(path.count("/"), {}), self._open_ended)
        for group in groups:
            for pattern, methods in group.values():
                hit = pattern.match(path)
                if hit is None:
                    continue
                found = _by_method(methods, method)
                if found:
                    return Match(tuple(found), hit.groupdict())
                allowed |= methods.keys()
        return allowed


def _by_method(methods: dict[str, list[Route]], method: str) -> list[Route] | None:
    if method == "HEAD" and "HEAD" not in methods:
        method = "GET"
    return methods.get(method)
