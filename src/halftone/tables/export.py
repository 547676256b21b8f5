"""A stored table as a file that others can open: CSV, Parquet, JSON lines or a workbook, in bounded memory.

Dates and times are written in ISO 8601, moments in UTC with a ``Z``; missing values are empty in CSV and workbooks, ``null`` in JSON lines.
An infinite number is ``inf`` in CSV; JSON and workbooks have none, so there it is the text ``"inf"`` or ``"-inf"``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from halftone.tables.asxlsx import check_fits, write_xlsx
from halftone.tables.limits import Progress, no_progress
from halftone.tables.wording import csv_lines, json_lines
from halftone.tables.writing import partial

ExportFormat = Literal["csv", "parquet", "jsonl", "xlsx"]
_BATCH_ROWS = 2**15


def export(
    parquet_path: Path,
    target: Path,
    format: ExportFormat,  # noqa: A002  # the word that callers know it by
    *,
    safe_csv: bool = True,
    progress: Progress = no_progress,
) -> None:
    """Write a stored table to ``target``, which is there whole or not at all.

    With ``safe_csv``, text that a spreadsheet would take for a formula is written with an apostrophe before it, in CSV only (OWASP, CSV
    injection): values and column names that begin with ``= + - @``, a tab or a carriage return. Numbers, dates and times stay as they
    are. A workbook says of each cell that it is text, and needs none of this.

    Raises ExportTooLarge for a workbook beyond 1,048,575 rows, 16,384 columns, or 32,767 characters in a cell.
    """
    with partial(target) as path:
        if format == "parquet":
            shutil.copyfile(parquet_path, path)
        else:
            _write(parquet_path, path, format, progress, safe=safe_csv)
    progress(1.0)


def _write(parquet_path: Path, path: Path, format_: ExportFormat, progress: Progress, *, safe: bool) -> None:
    with pq.ParquetFile(parquet_path) as file:
        batches = _batches(file, progress)
        if format_ == "xlsx":
            check_fits(file.metadata.num_rows, file.metadata.num_columns)
            write_xlsx(path, file.schema_arrow, batches)
            return
        lines = csv_lines(file.schema_arrow, batches, safe=safe) if format_ == "csv" else json_lines(file.schema_arrow, batches)
        with path.open("wb") as out:
            for some in lines:
                out.write(some)


def _batches(file: pq.ParquetFile, progress: Progress) -> Iterator[pa.RecordBatch]:
    done = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS):
        yield batch
        done += batch.num_rows
        progress(done / file.metadata.num_rows)
