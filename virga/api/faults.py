"""Errors that clients see, and the one place where they become HTTP.

Each service's ``faults.py`` subclasses Fault with OpenStack's type name and sentence; the
envelopes below are the shapes in which the services wrap them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

REASONS = {
    300: "Multiple Choices",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Requested Range Not Satisfiable",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


class Fault(Exception):
    """A refusal: ``status``, OpenStack's ``type`` name, and a sentence that names field and value."""

    status = 500
    type = ""

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        type: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status = status
        self.type = type or self.type or self.__class__.__name__
        self.headers = headers or {}


class BadRequest(Fault):
    status = 400


class Unauthorized(Fault):
    status = 401


class Forbidden(Fault):
    status = 403


class NotFound(Fault):
    status = 404


class MethodNotAllowed(Fault):
    status = 405


class NotAcceptable(Fault):
    status = 406


class Conflict(Fault):
    status = 409


class PreconditionFailed(Fault):
    status = 412


class RequestTooLarge(Fault):
    status = 413


class UnsupportedMediaType(Fault):
    status = 415


Envelope = Callable[[Fault, str], Any]
"""Takes the fault and the request id, gives the JSON body."""


def identity_envelope(fault: Fault, request_id: str) -> Any:
    """``{"error": {"code", "message", "title"}}``"""
    return {
        "error": {
            "code": fault.status,
            "message": fault.message,
            "title": REASONS.get(fault.status, "Error"),
        }
    }


def network_envelope(fault: Fault, request_id: str) -> Any:
    """``{"NeutronError": {"type", "message", "detail"}}``"""
    return {"NeutronError": {"type": fault.type, "message": fault.message, "detail": ""}}


COMPUTE_KEYS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    406: "notAcceptable",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}


def compute_envelope(fault: Fault, request_id: str) -> Any:
    """``{"itemNotFound": {"code", "message"}}``: Compute and Block Storage."""
    return {COMPUTE_KEYS.get(fault.status, "computeFault"): {"code": fault.status, "message": fault.message}}


def virga_envelope(fault: Fault, request_id: str) -> Any:
    """``{"error": {"code", "type", "message", "request_id"}}``: what is below ``/v1`` is no OpenStack's."""
    return {
        "error": {
            "code": fault.status,
            "type": fault.type,
            "message": fault.message,
            "request_id": request_id,
        }
    }


def image_envelope(fault: Fault, request_id: str) -> Any:
    """``{"message", "code": "404 Not Found", "title"}``"""
    reason = REASONS.get(fault.status, "Error")
    return {
        "message": f"{fault.message}<br /><br />\n\n\n",
        "code": f"{fault.status} {reason}",
        "title": reason,
    }


def placement_envelope(fault: Fault, request_id: str) -> Any:
    """``{"errors": [{"status", "title", "detail", "request_id"}]}``"""
    return {
        "errors": [
            {
                "status": fault.status,
                "title": REASONS.get(fault.status, "Error"),
                "detail": fault.message,
                "request_id": request_id,
            }
        ]
    }
