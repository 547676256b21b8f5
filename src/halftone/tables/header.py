"""The first line of a CSV file: what separates fields, and what the columns are called."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from halftone.tables.errors import (
    ColumnDuplicate,
    ColumnNameTooLong,
    ColumnUnnamed,
    FileEmpty,
    HeaderTooLong,
    TooManyColumns,
)
from halftone.tables.limits import Limits
from halftone.tables.options import ReadOptions
from halftone.tables.source import Source, plain
from halftone.tables.text import CheckedText

if TYPE_CHECKING:
    from _csv import Reader as CsvRecords

DELIMITERS = ",;\t|"
_APOSTROPHES = re.compile(r"(^|[,;\t|])'[^']*'($|[,;\t|])")
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Header:
    """How a CSV file is laid out."""

    delimiter: str
    quote: str
    """'' if nothing is quoted."""
    names: tuple[str, ...]
    named: bool
    """Whether the names are in the file, as its first row."""

    def reader(self, lines: Iterable[str]) -> CsvRecords:
        """Read records one by one, as the fast reader would."""
        return _csv_reader(lines, self.delimiter, self.quote)


def read_header(source: Source, limits: Limits, options: ReadOptions) -> Header:
    """Find the delimiter, the quote and the column names. Spaces around a name are no part of it. Raises a TableError."""
    text, cut = _head(source, limits)
    if not text.strip():
        raise FileEmpty("the file holds nothing but blank lines: a header line and at least one row are needed")
    quote = _quote(text) if options.quote is None else options.quote
    delimiters = options.delimiter or DELIMITERS
    found = {delimiter: _records(text, delimiter, quote) for delimiter in delimiters}
    delimiter = _likeliest(found)
    records = found[delimiter]
    if not records or (len(records) == 1 and cut):
        raise HeaderTooLong(f"the header line is longer than {limits.row_bytes:,} bytes: the first line must name the columns")
    names = tuple(name.strip() for name in records[0]) if options.header else numbered(len(records[0]))
    check_names(names, limits)
    return Header(delimiter, quote, names, options.header)


def numbered(count: int) -> tuple[str, ...]:
    """Names for columns that have none."""
    return tuple(f"column_{n}" for n in range(1, count + 1))


def _quote(text: str) -> str:
    """Apostrophes quote where a field of the first line is wrapped in them and the double quote does not occur."""
    return "'" if '"' not in text and _APOSTROPHES.search(text.lstrip().splitlines()[0]) else '"'


def _head(source: Source, limits: Limits) -> tuple[str, bool]:
    """The start of the file, as far as a header may reach, and whether it goes on beyond that."""
    parts: list[bytes] = []
    with plain(source) as file:
        stream = CheckedText(file, most=limits.data_bytes, encoding=source.encoding)
        while stream.bytes <= limits.row_bytes and (chunk := stream.read(1 << 16)):
            parts.append(chunk)
            if chunk.count(b"\n") > 1 and not any(quote in chunk for quote in (b'"', b"'")):
                return _text(parts), False
    return _text(parts), stream.bytes > limits.row_bytes


def _text(parts: list[bytes]) -> str:
    # The last character may be cut in two; that all of it is UTF-8 was checked on the way.
    return b"".join(parts).decode(errors="ignore")


def _csv_reader(lines: Iterable[str], delimiter: str, quote: str) -> CsvRecords:
    if quote:
        return csv.reader(lines, delimiter=delimiter, quotechar=quote)
    return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)


def _records(text: str, delimiter: str, quote: str) -> list[list[str]]:
    """The first two records that are not blank, as far as they can be read: a field may be longer than the csv module takes."""
    records: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        for record in _csv_reader(io.StringIO(text, newline=""), delimiter, quote):
            if record:
                records.append(record)
            if len(records) == 2:
                break
    return records


def _likeliest(found: dict[str, list[list[str]]]) -> str:
    """The delimiter that splits the header, best into as many fields as the first row, then into most; a comma if none does."""

    def score(delimiter: str) -> tuple[bool, bool, int]:
        widths = [len(record) for record in found[delimiter]] or [0]
        splits, agrees = widths[0] > 1, len(widths) == 2 and widths[0] == widths[1]
        return splits, agrees, widths[0]

    return max(found, key=score)


def check_names(names: Sequence[str], limits: Limits) -> None:
    """Refuse names that are missing, too long or twice there, and too many of them.

    Raises TooManyColumns, ColumnUnnamed, ColumnNameTooLong or ColumnDuplicate.
    """
    if len(names) > limits.columns:
        raise TooManyColumns(
            f"the table has {len(names):,} columns; {limits.columns:,} is the most", columns=len(names), limit=limits.columns
        )
    unnamed = [n for n, name in enumerate(names, 1) if not name]
    if unnamed:
        raise ColumnUnnamed(
            f"{_listing('column', unnamed)} of {len(names):,} without a name: the first line must name every column "
            "(a row index at the left is best left out)",
            positions=tuple(unnamed),
        )
    long = [n for n, name in enumerate(names, 1) if len(name) > limits.name_characters]
    if long:
        raise ColumnNameTooLong(f"{_listing('column', long)}: a name may have {limits.name_characters} characters", positions=tuple(long))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ColumnDuplicate(f"{_listing('column name', twice)} more than once: names must differ", columns=tuple(twice))


def _listing(noun: str, items: Sequence[int | str]) -> str:
    shown = ", ".join(repr(item) for item in items[:_SHOWN])
    more = f" and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
    return f"{noun}{'s' if len(items) > 1 else ''} {shown}{more}"
