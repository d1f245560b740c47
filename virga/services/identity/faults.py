"""What clients of the Identity service are told, in its words.

Fault
 |- ValidationError, SchemaValidationError, PasswordRefused, ExpectingToFind (400)
 |- Unauthorized, AccountLocked, PasswordExpired (401)
 |- ForbiddenAction (403)
 |- ResourceNotFound, TokenNotFound (404)
 |- ResourceConflict (409)
"""

from __future__ import annotations

from virga.api.faults import BadRequest, Conflict, Fault, Forbidden, NotFound, Unauthorized

UNAUTHENTICATED = "The request you have made requires authentication."


class ValidationError(BadRequest):
    """Something is missing or malformed."""


class SchemaValidationError(BadRequest):
    """The body does not fit the schema of the resource."""


class PasswordRefused(BadRequest):
    """The new password breaks a rule of the cloud."""


class ForbiddenAction(Forbidden):
    """Allowed to nobody, or to nobody in this situation."""

    def __init__(self, action: str) -> None:
        super().__init__(f"You are not authorized to perform the requested action: {action}.")


class ResourceNotFound(NotFound):
    """``Could not find user: 6d5….``"""

    def __init__(self, kind: str, target: str) -> None:
        super().__init__(f"Could not find {kind}: {target}.")


class TokenNotFound(NotFound):
    """The token is unknown, expired, revoked, or speaks for somebody who is gone."""

    def __init__(self) -> None:
        super().__init__("Failed to validate token")


class ResourceConflict(Conflict):
    """Two things cannot have this name, or the state of things forbids it."""

    def __init__(self, kind: str, details: str) -> None:
        super().__init__(f"Conflict occurred attempting to store {kind} - {details}.")


def unauthenticated() -> Fault:
    """The one sentence for every failed login: it does not say which part was wrong."""
    return Unauthorized(UNAUTHENTICATED)


def expecting(attribute: str, target: str) -> Fault:
    """A part of the body is missing."""
    return ValidationError(
        f"Expecting to find {attribute} in {target}. The server could not comply with the request since it is "
        "either malformed or otherwise incorrect. The client is assumed to be in error."
    )
