"""A file becomes a table: CSV (plain or gzip) or Parquet in, typed Parquet out, in bounded memory."""

from __future__ import annotations

from pathlib import Path

from halftone.tables import fromcsv, fromparquet
from halftone.tables.limits import Ingested, Limits, Progress, no_progress
from halftone.tables.source import examine
from halftone.tables.writing import partial

_DEFAULT = Limits()


def ingest(source: Path, target: Path, *, limits: Limits = _DEFAULT, progress: Progress = no_progress) -> Ingested:
    """Read the file at ``source`` and write a Parquet file (zstd) at ``target``, which is there whole or not at all.

    What the file is, is told from its content. Types come from every row, not from the first few; see ``narrow`` for the rules. In CSV,
    empty fields and ``?``, ``NA``, ``N/A``, ``NULL``, ``NaN`` are missing values, blank lines are no rows, the first line names the
    columns.
    Raises a TableError that names the column, the line or the byte; no error holds a value of a row.
    """
    file = examine(source)
    with partial(target) as path:
        convert = fromparquet.convert if file.parquet else fromcsv.convert
        result = convert(file, path, limits, progress)
    progress(1.0)
    return result
