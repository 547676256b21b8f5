"""Columns whose values come with types of their own, as in JSON lines and workbooks: what each can be, given all of it.

Numbers, truths, text and moments do not mix: a column that holds two of them is text, each value as its source writes it. Text is never
read as a number (``"007"`` was quoted on purpose), but as a date or time if every value is one in ISO 8601, for which JSON has no type.
NaN is a missing value, infinity a number; whole numbers that neither a 64-bit integer nor a double holds exactly make a column text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from halftone.tables.errors import TooManyRows
from halftone.tables.header import check_names
from halftone.tables.limits import Limits
from halftone.tables.narrow import BOOLEAN, DATE, DATETIME, EXACT, INTEGER, NUMBER, NUMERIC, TEMPORAL, TEXT, TIME, Kind, Narrowing
from halftone.tables.writing import writing


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows. A column that is absent is missing in all of them."""

    rows: int
    columns: dict[str, pa.Array | None]
    """Each as int64, double, bool, string, date32, timestamp(us), time64(us) or null; None where values of a block do not agree."""
    as_text: Callable[[str], pa.Array] | None = None
    """A column, each value as its source writes it."""


Blocks = Callable[[bool], Iterable[Block]]
"""Reads all rows, from the start; with True, every block can give its columns as text."""


class Loose:
    """What was seen of one column."""

    def __init__(self) -> None:
        self._numbers, self._text = Narrowing(NUMERIC), Narrowing(TEMPORAL)
        self._groups: set[Kind] = set()

    def see(self, array: pa.Array | None) -> None:
        """Look at a block of the column."""
        if array is None:
            self._groups |= {BOOLEAN, TEXT}
        elif len(array) == array.null_count:
            return
        elif pt.is_string(array.type):
            self._groups.add(TEXT)
            self._text.see(array)
        elif pt.is_integer(array.type) or pt.is_floating(array.type):
            self._groups.add(NUMBER)
            self._numbers.limit(_numeric(array))
        else:
            self._groups.add(next(kind for kind in (BOOLEAN, DATE, DATETIME, TIME) if kind.arrow == array.type))

    @property
    def kind(self) -> Kind:
        """The narrowest type that everything seen so far has."""
        if self._groups == {DATE, DATETIME}:
            return DATETIME
        if len(self._groups) != 1:
            return TEXT
        (only,) = self._groups
        return {NUMBER: self._numbers.kind, TEXT: self._text.kind}.get(only, only)

    @property
    def mixed(self) -> bool:
        """Whether the column is text of which some was something else."""
        return self.kind is TEXT and bool(self._groups - {TEXT})

    def read(self, array: pa.Array) -> pa.Array:
        """Give a block that was seen before the column's type."""
        if self.kind is TEXT or not pt.is_string(array.type):
            values = pc.cast(array, self.kind.arrow)
            return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values) if pt.is_floating(values.type) else values
        return self._text.read(array)


def _numeric(array: pa.Array) -> tuple[Kind, ...]:
    """The types that hold these numbers exactly."""
    if pt.is_floating(array.type):
        return (NUMBER,)
    ends = pc.min_max(array)
    return NUMERIC if ends["min"].as_py() > -EXACT and ends["max"].as_py() < EXACT else (INTEGER,)


def store(blocks: Blocks, names: Iterable[str], target: Path, limits: Limits) -> tuple[int, list[tuple[str, Kind]]]:
    """Write all rows as Parquet: written while they are read, and once more if a later row shows a column to be another.

    ``names`` are columns that are there even if no block has them. Returns the number of rows, and the columns in order of appearance.
    Raises a TableError.
    """
    storing = _Storing({name: Loose() for name in names}, limits)
    if not storing.first_pass(iter(blocks(False)), target):
        storing.second_pass(blocks(storing.mixed), target)
    return storing.rows, [(name, column.kind) for name, column in storing.columns.items()]


@dataclass
class _Storing:
    """A table on its way, and what is known of its columns."""

    columns: dict[str, Loose]
    limits: Limits
    rows: int = 0

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(name, column.kind.arrow) for name, column in self.columns.items()])

    @property
    def mixed(self) -> bool:
        return any(column.mixed for column in self.columns.values())

    def first_pass(self, blocks: Iterator[Block], target: Path) -> bool:
        """See every row; write them too, until a block shows more than the first did. Returns whether all were written."""
        first = next(blocks, None)
        if first is None:
            return True
        self._see(first)
        begun = self.schema
        with writing(target, begun) as writer:
            if not self.mixed:
                writer.write(self._typed(first))
            for block in blocks:
                self._see(block)
                if self.mixed or self.schema != begun:
                    break
                writer.write(self._typed(block))
        for block in blocks:
            self._see(block)
        check_names(list(self.columns), self.limits)
        return not self.mixed and self.schema == begun

    def second_pass(self, blocks: Iterable[Block], target: Path) -> None:
        """Write every row, on the types of all of them."""
        with writing(target, self.schema) as writer:
            for block in blocks:
                writer.write(self._typed(block))

    def _see(self, block: Block) -> None:
        self.rows += block.rows
        if self.rows > self.limits.rows:
            raise TooManyRows(f"the table has more than {self.limits.rows:,} rows, which is the most", limit=self.limits.rows)
        for name, array in block.columns.items():
            if name not in self.columns:
                self.columns[name] = Loose()
                if len(self.columns) > self.limits.columns:
                    check_names(list(self.columns), self.limits)
            self.columns[name].see(array)

    def _typed(self, block: Block) -> pa.RecordBatch:
        schema = self.schema
        return pa.RecordBatch.from_arrays([self._column(name, column, block) for name, column in self.columns.items()], schema=schema)

    def _column(self, name: str, column: Loose, block: Block) -> pa.Array:
        if name not in block.columns:
            return pa.nulls(block.rows, column.kind.arrow)
        if column.mixed and block.as_text is not None:
            return block.as_text(name)
        return column.read(block.columns[name])
