"""The one MetaData all tables hang on, and the column types that SQLite and PostgreSQL share."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import BigInteger, MetaData, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Timestamp = BigInteger
"""Microseconds since the epoch, UTC (see virga.lib.clock)."""


_decode = msgspec.json.Decoder().decode


def _decoded(value: str | None) -> Any:
    # Most are empty, and a list has thousands of them.
    if value == "{}":
        return {}
    if value == "[]":
        return []
    return None if value is None else _decode(value)


class Json(TypeDecorator[Any]):
    """Any JSON value, kept as text so that both databases store the very same bytes."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else _decode(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        # Lists decode thousands of these: one call each, not the decorator's three.
        return _decoded
