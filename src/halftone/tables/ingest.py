"""A file becomes a table: CSV, JSON lines, Parquet or a workbook in, typed Parquet out, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from halftone.tables import fromcsv, fromjsonl, fromparquet, fromxlsx
from halftone.tables.errors import EncodingUnknown
from halftone.tables.limits import Ingested, Limits, Progress, no_progress
from halftone.tables.options import FileFormat, ReadOptions
from halftone.tables.source import Source, examine, plain
from halftone.tables.text import UTF_8
from halftone.tables.unicode import guess
from halftone.tables.writing import partial

Convert = Callable[[Source, Path, Limits, Progress, ReadOptions], Ingested]
_CONVERT: dict[FileFormat, Convert] = {
    FileFormat.CSV: fromcsv.convert,
    FileFormat.PARQUET: fromparquet.convert,
    FileFormat.JSONL: fromjsonl.convert,
    FileFormat.XLSX: fromxlsx.convert,
}
_SAMPLE = 2**18
_LIMITS = Limits()
_OPTIONS = ReadOptions()


def ingest(
    source: Path, target: Path, *, limits: Limits = _LIMITS, progress: Progress = no_progress, options: ReadOptions = _OPTIONS
) -> Ingested:
    """Read the file at ``source`` and write a Parquet file (zstd) at ``target``, which is there whole or not at all.

    What the file is, is told from its content, as far as the options do not say. CSV and JSON lines may come in gzip, zstd, bzip2, xz, or
    alone in a ZIP archive, and in any encoding: UTF-8 is tried first, and another taken only where it alone makes words of the text.

    Types come from every row, not from the first few; see ``narrow`` for the rules, ``values`` for those of JSON lines and workbooks. In
    CSV, empty fields and ``?``, ``NA``, ``N/A``, ``NULL``, ``NaN`` are missing values, blank lines are no rows. NaN is a missing value in
    every format, and infinity is kept as a number. Times with a zone are stored in UTC; a column
    that has some with and some without is text.

    Raises a TableError that names the column, the line or the byte; no error holds a value of a row.
    """
    file = examine(source, options)
    convert, report = _CONVERT[file.format], _rising(progress)
    with partial(target) as path:
        try:
            result = convert(file, path, limits, report, options)
        except EncodingUnknown as error:
            if options.encoding is not None or file.encoding != UTF_8:
                raise
            result = convert(replace(file, encoding=_guessed(file, error)), path, limits, report, options)
    report(1.0)
    return result


def _rising(progress: Progress) -> Progress:
    """Reading a file once more, on what the first time has shown, is no step back."""
    best = 0.0

    def report(share: float) -> None:
        nonlocal best
        best = max(best, share)
        progress(best)

    return report


def _guessed(source: Source, error: EncodingUnknown) -> str:
    """The encoding of a text that is not UTF-8 after all, judged from where that was noticed."""
    offset = int(str(error.fields["offset"]))
    try:
        return guess(_sample(source, max(0, offset - _SAMPLE // 8)))
    except EncodingUnknown as unsure:
        raise EncodingUnknown(f"{str(error).partition(':')[0]}: {unsure}", **{**error.fields, **unsure.fields}) from None


def _sample(source: Source, begin: int) -> bytes:
    """Whole lines of the file's content, from the first that begins after an offset."""
    with plain(source) as file:
        left = begin
        while left > 0 and (skipped := file.read(min(left, 1 << 20))):
            left -= len(skipped)
        parts: list[bytes] = []
        while sum(map(len, parts)) < _SAMPLE and (chunk := file.read(_SAMPLE)):
            parts.append(chunk)
    sample = b"".join(parts)
    return sample.partition(b"\n")[2] if begin else sample
