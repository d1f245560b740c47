"""Checks of request bodies by JSON schema, refused in Placement's sentence; and the parts that bodies share."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft4Validator, FormatChecker

from virga.api.request import Request
from virga.lib.ids import is_uuid_like
from virga.services.placement.faults import PlacementFault, bad

Schema = dict[str, Any]

UUID: Schema = {"type": "string", "format": "uuid"}
CLASS = "^[A-Z0-9_]+$"
GENERATION: Schema = {"type": "integer"}
FORMATS = FormatChecker(formats=())
FORMATS.checks("uuid")(is_uuid_like)


def obj(properties: Schema, required: tuple[str, ...] = (), **more: Any) -> Schema:
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": list(required)} if required else {}) | more


def keyed(pattern: str, item: Schema, least: int = 0) -> Schema:
    """An object whose keys match a pattern."""
    return {"type": "object", "patternProperties": {pattern: item}, "additionalProperties": False} | (
        {"minProperties": least} if least else {}
    )


def check(req: Request, schema: Schema) -> Any:
    """The body, checked."""
    if not req.raw_body:
        raise bad("Malformed JSON: Expecting value: line 1 column 1 (char 0)")
    if req.headers.get("content-type", "application/json").partition(";")[0].strip() != "application/json":
        raise PlacementFault(
            f"The media type {req.headers['content-type']} is not supported, use application/json", status=415
        )
    error = next(Draft4Validator(schema, format_checker=FORMATS).iter_errors(req.body), None)
    if error is not None:
        raise bad(f"JSON does not validate: {error}")
    return req.body
