"""JSON schemas of request bodies: the shared words, and the check that refuses in Cinder's sentences."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from virga.api.request import Request
from virga.api.secrecy import told
from virga.lib.clock import parse_iso
from virga.lib.ids import is_uuid_like
from virga.services.block_storage.faults import Invalid

Schema = dict[str, Any]

TRUE = (True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes", "y", "Y", "t", "T", 1)
FALSE = (False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no", "n", "N", "f", "F", 0)
BOOLEAN: Schema = {"type": ["boolean", "string", "integer"], "enum": [*TRUE, *FALSE]}
TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": ["string", "null"], "minLength": 0, "maxLength": 255}
REAL_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255}
DESCRIPTION: Schema = {"type": ["string", "null"], "minLength": 0, "maxLength": 255}
UUID: Schema = {"type": "string", "format": "uuid"}
UUID_OR_NULL: Schema = {
    "oneOf": [{"type": "string", "format": "uuid"}, {"type": "null"}],
}
SIZE: Schema = {"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1, "maximum": 0x7FFFFFFF}
SIZE_OR_NULL: Schema = SIZE | {"type": ["integer", "string", "null"]}
HOST: Schema = {
    "type": ["string", "null"],
    "minLength": 1,
    "maxLength": 255,
    "pattern": r"^[a-zA-Z0-9-._#@:/+]*$",
}
METADATA: Schema = {
    "type": "object",
    "patternProperties": {"^[a-zA-Z0-9-_:. ]{1,255}$": {"type": "string", "maxLength": 255}},
    "additionalProperties": False,
}
METADATA_OR_NULL: Schema = METADATA | {"type": ["object", "null"]}
SPECS: Schema = {
    "type": "object",
    "patternProperties": {r"^[a-zA-Z0-9-_:. ]{1,255}$": {"type": ["string", "null"], "maxLength": 255}},
    "additionalProperties": False,
}
ANYTHING: Schema = {}
QUOTA: Schema = {"type": ["integer", "string"], "pattern": "^-?[0-9]+$", "minimum": -1, "maximum": 0x7FFFFFFF}


def obj(properties: Schema, required: Iterable[str] = (), extra: bool = False) -> Schema:
    """An object with these properties and, unless ``extra``, no others."""
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": extra}
    if names := list(required):
        found["required"] = names
    return found


def wrapped(name: str, inner: Schema, extra: bool = False) -> Schema:
    """``{name: inner}``."""
    return obj({name: inner}, [name], extra)


class Body:
    """One schema, compiled at first use."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._validator: Any = None

    def check(self, req: Request) -> dict[str, Any]:
        """The body. Raises Invalid in the words of Cinder."""
        body = req.body
        if not isinstance(body, dict):
            raise Invalid(
                f"Invalid input for field/attribute body. Value: {body}. None is not of type 'object'"
                if body is None
                else "Malformed request body"
            )
        if self._validator is None:
            self._validator = _validator_class()(self.schema, format_checker=_formats())
        error = next(self._validator.iter_errors(body), None)
        if error is None:
            return body
        value, message = told(error.message, error.instance, error.path)
        if error.path:
            field = list(error.path)[-1]
            raise Invalid(f"Invalid input for field/attribute {field}. Value: {value}. {message}")
        raise Invalid(message)


def truth(value: Any) -> bool:
    """A checked BOOLEAN as bool."""
    return value is True or str(value).lower() in {"true", "1", "on", "yes", "y", "t"}


def query_truth(name: str, text: str) -> bool:
    """A boolean of the query. Raises Invalid."""
    lowered = text.strip().lower()
    if lowered in {"true", "1", "on", "yes", "y", "t"}:
        return True
    if lowered in {"false", "0", "off", "no", "n", "f", ""}:
        return False
    raise Invalid(f"Value '{text}' is not a valid boolean for {name}.")


@cache
def _formats() -> Any:
    from jsonschema import FormatChecker

    checker = FormatChecker(formats=())
    checker.checks("uuid")(lambda value: not isinstance(value, str) or is_uuid_like(value))
    checker.checks("date-time")(_is_time)
    return checker


def _is_time(value: object) -> bool:
    try:
        return not isinstance(value, str) or parse_iso(value) is not None
    except ValueError:
        return False


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _bound(original: Any) -> Any:
    """Cinder lets numbers come as text, and bounds them all the same."""

    def check(validator: Any, bound: Any, instance: Any, schema: Any) -> Iterable[Any]:
        number = _number(instance)
        return () if number is None else (original(validator, bound, number, schema) or ())

    return check


@cache
def _validator_class() -> Any:
    import jsonschema

    base = jsonschema.Draft202012Validator
    bounds = {name: _bound(base.VALIDATORS[name]) for name in ("minimum", "maximum")}
    return jsonschema.validators.extend(base, bounds)
