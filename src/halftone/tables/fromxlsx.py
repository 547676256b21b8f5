"""A sheet of an Excel workbook (.xlsx) to Parquet.

The first row that is not empty names the columns. Empty cells, empty text and errors such as #N/A are missing values, empty rows are no
rows, and of merged cells the first holds the value. A moment has no zone.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import python_calamine as calamine

from halftone.tables.errors import FileDamaged, FileEmpty, HeaderMerged, SheetAmbiguous, SheetUnknown
from halftone.tables.header import check_names, numbered
from halftone.tables.limits import Ingested, Limits, Progress
from halftone.tables.narrow import EXACT
from halftone.tables.options import ReadOptions
from halftone.tables.source import Source
from halftone.tables.values import Block, store
from halftone.tables.workbook import check_size

_BLOCK_ROWS = 8192


def convert(source: Source, target: Path, limits: Limits, progress: Progress, options: ReadOptions) -> Ingested:
    """Write a sheet as Parquet. Raises a TableError; what is at the target then is of no use."""
    data_bytes = check_size(source.path, limits)
    progress(0.1)
    sheet = _sheet(source.path, options.sheet)
    progress(0.4)
    table = _table(sheet, limits, options)
    turn = 0.4

    def blocks(_as_text: bool) -> Iterator[Block]:
        nonlocal turn
        done = 0
        for block in table.blocks():
            done += block.rows
            progress(turn + 0.3 * done / max(1, sheet.total_height))
            yield block
        turn = 0.7

    rows, kinds = store(blocks, table.names, target, limits)
    if rows == 0:
        raise FileEmpty(f"sheet {sheet.name!r} has a header and no rows: at least one row is needed")
    return Ingested(
        rows=rows,
        columns=tuple((name, kind.type) for name, kind in kinds),
        source_format="xlsx",
        compression=None,
        data_bytes=data_bytes,
        sheet=sheet.name,
    )


def _sheet(path: Path, name: str | None) -> calamine.CalamineSheet:
    try:
        workbook = calamine.load_workbook(path)
        return workbook.get_sheet_by_name(_chosen(workbook, name))
    except calamine.CalamineError:
        raise FileDamaged("the workbook cannot be read: save it as .xlsx once more") from None


def _chosen(workbook: calamine.CalamineWorkbook, name: str | None) -> str:
    sheets = [each.name for each in workbook.sheets_metadata if each.typ == calamine.SheetTypeEnum.WorkSheet]
    shown = ", ".join(map(repr, sheets[:10]))
    if name is not None:
        if name not in sheets:
            raise SheetUnknown(f"the workbook has no sheet {name!r}; it has {shown}", sheet=name, sheets=tuple(sheets))
        return name
    if len(sheets) != 1:
        raise SheetAmbiguous(f"the workbook has {len(sheets):,} sheets: name one of {shown}", sheets=tuple(sheets))
    return sheets[0]


@dataclass(frozen=True)
class _Table:
    """A sheet's columns, and where its rows begin."""

    sheet: calamine.CalamineSheet
    names: tuple[str, ...]
    skipped: int
    """Rows above the first one of the table."""

    def blocks(self) -> Iterator[Block]:
        rows = itertools.islice(self.sheet.iter_rows(), self.skipped, None)
        while some := list(itertools.islice(rows, _BLOCK_ROWS)):
            filled = [row for row in some if any(value != "" for value in row)]
            if filled:
                yield _block(self.names, filled)


def _table(sheet: calamine.CalamineSheet, limits: Limits, options: ReadOptions) -> _Table:
    """Find the header. Raises FileEmpty, HeaderMerged, or what is wrong with the names."""
    for row, values in enumerate(sheet.iter_rows()):
        if all(value == "" for value in values):
            continue
        if not options.header:
            return _Table(sheet, numbered(len(values)), row)
        merged = [first for first, last in sheet.merged_cell_ranges or () if first[0] <= row <= last[0]]
        if merged:
            positions = tuple(sorted(column + 1 for _, column in merged))
            raise HeaderMerged(
                f"row {row + 1:,} of sheet {sheet.name!r} names the columns, and cells of it are merged (from column {positions[0]:,}): "
                "each column needs a cell of its own with its name",
                line=row + 1,
                positions=positions,
            )
        names = tuple(_written(value).strip() for value in values)
        check_names(names, limits)
        return _Table(sheet, names, row + 1)
    raise FileEmpty(f"sheet {sheet.name!r} is empty: a header and at least one row are needed")


def _block(names: tuple[str, ...], rows: list[list[Any]]) -> Block:
    columns = dict(zip(names, ([None if value == "" else value for value in column] for column in zip(*rows, strict=True)), strict=True))
    return Block(len(rows), {name: _array(values) for name, values in columns.items()}, lambda name: _text(columns[name]))


def _array(values: list[Any]) -> pa.Array | None:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and kinds:
        return _numbers(pa.array(values, pa.float64()))
    if kinds <= {dt.date, dt.datetime} and len(kinds) == 2:
        return pa.array([_midnight(value) for value in values], pa.timestamp("us"))
    if len(kinds) > 1 or dt.timedelta in kinds:
        return None
    types = {dt.datetime: pa.timestamp("us"), dt.date: pa.date32(), dt.time: pa.time64("us"), str: pa.string(), bool: pa.bool_()}
    return pa.array(values, types[next(iter(kinds))] if kinds else pa.null())


def _numbers(array: pa.Array) -> pa.Array:
    """Excel knows doubles alone: a column of whole ones is whole."""
    whole = pc.and_(pc.equal(array, pc.trunc(array)), pc.less(pc.abs(array), EXACT))
    return pc.cast(array, pa.int64()) if pc.all(whole).as_py() is not False else array


def _midnight(value: dt.date | None) -> dt.datetime | None:
    return value if value is None or isinstance(value, dt.datetime) else dt.datetime.combine(value, dt.time())


def _text(values: list[Any]) -> pa.Array:
    return pa.array([None if value is None else _written(value) for value in values], pa.string())


def _written(value: Any) -> str:
    """A cell of any type as text: whole numbers without a decimal point, moments in ISO 8601, a duration in seconds."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case dt.timedelta():
            return str(value.total_seconds())
        case dt.date() | dt.time():
            return value.isoformat()
        case _:
            return str(value)
