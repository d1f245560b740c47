"""JSON patches of images: the two dialects that the Image API speaks, read into changes.

v2.0 writes ``{"replace": "/name", "value": …}``, v2.1 ``{"op": "replace", "path": "/name", "value": …}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from virga.api.faults import BadRequest
from virga.services.image.attributes import READ_ONLY, RESERVED, RESERVED_PREFIX, check
from virga.services.image.faults import MEDIA_TYPE, ImageFault

OPERATIONS = ("add", "remove", "replace")
MEDIA_TYPES = {
    "application/openstack-images-v2.0-json-patch": 4,
    "application/openstack-images-v2.1-json-patch": 10,
}


@dataclass(frozen=True, slots=True)
class Change:
    """One operation on one attribute."""

    op: str
    name: str
    value: Any
    is_old_dialect: bool


def read(content_type: str, body: Any) -> list[Change]:
    """The changes that the body asks for; faults in the words of the Image API."""
    dialect = MEDIA_TYPES.get(content_type.partition(";")[0].strip().lower())
    if dialect is None:
        allowed = ", ".join(sorted(MEDIA_TYPES))
        raise ImageFault(
            415,
            MEDIA_TYPE,
            f"Image PATCH expects Content-Type one of: {allowed}",
            {"accept-patch": allowed},
        )
    if body is None:
        raise BadRequest("Body expected in request.")
    if not isinstance(body, list):
        raise BadRequest("Request body must be a JSON array of operation objects.")
    return [_change(raw, dialect == 4) for raw in body]


def _change(raw: Any, is_old: bool) -> Change:
    if not isinstance(raw, Mapping):
        raise BadRequest("Operations must be JSON objects.")
    op = _old_op(raw) if is_old else _new_op(raw)
    if not is_old and "path" not in raw:
        raise BadRequest("Unable to find 'path' in JSON Schema change")
    path = _pointer(raw[op] if is_old else raw["path"])
    depth = {"add": 2, "remove": 2, "replace": 1}[op] if path[0] == "locations" else 1
    if len(path) != depth:
        raise BadRequest(f"Invalid JSON pointer for this resource: '/{'/'.join(path)}'")
    value = None
    if op != "remove":
        if "value" not in raw:
            raise BadRequest(f'Operation "{op}" requires a member named "value".')
        value = raw["value"]
    _check(op, path, value)
    return Change(op, path[0], value, is_old)


def _new_op(raw: Mapping[str, Any]) -> str:
    op = raw.get("op")
    choice = ", ".join(OPERATIONS)
    if op is None:
        raise BadRequest(
            f"Unable to find `op` in JSON Schema change. It must be one of the following: {choice}."
        )
    if op not in OPERATIONS:
        raise BadRequest(f"Invalid operation: `{op}`. It must be one of the following: {choice}.")
    return str(op)


def _old_op(raw: Mapping[str, Any]) -> str:
    found = [op for op in OPERATIONS if op in raw]
    if len(found) > 1:
        raise BadRequest(
            'Operation objects must contain only one member named "add", "remove", or "replace".'
        )
    if not found:
        raise BadRequest(
            'Operation objects must contain exactly one member named "add", "remove", or "replace".'
        )
    return found[0]


def _pointer(pointer: Any) -> list[str]:
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise BadRequest(f'Pointer `{pointer}` does not start with "/".')
    if re.search(r"/\s*?/", pointer[1:]):
        raise BadRequest(f'Pointer `{pointer}` contains adjacent "/".')
    if len(pointer) > 1 and pointer.endswith("/"):
        raise BadRequest(f'Pointer `{pointer}` end with "/".')
    if re.search("~[^01]", pointer) or pointer.endswith("~"):
        raise BadRequest(f'Pointer `{pointer}` contains "~" not part of a recognized escape sequence.')
    parts = [part.replace("~1", "/").replace("~0", "~").strip() for part in pointer.lstrip("/").split("/")]
    if not parts[0]:
        raise BadRequest(f"Pointer `{pointer}` does not contains valid token.")
    return parts


def _check(op: str, path: list[str], value: Any) -> None:
    name = path[0]
    if name in READ_ONLY:
        raise ImageFault(403, f"Attribute '{name}' is read-only.")
    if name in RESERVED or name.startswith(RESERVED_PREFIX):
        raise ImageFault(403, f"Attribute '{name}' is reserved.")
    if len(name) > 255:
        raise BadRequest("Custom property should not be greater than 255 characters.")
    if op != "remove" and len(path) == 1:
        check({name: value})
