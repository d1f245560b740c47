"""The shape of ``{"auth": …}`` in a request for a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virga.services.identity.faults import SchemaValidationError
from virga.services.identity.schema import BOOLEAN, Checker

_TEXT = {"type": "string"}
_NAMED = {"type": "object", "properties": {"id": _TEXT, "name": _TEXT}}
_USER = {"type": "object", "properties": {"id": _TEXT, "name": _TEXT, "password": _TEXT, "domain": _NAMED}}
_PROJECT = {"type": "object", "properties": {"name": _TEXT, "id": _TEXT, "domain": _NAMED}}

AUTH = Checker(
    {
        "type": "object",
        "properties": {
            "identity": {
                "type": "object",
                "properties": {
                    "methods": {"type": "array", "items": _TEXT},
                    "password": {"type": "object", "properties": {"user": _USER}},
                    "token": {"type": "object", "properties": {"id": _TEXT}, "required": ["id"]},
                },
                "required": ["methods"],
            },
            "scope": {
                "type": ["object", "string"],
                "properties": {
                    "project": _PROJECT,
                    "domain": _NAMED,
                    "OS-TRUST:trust": {"type": "object", "properties": {"id": _TEXT}},
                    "system": {"type": "object", "properties": {"all": BOOLEAN}},
                },
            },
        },
        "required": ["identity"],
    },
    verbose=True,
)


def check_auth(auth: Any) -> None:
    """Raise SchemaValidationError unless a token can be asked for like this."""
    AUTH.check(auth)
    user = auth["identity"].get("password", {}).get("user")
    if user is not None:
        _named(user, "identity/password/user")
        _named(user.get("domain"), "identity/password/user/domain")
    scope = auth.get("scope")
    if isinstance(scope, Mapping):
        _named(scope.get("project"), "scope/project")
        _named((scope.get("project") or {}).get("domain"), "scope/project/domain")
        _named(scope.get("domain"), "scope/domain")


def _named(part: Any, path: str) -> None:
    if part is not None and "id" not in part and "name" not in part:
        raise SchemaValidationError(f"Invalid input for field {path}: id or name must be present.")
