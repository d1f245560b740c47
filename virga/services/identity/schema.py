"""Checks bodies against JSON schemas and says what is wrong in the words of the Identity API.

The library is only loaded when the first body has to be checked, so that it costs no start-up time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from virga.lib.clock import parse_iso
from virga.lib.ids import is_uuid_like
from virga.services.identity.faults import SchemaValidationError

Schema = Mapping[str, Any]


class Checker:
    """One schema, compiled at first use. ``verbose`` keeps the old style: path and the failing part of the schema."""

    def __init__(self, schema: Schema, verbose: bool = False) -> None:
        self.schema = schema
        self.verbose = verbose
        self._validator: Any = None

    def check(self, instance: Any) -> None:
        """Raise SchemaValidationError unless the instance fits."""
        if self._validator is None:
            self._validator = _library().Draft202012Validator(self.schema, format_checker=_formats())
        error = _library().exceptions.best_match(self._validator.iter_errors(instance))
        if error is None:
            return
        if self.verbose:
            path = "/".join(map(str, error.path))
            raise SchemaValidationError(f"Invalid input for field '{path}': {error}" if path else str(error))
        if error.path:
            raise SchemaValidationError(
                f"Invalid input for field/attribute {error.path[-1]}. Value: {error.instance}. {error.message}"
            )
        raise SchemaValidationError(error.message)


@cache
def _library() -> Any:
    import jsonschema

    return jsonschema


@cache
def _formats() -> Any:
    def date_time(value: object) -> bool:
        if not isinstance(value, str):
            return True
        try:
            parse_iso(value)
        except ValueError:
            return False
        return True

    def uuid(value: object) -> bool:
        return not isinstance(value, str) or is_uuid_like(value)

    checker = _library().FormatChecker(formats=())
    checker.checks("date-time")(date_time)
    checker.checks("uuid")(uuid)
    return checker


def nullable(schema: Schema) -> dict[str, Any]:
    """The same schema, or null."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    clone = {**schema, "type": [*kinds, "null"]}
    if "enum" in clone and None not in clone["enum"]:
        clone["enum"] = [*clone["enum"], None]
    return clone


BOOLEAN: Schema = {"type": "boolean", "enum": [True, False]}
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"[\S]+"}
ID: Schema = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[a-zA-Z0-9-]+$"}
EXTERNAL_ID: Schema = {"type": "string", "minLength": 1, "maxLength": 64}
DESCRIPTION: Schema = {"type": "string"}
URL: Schema = {"type": "string", "minLength": 0, "maxLength": 225, "pattern": "^[a-zA-Z0-9+.-]+:.+"}


def wrapped(key: str, properties: Mapping[str, Any], required: tuple[str, ...] = (), **rules: Any) -> Schema:
    """The schema of ``{key: {properties}}``."""
    inner: dict[str, Any] = {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": True,
        **rules,
    }
    if required:
        inner["required"] = list(required)
    return {"type": "object", "properties": {key: inner}, "required": [key], "additionalProperties": False}
