"""``column IN (a list given at run time)`` as one parameter, however long the list is.

SQLAlchemy's own expanding IN writes one placeholder an element, which for a list of a thousand
costs more than the query itself.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Boolean, Text, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


class TextList(TypeDecorator[Any]):
    """A list of texts: an array in PostgreSQL, JSON in SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(ARRAY(Text()) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if dialect.name == "postgresql":
            return list(value)
        return msgspec.json.encode(list(value)).decode()


class _Within(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        """As it is: SQLAlchemy would compare it with 1, and SQLite then looks at every row instead of its index."""
        return self


@compiles(_Within)
def _any(element: Any, compiler: Any, **options: Any) -> str:
    column, values = element.clauses
    return f"{compiler.process(column, **options)} = ANY({compiler.process(values, **options)})"


@compiles(_Within, "sqlite")
def _json_each(element: Any, compiler: Any, **options: Any) -> str:
    column, values = element.clauses
    return f"{compiler.process(column, **options)} IN (SELECT value FROM json_each({compiler.process(values, **options)}))"


def within(column: ColumnElement[Any], name: str = "ids") -> ColumnElement[bool]:
    """True where ``column`` (of texts) is in the list that is the parameter ``name``."""
    return _Within(column, bindparam(name, type_=TextList()))
