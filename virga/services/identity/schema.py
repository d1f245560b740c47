"""Checks bodies against JSON schemas and says what is wrong in the words of the Identity API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virga.api import schema as api_schema
from virga.api.schema import Schema
from virga.services.identity.faults import SchemaValidationError


class Checker:
    """One schema. ``verbose`` is the old style: path and the failing part of the schema."""

    def __init__(self, schema: Schema, verbose: bool = False) -> None:
        self.verbose = verbose
        self._checker = api_schema.Checker(schema)

    def check(self, value: Any) -> None:
        """Raise SchemaValidationError unless the value fits."""
        wrong = self._checker.mismatch(value)
        if wrong is None:
            return
        if self.verbose:
            path = "/".join(map(str, wrong.path))
            raise SchemaValidationError(
                f"Invalid input for field '{path}': {wrong.text}" if path else wrong.text
            )
        if wrong.path:
            raise SchemaValidationError(
                f"Invalid input for field/attribute {wrong.path[-1]}. Value: {wrong.value}. {wrong.message}"
            )
        raise SchemaValidationError(wrong.message)


def nullable(schema: Schema) -> dict[str, Any]:
    """The same schema, or null."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    clone = {**schema, "type": [*kinds, "null"]}
    if "enum" in clone and None not in clone["enum"]:
        clone["enum"] = [*clone["enum"], None]
    return clone


BOOLEAN: Schema = {"type": "boolean", "enum": [True, False]}
FLEXIBLE_BOOLEAN: Schema = {
    "type": ["boolean", "string", "null"],
    "enum": [
        True,
        "True",
        "TRUE",
        "true",
        False,
        "False",
        "FALSE",
        "false",
        "",
        "1",
        "0",
        "y",
        "Y",
        "n",
        "N",
        "on",
        "ON",
        "off",
        "OFF",
        "yes",
        "no",
    ],
}
OPTIONS: Schema = {
    "type": "object",
    "properties": {"immutable": {"type": ["boolean", "null"]}},
    "additionalProperties": False,
}
SHORT_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"[\S]+"}
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
