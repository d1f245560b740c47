"""Bodies of ``/v1`` as typed structs."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from virga.api.faults import BadRequest
from virga.api.request import Request

T = TypeVar("T")


def decoded(req: Request, kind: type[T]) -> T:
    """The body as a struct; a wrong one is refused with its field named."""
    try:
        return msgspec.convert(req.body if req.body is not None else {}, kind)
    except msgspec.ValidationError as error:
        raise BadRequest(f"Invalid request body: {error}.") from None
