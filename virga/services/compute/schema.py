"""JSON schemas of request bodies and queries: the shared words, and the check that refuses in Nova's sentences.

A resource declares its schemas by the microversion from which they hold: ``Versioned((V21, first), ((2, 19), next))``.
"""

from __future__ import annotations

import base64
import binascii
import copy
import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Any

import jsonschema
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from virga.api.request import Request
from virga.api.secrecy import told
from virga.lib.clock import parse_iso
from virga.lib.ids import is_uuid_like
from virga.services.compute.faults import Invalid

Schema = dict[str, Any]
Version = tuple[int, int]
V21: Version = (2, 1)

# --- words ---------------------------------------------------------------------------------------------

UUID: Schema = {"type": "string", "format": "uuid"}
TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "format": "name", "minLength": 1, "maxLength": 255}
LOOSE_NAME: Schema = {
    "type": "string",
    "format": "name_with_leading_trailing_spaces",
    "minLength": 1,
    "maxLength": 255,
}
AZ_NAME: Schema = {"type": "string", "format": "az_name", "minLength": 1, "maxLength": 255}
NAME_OR_NONE: Schema = {"oneOf": [{"type": "string", "minLength": 1, "maxLength": 255}, {"type": "null"}]}
BOOLEAN: Schema = {
    "type": ["boolean", "string"],
    "enum": [
        *(True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes"),
        *(False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no"),
    ],
}
POSITIVE: Schema = {"type": ["integer", "string"], "pattern": "^[0-9]*$", "minimum": 1, "minLength": 1}
NON_NEGATIVE: Schema = {"type": ["integer", "string"], "pattern": "^[0-9]*$", "minimum": 0, "minLength": 1}
SIZE: Schema = {"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1, "maximum": 0x7FFFFFFF}
SIZE_OR_ZERO: Schema = SIZE | {"minimum": 0}
DESCRIPTION: Schema = {"type": ["string", "null"], "format": "printable", "minLength": 0, "maxLength": 255}
METADATA: Schema = {
    "type": "object",
    "patternProperties": {"^[a-zA-Z0-9-_:. ]{1,255}$": {"type": "string", "maxLength": 255}},
    "additionalProperties": False,
}
METADATA_OR_NULL: Schema = {
    "type": "object",
    "patternProperties": {"^[a-zA-Z0-9-_:. ]{1,255}$": {"type": ["string", "null"], "maxLength": 255}},
    "additionalProperties": False,
}
IP: Schema = {"type": "string", "oneOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
IPV4: Schema = {"type": "string", "format": "ipv4"}
IPV6: Schema = {"type": "string", "format": "ipv6"}
HOSTNAME: Schema = {
    "type": "string",
    "pattern": "^[a-zA-Z0-9]+[a-zA-Z0-9-]*[a-zA-Z0-9]+$",
    "minLength": 2,
    "maxLength": 63,
}
FQDN: Schema = {"type": "string", "pattern": "^[a-zA-Z0-9-._]*$", "minLength": 1, "maxLength": 255}
PROJECT_ID: Schema = {"type": "string", "pattern": "^[a-zA-Z0-9-]*$", "minLength": 1, "maxLength": 255}
DISK_CONFIG: Schema = {"type": "string", "enum": ["AUTO", "MANUAL"]}
TAG: Schema = {"type": "string", "pattern": "^[^,/]*$", "minLength": 1, "maxLength": 60}
DEVICE_TAG: Schema = TAG
FLAVOR_REF: Schema = {"type": ["string", "integer"], "minLength": 1}
CERTIFICATES: Schema = {
    "type": ["array", "null"],
    "minItems": 1,
    "maxItems": 50,
    "uniqueItems": True,
    "items": {"type": "string", "minLength": 1},
}
BASE64: Schema = {"type": "string", "format": "base64"}
PERSONALITY: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"path": TEXT, "contents": BASE64},
        "additionalProperties": False,
    },
}
ANYTHING: Schema = {}
NULL: Schema = {"type": "null"}


def obj(properties: Schema, required: Iterable[str] = (), extra: bool = False, **more: Any) -> Schema:
    """An object with these properties and, unless ``extra``, no others."""
    found: Schema = {"type": "object", "properties": properties}
    if names := list(required):
        found["required"] = names
    return found | {"additionalProperties": extra} | more


def wrapped(name: str, inner: Schema) -> Schema:
    """``{name: inner}`` and nothing else."""
    return obj({name: inner}, [name])


def several(item: Schema) -> Schema:
    """A query parameter that may be given more than once."""
    return {"type": "array", "items": item}


def single(item: Schema) -> Schema:
    """A query parameter that may be given once."""
    return {"type": "array", "items": item, "maxItems": 1}


ANY_QUERY: Schema = several(TEXT)
REGEX_QUERY: Schema = several({"type": "string", "format": "regex"})
PAGING: Schema = {"limit": several(NON_NEGATIVE), "marker": several(TEXT)}
SINGLE_PAGING: Schema = {"limit": single(NON_NEGATIVE), "marker": single(TEXT)}


def changed(schema: Schema, path: str, **properties: Any) -> Schema:
    """A copy with more (or, where the value is None, fewer) properties at the dotted ``path`` of objects."""
    result = copy.deepcopy(schema)
    at = result
    for step in filter(None, path.split(".")):
        at = at["items"] if step == "[]" else at["properties"][step]
    for name, value in properties.items():
        if value is None:
            at["properties"].pop(name, None)
        else:
            at["properties"][name] = value
    return result


class Versioned:
    """Schemas by the microversion from which they hold."""

    def __init__(self, *steps: tuple[Version, Schema | None]) -> None:
        self.steps = steps
        self._compiled: dict[int, Any] = {}

    def at(self, version: Version) -> Any:
        """The compiled schema for a microversion, or None when there is none."""
        index = max((i for i, (start, _) in enumerate(self.steps) if start <= version), default=0)
        if index not in self._compiled:
            schema = self.steps[index][1]
            self._compiled[index] = (
                None if schema is None else _validator_class()(schema, format_checker=FORMATS)
            )
        return self._compiled[index]

    def schema(self, version: Version) -> Schema:
        index = max((i for i, (start, _) in enumerate(self.steps) if start <= version), default=0)
        return self.steps[index][1] or {}


def always(schema: Schema) -> Versioned:
    """One schema for all microversions."""
    return Versioned((V21, schema))


# --- checks --------------------------------------------------------------------------------------------


def check_body(req: Request, schemas: Versioned) -> dict[str, Any]:
    """The body, checked; raises Invalid in the words of Nova."""
    if req.body is None or not isinstance(req.body, dict):
        raise Invalid(
            "The server could not comply with the request since it is either malformed or otherwise incorrect."
        )
    validator = schemas.at(req.microversion)
    if validator is not None:
        _refuse(validator, req.body, "field/attribute", -1)
    return req.body


def check_query(req: Request, schemas: Versioned) -> dict[str, list[str]]:
    """The query as lists of values, checked. Unknown parameters are dropped where the schema lets them pass."""
    values: dict[str, list[str]] = {}
    for name, value in req.query:
        values.setdefault(name, []).append(value)
    validator = schemas.at(req.microversion)
    if validator is None:
        return values
    _refuse(validator, values, "query parameters", 0)
    schema = schemas.schema(req.microversion)
    patterns = [re.compile(p) for p in schema.get("patternProperties", {})]
    return {
        k: v for k, v in values.items() if k in schema["properties"] or any(p.search(k) for p in patterns)
    }


def _refuse(validator: Any, instance: Any, kind: str, at: int) -> None:
    try:
        error = next(validator.iter_errors(instance), None)
    except TypeError as problem:
        raise Invalid(str(problem)) from None
    if error is None:
        return
    if isinstance(error.cause, _BadName):
        raise Invalid(str(error.cause))
    value, message = told(error.message, error.instance, error.path)
    if error.path:
        raise Invalid(f"Invalid input for {kind} {error.path[at]}. Value: {value}. {message}")
    raise Invalid(message)


# --- formats -------------------------------------------------------------------------------------------


class _BadName(Exception):
    """A name that a format refused with a sentence of its own."""


FORMATS = FormatChecker(formats=())


def _printable(text: str) -> bool:
    return all(
        not (category := unicodedata.category(char)).startswith("C")
        and (category == "Zs" or category[0] != "Z")
        for char in text
    )


def _name(value: object, forbidden: str, spaces: bool) -> bool:
    if not isinstance(value, str):
        return False
    if not value:
        return not spaces
    if not _printable(value) or any(char in forbidden for char in value):
        return False
    if spaces:
        return any(unicodedata.category(char) != "Zs" for char in value)
    return not (_blank(value[0]) or _blank(value[-1]))


def _blank(char: str) -> bool:
    return unicodedata.category(char) == "Zs"


_NAMES = {
    "name": ("", False, "printable characters. Can not start or end with whitespace."),
    "name_with_leading_trailing_spaces": (
        "",
        True,
        "printable characters with at least one non space character",
    ),
    "az_name": (":", False, "printable characters except :.Can not start or end with whitespace."),
}


def _check_name(kind: str, value: object) -> bool:
    forbidden, spaces, reason = _NAMES[kind]
    if _name(value, forbidden, spaces):
        return True
    raise _BadName(f"An invalid 'name' value was provided. The name must be: {reason}")


def _add_formats() -> None:
    for kind in _NAMES:
        FORMATS.checks(kind, _BadName)(lambda value, kind=kind: _check_name(kind, value))
    for kind, test in {
        "uuid": is_uuid_like,
        "printable": _printable,
        "regex": _is_regex,
        "date-time": _is_time,
        "base64": _is_base64,
        "cidr": _is_cidr,
        "ipv4": lambda text: _is_address(text, 4),
        "ipv6": lambda text: _is_address(text, 6),
    }.items():
        FORMATS.checks(kind)(lambda value, test=test: not isinstance(value, str) or test(value))


def _is_regex(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return bool(text)


def _is_time(text: str) -> bool:
    try:
        parse_iso(text)
    except ValueError:
        return False
    return True


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text.encode())
    except (binascii.Error, ValueError):
        return False
    return True


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text and not re.search(r"\s", text)


def _is_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


_add_formats()


def _number(value: Any) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(value)
        except (TypeError, ValueError):
            continue
    return None


def _bound(name: str) -> Any:
    """Nova lets numbers come as text, and bounds them all the same."""
    original = Draft202012Validator.VALIDATORS[name]

    def check(validator: Any, bound: Any, instance: Any, schema: Any) -> Iterable[ValidationError]:
        number = _number(instance)
        return () if number is None else (original(validator, bound, number, schema) or ())

    return check


@cache
def _validator_class() -> Any:
    return jsonschema.validators.extend(
        Draft202012Validator, {"minimum": _bound("minimum"), "maximum": _bound("maximum")}
    )


def truth(value: Any) -> bool:
    """A checked BOOLEAN as bool."""
    return value is True or str(value).lower() in {"true", "1", "on", "yes", "t", "y"}
