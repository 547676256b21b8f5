"""A table as an Excel workbook with one sheet, written row by row in constant memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from halftone.tables.errors import ExportTooLarge
from halftone.tables.wording import decoded, is_text, plain_text

MOST_ROWS = 1_048_575
"""Below the header: a sheet has one more."""
MOST_COLUMNS = 16_384
_MOST_CHARACTERS = 32_767
_EXACT = 2**53
_FIRST_YEAR, _LAST_YEAR = 1901, 9999
"""Excel counts days from 1900, with a 29 February that there was not."""
_DATE, _DATETIME, _TIME = "yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss.000", "hh:mm:ss.000"

Put = Callable[[int, int, Any], Any]


def check_fits(rows: int, columns: int) -> None:
    """Raise ExportTooLarge for what a sheet cannot hold."""
    if rows > MOST_ROWS or columns > MOST_COLUMNS:
        raise ExportTooLarge(
            f"the table has {rows:,} rows and {columns:,} columns; an Excel sheet holds {MOST_ROWS:,} and {MOST_COLUMNS:,}: "
            "export it as CSV, JSON lines or Parquet",
            rows=rows,
            columns=columns,
        )


def write_xlsx(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write a header and all rows. Text stays text, also where it looks like a formula, a link or a number.

    What a cell cannot hold is written as text, for a whole batch of the column: whole numbers from 2**53 on, infinite numbers, dates
    before 1901. Moments are exact to a millisecond. Raises ExportTooLarge for text beyond 32,767 characters.
    """
    with xlsxwriter.Workbook(path, {"constant_memory": True, "in_memory": False}) as book:
        sheet = book.add_worksheet("table")
        for position, name in enumerate(schema.names):
            sheet.write_string(0, position, name)
        formats = {kind: book.add_format({"num_format": kind}) for kind in (_DATE, _DATETIME, _TIME)}
        begin = 1
        for batch in batches:
            columns = [_cells(decoded(column), name, sheet, formats) for name, column in zip(schema.names, batch.columns, strict=True)]
            for row, values in enumerate(zip(*(cells for _, cells in columns), strict=True), begin):
                for position, value in enumerate(values):
                    if value is not None:
                        columns[position][0](row, position, value)
            begin += batch.num_rows


def _cells(values: pa.Array, name: str, sheet: Worksheet, formats: dict[str, Format]) -> tuple[Put, list[Any]]:
    """How a column's values are put into cells, and what they are then."""
    type_ = values.type
    if is_text(type_):
        _check_length(values, name)
        return sheet.write_string, values.to_pylist()
    if pt.is_boolean(type_):
        return sheet.write_boolean, values.to_pylist()
    if not _all_fit(values):
        return sheet.write_string, plain_text(values).to_pylist()
    if pt.is_integer(type_) or pt.is_floating(type_):
        return sheet.write_number, values.to_pylist()
    kind = _DATE if pt.is_date(type_) else _TIME if pt.is_time(type_) else _DATETIME
    return _moment(sheet, formats[kind]), _microseconds(values).to_pylist()


def _moment(sheet: Worksheet, form: Format) -> Put:
    def put(row: int, column: int, value: dt.datetime | dt.date | dt.time) -> Any:
        return sheet.write_datetime(row, column, value, form)

    return put


def _microseconds(values: pa.Array) -> pa.Array:
    """What Python's types hold; a zone is UTC, and Excel has none."""
    if pt.is_timestamp(values.type):
        return pc.cast(values, pa.timestamp("us"), safe=False)
    return pc.cast(values, pa.time64("us"), safe=False) if pt.is_time(values.type) else values


def _all_fit(values: pa.Array) -> bool:
    """Whether a cell holds each of a batch's values exactly."""
    if pt.is_integer(values.type):
        ends = pc.min_max(values)
        return bool(values.null_count == len(values) or (ends["min"].as_py() > -_EXACT and ends["max"].as_py() < _EXACT))
    if pt.is_floating(values.type):
        return pc.all(pc.is_finite(values)).as_py() is not False
    if pt.is_time(values.type):
        return True
    years = pc.min_max(pc.year(values))
    return bool(values.null_count == len(values) or (years["min"].as_py() >= _FIRST_YEAR and years["max"].as_py() <= _LAST_YEAR))


def _check_length(values: pa.Array, name: str) -> None:
    longest = pc.max(pc.utf8_length(values)).as_py() if len(values) > values.null_count else 0
    if longest > _MOST_CHARACTERS:
        raise ExportTooLarge(
            f"column {name!r} holds text of {longest:,} characters; an Excel cell holds {_MOST_CHARACTERS:,}: export it as CSV or Parquet",
            column=name,
            characters=longest,
        )
