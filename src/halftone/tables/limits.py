"""What a file may ask of the worker that reads it, and what the worker says of it when done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from contracts.schema import ColumnType

Progress = Callable[[float], None]
"""Called now and then with the share of the work done, in [0, 1]; raising from it stops the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that one file may hold. Crossing a limit is an error that names it."""

    data_bytes: int = 64 * 2**30
    """Bytes after decompression: a small file may hold a large one."""
    rows: int = 1_000_000_000
    columns: int = 10_000
    row_bytes: int = 4 * 2**20
    """Bytes of one row of text; also the unit in which a file is read, so memory grows with it."""
    sheet_cells: int = 20_000_000
    """Cells of the rectangle that an Excel sheet fills: a workbook is held in memory, about 50 bytes a cell."""
    name_characters: int = 256
    """Characters of a column's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """A table that was taken in."""

    rows: int
    columns: tuple[tuple[str, ColumnType], ...]
    """Name and stored type, in the file's order. Text is not yet told from categories: see ``schema.infer``."""
    source_format: str
    """'csv', 'parquet', 'jsonl' or 'xlsx'."""
    compression: str | None
    """What the file came in: 'gzip', 'zstd', 'bz2', 'xz', 'zip', or nothing."""
    data_bytes: int
    """Bytes after decompression."""
    delimiter: str | None = None
    """What separates a CSV's fields."""
    quote: str | None = None
    """What a CSV's fields are quoted with."""
    encoding: str | None = None
    """The encoding of a text file, by its Python name."""
    sheet: str | None = None
    """The sheet of a workbook that was read."""

    @property
    def compressed(self) -> bool:
        """Whether the file came compressed."""
        return self.compression is not None


def no_progress(_share: float) -> None:
    """Report to nobody."""
