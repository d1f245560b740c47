"""JSON schemas: compiled at first use, so that the library costs nothing at the start.

What the message to the client looks like is each service's own business; this only finds the error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from virga.api.secrecy import told
from virga.lib.clock import parse_iso
from virga.lib.ids import is_uuid_like

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The most telling difference between a value and its schema."""

    path: tuple[Any, ...]
    """Keys and indices down to the value that does not fit."""
    value: Any
    message: str
    """``'x' is not of type 'integer'``"""
    text: str
    """The message with the failing part of the schema and the value, as services of an older style show it."""


class Checker:
    """One schema (JSON Schema 2020-12)."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._validator: Any = None

    def mismatch(self, value: Any) -> Mismatch | None:
        """What is wrong with the value; None when it fits."""
        library = _library()
        if self._validator is None:
            self._validator = library.Draft202012Validator(self.schema, format_checker=_formats())
        error = library.exceptions.best_match(self._validator.iter_errors(value))
        if error is None:
            return None
        path = tuple(error.path)
        value, message = told(error.message, error.instance, path)
        # The long text quotes schema and value; where a secret is among them, the short one has to do.
        text = str(error) if value is error.instance else message
        return Mismatch(path, value, message, text)


@cache
def _library() -> Any:
    import jsonschema

    return jsonschema


def _is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    try:
        parse_iso(value)
    except ValueError:
        return False
    return True


def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or is_uuid_like(value)


@cache
def _formats() -> Any:
    checker = _library().FormatChecker(formats=())
    checker.checks("date-time")(_is_date_time)
    checker.checks("uuid")(_is_uuid)
    return checker
