"""What clients of the Image service are told, in its words.

ImageFault: status, explanation, and for some a detail on a line of its own.
"""

from __future__ import annotations

from typing import Any

from virga.api.faults import REASONS, BadRequest, Fault, NotFound

RESOURCE_NOT_FOUND = "The resource could not be found."
MEDIA_TYPE = "The request media type is not supported by this server."
FORBIDDEN = "You are not authorized to complete this action."


class ImageFault(Fault):
    """Any refusal; ``detail`` comes after the explanation."""

    def __init__(
        self, status: int, message: str, detail: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message, status=status, headers=headers)
        self.detail = detail


class ImageNotFound(NotFound):
    """There is no such image, or the caller may not see it."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"No image found with ID {image_id}")


class SchemaMismatch(BadRequest):
    """The body does not fit the schema."""

    def __init__(self, schema: str, reason: str) -> None:
        super().__init__(f"Provided object does not match schema '{schema}': {reason}")


class WrongStatus(ImageFault):
    """The image is in a state that does not allow this."""

    def __init__(self, current: str, wanted: str, status: int = 409) -> None:
        super().__init__(status, f"Image status transition from {current} to {wanted} is not allowed")


def not_authorized(action: str) -> ImageFault:
    """A policy forbids it."""
    return ImageFault(403, f"You are not authorized to complete {action} action.")


def gone_from_view() -> ImageFault:
    """The caller may not even know of it."""
    return ImageFault(404, RESOURCE_NOT_FOUND)


def unsupported_content(detail: str) -> ImageFault:
    """The bytes are not what they should be."""
    return ImageFault(415, MEDIA_TYPE, detail)


def too_large(message: str) -> ImageFault:
    return ImageFault(413, message)


def image_envelope(fault: Fault, request_id: str) -> Any:
    """``{"message", "code": "404 Not Found", "title"}``"""
    reason = REASONS.get(fault.status, "Error")
    detail = getattr(fault, "detail", "")
    return {
        "message": f"{fault.message}<br /><br />\n{detail}\n\n",
        "code": f"{fault.status} {reason}",
        "title": reason,
    }
