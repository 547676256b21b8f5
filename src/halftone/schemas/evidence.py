"""What a draft knows of a column: counts over all of it, and values of a bounded sample spread over all rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from contracts.schema import ColumnSchema, ColumnType
from halftone.schemas.words import words
from halftone.tables.schema import ColumnProposal
from halftone.tables.stored import column_type
from halftone.tables.tally import Tally

SAMPLE_ROWS = 10_000
MOST_COUNTED = 1_000
"""Distinct values that are counted one by one."""


@dataclass
class Evidence:
    """One column. Whole: rows, missing, ends, ``counted``. Of the sample alone: ``sample`` and what is asked of it."""

    arrow: pa.Field
    rows: int = 0
    missing: int = 0
    sampled: list[pa.Array] = field(default_factory=list)
    _tally: Tally | None = field(default_factory=lambda: Tally(MOST_COUNTED))
    _proposal: ColumnProposal | None = None

    def see(self, array: pa.Array, picked: pa.Array) -> None:
        """Take in the next rows; ``picked`` are the positions among them that belong to the sample."""
        values = array.dictionary_decode() if pt.is_dictionary(array.type) else array
        self.rows += len(values)
        self.missing += values.null_count
        self.sampled.append(values.take(picked).drop_null())
        if self._proposal is None:
            self._proposal = ColumnProposal(pa.field(self.arrow.name, values.type))
        self._proposal.see(values)
        if self._tally is not None:
            self._tally.add(values)
            self._tally = self._tally if self._tally.exact else None

    @property
    def name(self) -> str:
        return str(self.arrow.name)

    @cached_property
    def words(self) -> tuple[str, ...]:
        return words(self.name)

    @property
    def type(self) -> ColumnType:
        return column_type(self.arrow.type)

    @cached_property
    def proposed(self) -> ColumnSchema:
        """What the data alone suggests: see ``halftone.tables.schema``."""
        return (self._proposal or ColumnProposal(self.arrow)).proposal()

    @cached_property
    def counted(self) -> dict[Any, int] | None:
        """Every distinct value with its count, if there are few enough of them."""
        return None if self._tally is None else dict(self._tally.top(MOST_COUNTED))

    @cached_property
    def sample(self) -> pa.Array:
        """Values, none missing."""
        return pa.concat_arrays(self.sampled) if self.sampled else pa.array([], self.arrow.type)

    @cached_property
    def text(self) -> pa.Array:
        """The distinct values of the sample as trimmed text; numbers as they are written."""
        return pc.utf8_trim_whitespace(pc.cast(self.sample, pa.string())).unique()

    @property
    def present(self) -> int:
        return self.rows - self.missing

    @cached_property
    def distinct_share(self) -> float:
        """Distinct values per value, in the sample."""
        return len(self.sample.unique()) / max(1, len(self.sample))

    @property
    def empty(self) -> bool:
        return self.present == 0

    def share(self, flags: pa.Array) -> float:
        """The share of set flags, one per distinct value of ``text``; 0 without values."""
        return float(pc.mean(pc.fill_null(flags, False)).as_py() or 0.0) if len(flags) else 0.0

    def within(self, low: float, high: float) -> bool:
        """Whether all numbers of the column lie between two others."""
        least, greatest = self.proposed.minimum, self.proposed.maximum
        return isinstance(least, int | float) and isinstance(greatest, int | float) and low <= least and greatest <= high


def gather(schema: pa.Schema, batches: Iterator[pa.RecordBatch], rows: int) -> list[Evidence]:
    """Read the rows once. Every k-th row is in the sample, so that it holds at most ``SAMPLE_ROWS``."""
    columns = [Evidence(column) for column in schema]
    stride, begin = max(1, -(-rows // SAMPLE_ROWS)), 0
    for batch in batches:
        picked = pa.array(np.arange(-begin % stride, batch.num_rows, stride))
        for column, array in zip(columns, batch.columns, strict=True):
            column.see(array, picked)
        begin += batch.num_rows
    return columns
