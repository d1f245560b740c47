"""A request as handlers see it, and who sent it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from virga.api.access_rules import AccessRule

if TYPE_CHECKING:
    from virga.api.policy import Policy


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a token speaks for, and in which scope. At most one of the scopes is set."""

    user_id: str = ""
    user_name: str = ""
    user_domain_id: str = ""
    user_domain_name: str = ""
    project_id: str | None = None
    project_name: str | None = None
    project_domain_id: str | None = None
    project_domain_name: str | None = None
    domain_id: str | None = None
    domain_name: str | None = None
    system_scope: str | None = None
    roles: frozenset[str] = frozenset()
    """Names in lower case, implied roles included."""
    role_ids: tuple[str, ...] = ()
    token: str = ""
    audit_ids: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    trust_id: str | None = None
    application_credential_id: str | None = None
    access_rules: tuple[AccessRule, ...] | None = None
    """Requests that the token is good for; None for all."""
    expires_at: int = 0

    @property
    def is_admin(self) -> bool:
        """Holds the role admin, in whatever scope."""
        return "admin" in self.roles

    def attribute(self, name: str) -> Any:
        """A caller attribute by the name that policy rules use, or None."""
        if name == "tenant_id":
            name = "project_id"
        if name == "tenant":
            name = "project_id"
        return str(self.is_admin) if name == "is_admin" else getattr(self, name, None)


@dataclass(slots=True)
class Request:
    """One HTTP request, decoded. ``path`` is without the service's prefix."""

    method: str
    path: str
    path_params: dict[str, str]
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any
    """Decoded JSON; None without a body; unread for streaming routes."""
    raw_body: bytes
    caller: Caller
    policy: Policy
    request_id: str
    base_url: str
    """``http://127.0.0.1:5050/network``: what links start with."""
    microversion: tuple[int, int] = (0, 0)
    remote_address: str = ""
    stream: AsyncIterator[bytes] | None = None
    response_headers: dict[str, str] = field(default_factory=dict)
    """Headers a handler adds to whatever it returns."""
    old_root: tuple[str, str] | None = None
    """The root of today's URLs and what the client wrote in its place: ``("/v2.1", "/v2.1/PROJECT")``."""
    url_project: str | None = None
    """The project that an old URL names; it must be the caller's."""
    versioned: bool = True
    """False under a URL that is older than microversions."""

    def __getitem__(self, name: str) -> str:
        """A path parameter."""
        return self.path_params[name]

    def param(self, name: str, default: str | None = None) -> str | None:
        """The last value of a query parameter, or ``default``."""
        for key, value in reversed(self.query):
            if key == name:
                return value
        return default

    def params(self, name: str) -> list[str]:
        """All values of a query parameter."""
        return [value for key, value in self.query if key == name]

    def url(self, path: str) -> str:
        """An absolute link within this service, by the root that the client itself used."""
        if self.old_root is not None and path.startswith(self.old_root[0] + "/"):
            path = self.old_root[1] + path.removeprefix(self.old_root[0])
        return self.base_url + path

    def enforce(self, name: str, target: Mapping[str, Any] | None = None) -> None:
        """Raise Forbidden unless the policy lets the caller do ``name``; the default target is the caller's own."""
        self.policy.enforce(self.caller, name, self.own_target() if target is None else target)

    def allows(self, name: str, target: Mapping[str, Any] | None = None) -> bool:
        """Like ``enforce``, as a question."""
        return self.policy.allows(self.caller, name, self.own_target() if target is None else target)

    def own_target(self) -> dict[str, Any]:
        """A policy target that belongs to the caller."""
        caller = self.caller
        return {
            "project_id": caller.project_id,
            "tenant_id": caller.project_id,
            "user_id": caller.user_id,
            "domain_id": caller.domain_id,
            **self.path_params,
        }


@dataclass(slots=True)
class Response:
    """What a handler may return instead of a bare body."""

    status: int = 200
    body: Any = None
    """JSON-able, or bytes that go out as they are; None for no body."""
    headers: dict[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None
