"""Whether a declared schema can describe a table: names and types only, so that the edge can ask before anything is read.

Needs the contracts and nothing else.
"""

from __future__ import annotations

import datetime as dt
import difflib
import math

from contracts.schema import BOUNDED, ColumnSchema, ColumnType, TableSchema
from halftone.tables.errors import SchemaBoundInvalid, SchemaColumnAbsent, SchemaColumnUndeclared, SchemaTypeMismatch

NO_VALUES = "no-values"
"""The ``semantic`` of an inferred column in which every value is missing: any declared type fits it."""

_FITS: dict[ColumnType, frozenset[ColumnType]] = {
    ColumnType.INTEGER: frozenset({ColumnType.INTEGER}),
    ColumnType.NUMBER: frozenset({ColumnType.NUMBER, ColumnType.INTEGER}),
    ColumnType.BOOLEAN: frozenset({ColumnType.BOOLEAN}),
    ColumnType.CATEGORICAL: frozenset({ColumnType.CATEGORICAL, ColumnType.TEXT, ColumnType.INTEGER}),
    ColumnType.DATE: frozenset({ColumnType.DATE}),
    ColumnType.DATETIME: frozenset({ColumnType.DATETIME, ColumnType.DATE}),
    ColumnType.TIME: frozenset({ColumnType.TIME}),
    ColumnType.TEXT: frozenset(ColumnType),
}
_HOLDS: dict[ColumnType, str] = {
    ColumnType.INTEGER: "whole numbers",
    ColumnType.NUMBER: "numbers with decimals",
    ColumnType.BOOLEAN: "true and false",
    ColumnType.CATEGORICAL: "text",
    ColumnType.DATE: "dates",
    ColumnType.DATETIME: "dates with times",
    ColumnType.TIME: "times of day",
    ColumnType.TEXT: "text",
}
_WRITTEN: dict[ColumnType, str] = {
    ColumnType.INTEGER: "whole numbers within 64 bits, without leading zeros",
    ColumnType.NUMBER: "numbers with a decimal point",
    ColumnType.BOOLEAN: "true and false",
    ColumnType.DATE: "ISO 8601 dates, such as 2024-03-31",
    ColumnType.DATETIME: "ISO 8601 dates with times, such as 2024-03-31T12:00:00",
    ColumnType.TIME: "ISO 8601 times, such as 12:00:00",
}


def check(declared: TableSchema, inferred: TableSchema) -> None:
    """Compare a declared schema with what ``schema.infer`` found. The order of columns does not matter.

    Raises SchemaColumnAbsent, SchemaColumnUndeclared, SchemaTypeMismatch or SchemaBoundInvalid, for the first column that is wrong.
    """
    found = {column.name: column for column in inferred.columns}
    _check_names(declared, found)
    for column in declared.columns:
        check_bounds(column)
        _check_type(column, found[column.name])


def _check_names(declared: TableSchema, found: dict[str, ColumnSchema]) -> None:
    named = [column.name for column in declared.columns]
    spare = [name for name in found if name not in named]
    for name in named:
        if name not in found:
            near = difflib.get_close_matches(name, spare, n=1)
            hint = f"; is it {near[0]!r}?" if near else f"; the table has {_some(list(found))}"
            raise SchemaColumnAbsent(f"column {name!r} is declared and not in the table{hint}", column=name)
    if spare:
        raise SchemaColumnUndeclared(
            f"the table has {_some(spare)}, which the schema does not declare: declare every column, or leave it out of the file",
            columns=tuple(spare),
        )


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")


def _check_type(declared: ColumnSchema, found: ColumnSchema) -> None:
    if found.semantic == NO_VALUES:
        return
    if found.type not in _FITS[declared.type]:
        raise SchemaTypeMismatch(
            f"column {declared.name!r} is declared {declared.type} and holds {_HOLDS[found.type]}: {_remedy(declared.type, found.type)}",
            column=declared.name,
            declared=str(declared.type),
            found=str(found.type),
        )
    if declared.type is ColumnType.CATEGORICAL and declared.categories is not None:
        _check_categories(declared, whole=found.type is ColumnType.INTEGER)


def _remedy(declared: ColumnType, found: ColumnType) -> str:
    fitting = " or ".join(sorted(type_ for type_, fits in _FITS.items() if found in fits))
    written = _WRITTEN.get(declared)
    return f"declare it {fitting}" + (f", or write every value as {written}" if written else "")


def _check_categories(declared: ColumnSchema, *, whole: bool) -> None:
    wanted: type = int if whole else str
    if any(not isinstance(category, wanted) for category in declared.categories or ()):
        holds, asked = ("whole numbers", "numbers (1, not '1')") if whole else ("text", "text ('1', not 1)")
        raise SchemaTypeMismatch(
            f"column {declared.name!r} holds {holds}: write its categories as {asked}",
            column=declared.name,
            declared=str(declared.type),
            found=str(ColumnType.INTEGER if whole else ColumnType.TEXT),
        )


def check_bounds(column: ColumnSchema) -> None:
    """Refuse a minimum or maximum that is no value of the column's type. Raises SchemaBoundInvalid."""
    if column.type not in BOUNDED:
        return
    for name, bound in (("minimum", column.minimum), ("maximum", column.maximum)):
        if bound is not None and not _is_value(bound, column.type):
            raise SchemaBoundInvalid(
                f"column {column.name!r} is declared {column.type}, and its {name} is none: give {_WRITTEN[column.type]}",
                column=column.name,
                bound=name,
            )


def _is_value(bound: float | str, type_: ColumnType) -> bool:
    if type_ in {ColumnType.INTEGER, ColumnType.NUMBER}:
        whole = type_ is ColumnType.INTEGER
        return not isinstance(bound, str) and math.isfinite(bound) and (not whole or float(bound).is_integer())
    parse = {ColumnType.DATE: dt.date.fromisoformat, ColumnType.DATETIME: dt.datetime.fromisoformat, ColumnType.TIME: dt.time.fromisoformat}
    try:
        parse[type_](str(bound))
    except ValueError:
        return False
    return isinstance(bound, str)
