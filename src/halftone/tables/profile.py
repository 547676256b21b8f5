"""What the rows of a stored table look like, for those with the right to raw data."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from contracts.schema import BOUNDED, ColumnSchema, TableSchema
from halftone.tables.departures import Departures
from halftone.tables.limits import Progress, no_progress
from halftone.tables.ranges import bounds, ends, finite, numbers
from halftone.tables.stored import column_type
from halftone.tables.tally import Tally

VERSION = 1
TOP = 20
BINS = 20
_BATCH_ROWS = 2**17
_SHOWN_CHARACTERS = 200


def profile(table_path: Path, schema: TableSchema | None = None, *, progress: Progress = no_progress) -> dict[str, Any]:
    """Describe every column: a JSON-able dict, in the table's order of columns.

    ``columns[i]`` has name, type (as stored), missing, distinct (``distinct_exact`` says whether it was counted or estimated), minimum,
    maximum, infinite, top (at most 20, most frequent first; ``top_error`` says by how much a count may be too low), histogram
    (20 bins of equal width between minimum and maximum) and, if the schema declares the column, ``departures`` from it.
    Reads the table twice, in batches; memory does not grow with the number of rows.
    """
    declared = {column.name: column for column in schema.columns} if schema else {}
    with pq.ParquetFile(table_path) as file:
        columns = [_Column(field, declared.get(field.name)) for field in file.schema_arrow]
        rows = file.metadata.num_rows
        for turn, see in enumerate((_Column.see, _Column.place)):
            done = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for column, array in zip(columns, batch.columns, strict=True):
                    see(column, array)
                done += batch.num_rows
                progress((turn + done / rows) / 2)
    return {"version": VERSION, "rows": rows, "columns": [column.described() for column in columns]}


class _Column:
    """What was seen of one column."""

    def __init__(self, field: pa.Field, declared: ColumnSchema | None) -> None:
        self._name: str = field.name
        self._arrow: pa.DataType = field.type
        self._type = column_type(field.type)
        self._tally = Tally()
        self._departures = Departures(declared) if declared else None
        self._missing = self._infinite = 0
        self._ends: pa.Array | None = None
        self._edges: npt.NDArray[np.float64] | None = None
        self._histogram = np.zeros(BINS, np.int64)

    def see(self, array: pa.Array) -> None:
        """First turn: counts and ends."""
        self._missing += array.null_count
        self._tally.add(array)
        if self._departures is not None:
            self._departures.see(array)
        if self._type in BOUNDED:
            values = finite(array)
            self._infinite += len(array) - array.null_count - len(values)
            if len(values):
                self._ends = ends(values, self._ends)

    def place(self, array: pa.Array) -> None:
        """Second turn: the histogram, now that the ends are known."""
        if self._ends is None:
            return
        if self._edges is None:
            low, high = numbers(self._ends)
            self._edges = _edges(float(low), float(high))
        self._histogram += np.histogram(numbers(array), self._edges)[0]

    def described(self) -> dict[str, Any]:
        low, high = (None, None) if self._ends is None else bounds(self._ends[0], self._ends[1])
        described: dict[str, Any] = {
            "name": self._name,
            "type": str(self._type),
            "missing": self._missing,
            "distinct": self._tally.distinct,
            "distinct_exact": self._tally.exact,
            "minimum": low,
            "maximum": high,
            "infinite": self._infinite,
            "top": [{"value": _plain(value, self._arrow), "count": count} for value, count in self._tally.top(TOP)],
            "top_error": self._tally.missing_at_most,
            "histogram": self._histogram.tolist() if self._ends is not None else None,
        }
        if self._departures is not None:
            described["departures"] = self._departures.counts()
        return described


def _edges(low: float, high: float) -> npt.NDArray[np.float64]:
    """Bin edges, shape (BINS + 1,); a column with one value gets a range around it. Halved first: high - low may overflow."""
    if low == high:
        low, high = low - max(0.5, abs(low) / 2**40), high + max(0.5, abs(high) / 2**40)
    share = np.linspace(0, 1, BINS + 1)
    return low * (1 - share) + high * share


def _plain(value: Any, type_: pa.DataType) -> Any:
    """A value as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return value[:_SHOWN_CHARACTERS]
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if pt.is_timestamp(type_) or pt.is_time(type_):
        return str(value)
    return value
