"""What a stored table suggests its schema is: a proposal, never public until a person attests it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.schema import BOUNDED, ColumnSchema, ColumnType, TableSchema
from halftone.tables.declared import NO_VALUES
from halftone.tables.ranges import Range, bounds, ends, finite
from halftone.tables.stored import column_type
from halftone.tables.tally import Tally

MOST_CATEGORIES = 50
_BATCH_ROWS = 2**17
_STEPS = (1.0, 0.1, 0.01, 0.001, 0.0001)


def infer(table_path: Path, *, name: str = "table") -> TableSchema:
    """Propose a schema: types as stored, text of at most 50 distinct values as categories, bounds and nullability as seen.

    A column without values is text with the semantic ``declared.NO_VALUES``. Reads the table once, in batches.
    """
    with pq.ParquetFile(table_path) as file:
        columns = [ColumnProposal(field) for field in file.schema_arrow]
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for column, array in zip(columns, batch.columns, strict=True):
                column.see(array)
    return TableSchema(name=name, columns=tuple(column.proposal() for column in columns))


class ColumnProposal:
    """What one column suggests, given what was seen of it."""

    def __init__(self, field: pa.Field) -> None:
        self._name: str = field.name
        self._type = column_type(field.type)
        self._tally: Tally | None = Tally(2 * MOST_CATEGORIES) if self._type is ColumnType.TEXT else None
        self._ends: pa.Array | None = None
        self._steps = list(_STEPS)
        self._missing = self._any = False

    def see(self, array: pa.Array) -> None:
        self._missing |= array.null_count > 0
        self._any |= array.null_count < len(array)
        if self._tally is not None:
            self._count(self._tally, array)
        elif self._type in BOUNDED:
            self._stretch(finite(array))

    def _count(self, tally: Tally, array: pa.Array) -> None:
        tally.add(array)
        if tally.distinct > MOST_CATEGORIES:
            self._tally = None

    def _stretch(self, values: pa.Array) -> None:
        if len(values) == 0:
            return
        self._ends = ends(values, self._ends)
        if self._type is ColumnType.NUMBER and self._steps:
            x = values.to_numpy(zero_copy_only=False)
            self._steps = [step for step in self._steps if _steps_by(x, step)]

    def _range(self) -> Range | tuple[None, None]:
        return (None, None) if self._ends is None else bounds(self._ends[0], self._ends[1])

    def proposal(self) -> ColumnSchema:
        low, high = self._range()
        categories = tuple(self._tally.values()) if self._tally is not None else ()
        granularity = {ColumnType.INTEGER: 1.0, ColumnType.NUMBER: next(iter(self._steps), None)}.get(self._type)
        return ColumnSchema(
            name=self._name,
            type=ColumnType.CATEGORICAL if categories else self._type,
            semantic=None if self._any else NO_VALUES,
            nullable=self._missing,
            categories=categories or None,
            minimum=low,
            maximum=high,
            granularity=granularity if low is not None else None,
        )


def _steps_by(x: np.ndarray[tuple[int], np.dtype[np.float64]], step: float) -> bool:
    """Whether every value is the double nearest to a whole number of steps."""
    scale = round(1 / step)
    return bool(np.all(np.abs(x) < 2**53 / scale) and np.all(np.rint(x * scale) / scale == x))
