"""Statements that run again and again, straight on SQLite's driver.

SQLAlchemy looks up its compiled form, makes a context, a cursor and a result for each execution: five
times what the query itself costs. A statement object that is run a second time (one that a module
keeps) is therefore compiled once, and its text, bind and result processors are used from then on.
Rows are SQLAlchemy's own. Whatever this cannot do, and every error, is left to SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Delete, Executable, Insert, Select, Update
from sqlalchemy.engine import Dialect, Row
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Processor = Callable[[Any], Any] | None
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
_KINDS = (Select, Insert, Update, Delete)


class NotDirect(Exception):
    """The statement needs what only SQLAlchemy does (an expanding IN, RETURNING, a computed default)."""


class Direct:
    """One statement with one set of parameter names."""

    __slots__ = ("_binds", "_keys", "_metadata", "_results", "sql")

    def __init__(self, statement: Executable, dialect: Dialect, names: tuple[str, ...]) -> None:
        compiled = cast(Any, statement).compile(
            dialect=dialect, column_keys=names or None, for_executemany=True
        )
        if compiled.effective_returning or compiled.post_compile_params or compiled.literal_execute_params:
            raise NotDirect
        self.sql = str(compiled)
        given, fixed = set(names), _defaults(compiled)
        self._binds: list[tuple[str | None, Any, Processor]] = []
        for name in compiled.positiontup:
            bound = compiled.binds[name]
            process = _impl(bound.type, dialect).bind_processor(dialect)
            if name in given:
                self._binds.append((name, None, process))
            elif name in fixed or not bound.required:
                value = fixed.get(name, bound.effective_value)
                self._binds.append((None, process(value) if process else value, None))
            else:
                raise NotDirect
        columns = list(statement.selected_columns) if isinstance(statement, Select) else []
        processors = [_impl(c.type, dialect).result_processor(dialect, None) for c in columns]
        keys = list(statement.selected_columns.keys()) if isinstance(statement, Select) else []
        self._metadata = SimpleResultMetaData(keys)
        self._keys = self._metadata._key_to_index
        self._results = processors if any(processors) else None

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """What stands for the question marks, in their order."""
        return [
            fixed if name is None else process(parameters[name]) if process else parameters[name]
            for name, fixed, process in self._binds
        ]

    def row(self, data: tuple[Any, ...]) -> Row[Any]:
        """What the driver gave, as a row like all others."""
        return Row(self._metadata, self._results, self._keys, data)


def _impl(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return kind.dialect_impl(dialect)


def _defaults(compiled: SQLCompiler) -> dict[str, Any]:
    """Values that columns have by themselves."""
    found: dict[str, Any] = {}
    for column in (*compiled.insert_prefetch, *compiled.update_prefetch):
        default: Any = column.default
        if default is None or not default.is_scalar:
            raise NotDirect
        found[column.key] = default.arg
    return found


class Statements:
    """The statements of one database that have been run before."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._known: WeakKeyDictionary[Executable, dict[tuple[str, ...], Direct | None]] = WeakKeyDictionary()

    def direct(self, statement: Executable, parameters: Parameters) -> Direct | None:
        """How to run it directly; None the first time, and for what cannot be."""
        known = self._known.get(statement)
        if known is None:
            self._known[statement] = {}
            return None
        names = _names(parameters)
        if names in known:
            return known[names]
        try:
            supported = isinstance(statement, _KINDS)
            found = Direct(statement, self._dialect, names) if supported else None
        except NotDirect:
            found = None
        known[names] = found
        return found


def _names(parameters: Parameters) -> tuple[str, ...]:
    if not parameters:
        return ()
    return tuple(parameters) if isinstance(parameters, Mapping) else tuple(parameters[0])
