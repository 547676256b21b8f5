"""Statements made once: for those that run for every message, building and compiling cost many times what running does."""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, UpdateBase, update
from sqlalchemy.dialects.sqlite.pysqlite import dialect
from sqlalchemy.exc import DBAPIError

_DIALECT = dialect()


class Prepared:
    """A statement of SQLAlchemy's, compiled once and handed to the driver as it is: values and rows are the driver's own types.

    Every ``run`` raises what SQLAlchemy would: DBAPIError and its kinds.
    """

    def __init__(self, statement: Select[Any] | UpdateBase, columns: Sequence[str] | None = None) -> None:
        """Compile it; ``columns`` are those that an insert or update sets to values given later, all if it is None."""
        compiled = statement.compile(dialect=_DIALECT, column_keys=columns)
        self._text = str(compiled)
        self._names = tuple(compiled.positiontup or ())
        given = ((name, bind.effective_value) for name, bind in compiled.binds.items() if not bind.required)
        self._fixed = {name: value for name, value in given if value is not None}
        self._row = _row_type([str(name) for name in statement.exported_columns.keys()])  # noqa: SIM118  # no dict

    def run(self, connection: Connection, **values: Any) -> int:
        """Run it; how many rows it changed."""
        return self._execute(connection, values).rowcount

    def run_many(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run it for each of many sets of values."""
        bound = [self._bound(row) for row in rows]
        try:
            connection.connection.cursor().executemany(self._text, bound)
        except sqlite3.Error as error:
            raise self._told(error, bound) from error

    def first(self, connection: Connection, **values: Any) -> Any:
        """Run it; its first row, with columns as attributes, or None."""
        row = self._execute(connection, values).fetchone()
        return None if row is None else self._row._make(row)

    def all(self, connection: Connection, **values: Any) -> list[Any]:
        """Run it; its rows, with columns as attributes."""
        return [self._row._make(row) for row in self._execute(connection, values).fetchall()]

    def row(self, values: Mapping[str, Any]) -> Any:
        """A row as this finds it, made of values."""
        return self._row(**values)

    def _execute(self, connection: Connection, values: Mapping[str, Any]) -> sqlite3.Cursor:
        bound = self._bound(values)
        try:
            cursor: Any = connection.connection.cursor()
            cursor.execute(self._text, bound)
        except sqlite3.Error as error:
            raise self._told(error, bound) from error
        found: sqlite3.Cursor = cursor
        return found

    def _bound(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        if self._fixed:
            values = {**self._fixed, **values}
        return tuple([values[name] for name in self._names])

    def _told(self, error: sqlite3.Error, bound: Any) -> BaseException:
        return DBAPIError.instance(self._text, bound, error, sqlite3.Error, hide_parameters=True, dialect=_DIALECT)


def _row_type(names: list[str]) -> Any:
    return namedtuple("Row", names)  # noqa: PYI024  # its fields are known only here


class PreparedUpdate:
    """Updates of a table's rows that meet a condition, one statement for each choice of columns that was ever set."""

    def __init__(self, table: Table, where: ColumnElement[bool]) -> None:
        self._statement = update(table).where(where)
        self._made: dict[tuple[str, ...], Prepared] = {}

    def run(self, connection: Connection, where: Mapping[str, Any], values: Mapping[str, Any]) -> int:
        """Set values, where the condition holds with its own; how many rows it changed."""
        columns = tuple(values)
        prepared = self._made.get(columns)
        if prepared is None:
            prepared = self._made[columns] = Prepared(self._statement, columns)
        return prepared.run(connection, **where, **values)
