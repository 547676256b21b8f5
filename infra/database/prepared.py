"""Statements made once: for those that run for every message, building and compiling cost many times what running does."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, UpdateBase, update
from sqlalchemy.exc import DBAPIError

from infra.database.dialect import dialect_named, has_passed_away


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement in a dialect's words."""

    text: str
    names: tuple[str, ...]
    fixed: Mapping[str, Any]

    def bind(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        if self.fixed:
            values = {**self.fixed, **values}
        return tuple([values[name] for name in self.names])


class Prepared:
    """A statement of SQLAlchemy's, compiled once and handed to the driver as it is: values and rows are the driver's own types.

    It is compiled for a kind of database when it first runs on one. Every ``run`` raises what SQLAlchemy would: DBAPIError and its kinds.
    """

    def __init__(self, statement: Select[Any] | UpdateBase, columns: Sequence[str] | None = None) -> None:
        """Take a statement; ``columns`` are those that an insert or update sets to values given later, all if it is None."""
        self._statement, self._columns = statement, columns
        self._compiled: dict[str, _Compiled] = {}
        self._row = _row_type([str(name) for name in statement.exported_columns.keys()])  # noqa: SIM118  # no dict

    def run(self, connection: Connection, **values: Any) -> int:
        """Run it; how many rows it changed."""
        changed: int = self._execute(connection, values).rowcount
        return changed

    def run_many(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run it for each of many sets of values."""
        compiled = self._for(connection)
        bound = [compiled.bind(row) for row in rows]
        if not bound:
            return
        try:
            connection.connection.cursor().executemany(compiled.text, bound)
        except connection.dialect.loaded_dbapi.Error as error:
            raise _told(connection, compiled.text, error, bound) from error

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

    def _for(self, connection: Connection) -> _Compiled:
        name = connection.dialect.name
        return self._compiled.get(name) or self._compile(name)

    def _compile(self, name: str) -> _Compiled:
        compiled = self._statement.compile(dialect=dialect_named(name), column_keys=self._columns)
        given = ((bind, value.effective_value) for bind, value in compiled.binds.items() if not value.required)
        fixed = {bind: value for bind, value in given if value is not None}
        made = self._compiled[name] = _Compiled(str(compiled), tuple(compiled.positiontup or ()), fixed)
        return made

    def _execute(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        compiled = self._for(connection)
        bound = compiled.bind(values)
        try:
            cursor: Any = connection.connection.cursor()
            cursor.execute(compiled.text, bound)
        except connection.dialect.loaded_dbapi.Error as error:
            raise _told(connection, compiled.text, error, bound) from error
        return cursor


def _told(connection: Connection, text: str, error: Exception, bound: Any) -> BaseException:
    """The error as SQLAlchemy would tell it."""
    lost = has_passed_away(connection, error)
    base = connection.dialect.loaded_dbapi.Error
    return DBAPIError.instance(text, bound, error, base, hide_parameters=True, connection_invalidated=lost, dialect=connection.dialect)


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
