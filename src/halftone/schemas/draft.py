"""A schema drafted from a table: what each column seems to be, why, and what a person has to check before anything of it is public."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.schema import ColumnType, TableSchema
from halftone.schemas.columns import IDENTIFIER, draft_column
from halftone.schemas.evidence import SAMPLE_ROWS, Evidence, gather
from halftone.schemas.guess import VALUES, Guess

_BATCH_ROWS = 2**17
_MOST_KEY_ROWS = 20_000_000
_KEY_TYPES = frozenset({ColumnType.INTEGER, ColumnType.TEXT})
Read = Callable[[str], pa.ChunkedArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A proposal: nothing in it is public until a named person attests it."""

    schema: TableSchema
    guesses: tuple[Guess, ...]
    """In the order of columns."""
    keys: tuple[str, ...]
    """Columns without missing or repeated values, the likeliest key first; the schema's primary key is the first identifier among them."""
    rows: int
    sampled_rows: int
    """Forms and words were looked for in this many rows; counts, ends and keys are of all."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "schema": self.schema.model_dump(mode="json"),
            "guesses": [guess.to_dict() for guess in self.guesses],
            "keys": list(self.keys),
            "rows": self.rows,
            "sampled_rows": self.sampled_rows,
        }


def draft(table: Path | pa.Table, *, profile: dict[str, Any] | None = None, name: str = "table") -> Draft:
    """Draft the schema of a stored table, or of one in memory with the types of a stored one.

    Reads all rows once, in batches: types, ends, missing and up to 1,000 distinct values are of the whole column. Forms, checksums and
    words are looked for in a sample of at most 10,000 rows spread over the table. Columns that have no repetition in the sample are read
    once more, whole, for key candidates, unless a ``profile`` (of ``halftone.tables.profile``) has counted their distinct values or there
    are over 20 million rows: then they are no candidates.
    """
    with _opened(table) as (schema, batches, rows, read):
        columns = gather(schema, batches, rows)
        keys = _keys(columns, _counted(profile), read)
    drafts = [draft_column(column) for column in columns]
    guesses = [guess for each in drafts for guess in each.guesses]
    guesses += [
        Guess(
            column=key,
            about="key",
            value="unique",
            taken_from=(VALUES,),
            confidence="likely",
            check="that it is unique by design, and not by chance",
        )
        for key in keys
    ]
    columns_drafted = tuple(each.schema() for each in drafts)
    identifiers = {column.name for column in columns_drafted if column.semantic == IDENTIFIER}
    order = {column.name: n for n, column in enumerate(columns)}
    return Draft(
        schema=TableSchema(name=name, columns=columns_drafted, primary_key=tuple(key for key in keys if key in identifiers)[:1]),
        guesses=tuple(sorted(guesses, key=lambda guess: order[guess.column])),
        keys=keys,
        rows=rows,
        sampled_rows=min(rows, len(range(0, rows, max(1, -(-rows // SAMPLE_ROWS))))),
    )


@contextlib.contextmanager
def _opened(table: Path | pa.Table) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch], int, Read]]:
    if isinstance(table, pa.Table):
        yield table.schema, iter(table.to_batches(max_chunksize=_BATCH_ROWS)), table.num_rows, table.column
        return
    with pq.ParquetFile(table) as file:
        yield (
            file.schema_arrow,
            file.iter_batches(batch_size=_BATCH_ROWS),
            file.metadata.num_rows,
            lambda name: file.read(columns=[name]).column(0),
        )


def _counted(profile: dict[str, Any] | None) -> dict[str, int]:
    """The exact numbers of distinct values that a profile knows."""
    return {each["name"]: each["distinct"] for each in (profile or {}).get("columns", ()) if each["distinct_exact"]}


def _keys(columns: list[Evidence], counted: dict[str, int], read: Read) -> tuple[str, ...]:
    """Columns that are never missing and never repeat; those that are called so first, then in the table's order."""

    def unique(column: Evidence) -> bool:
        if column.type not in _KEY_TYPES or column.missing or column.rows < 2 or column.distinct_share < 1:
            return False
        if column.name in counted:
            return counted[column.name] == column.rows
        if column.counted is not None:
            return len(column.counted) == column.rows
        return column.rows <= _MOST_KEY_ROWS and pc.count_distinct(read(column.name)).as_py() == column.rows

    found = [column for column in columns if unique(column)]
    return tuple(column.name for column in sorted(found, key=lambda column: "id" not in column.words and "key" not in column.words))
