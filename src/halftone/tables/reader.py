"""CSV in blocks of text columns, as far as the file is sound; an error with a line where it is not."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Never, cast

import pyarrow as pa
import pyarrow.csv

from halftone.tables.ahead import ahead
from halftone.tables.errors import FileDamaged, QuoteOpen, RowRagged, RowTooLong, TableError
from halftone.tables.header import Header
from halftone.tables.limits import Limits
from halftone.tables.source import Source, plain
from halftone.tables.text import UTF_8, CheckedText

_MARKERS = ("", "?", "NA", "N/A", "NULL", "null", "NaN", "nan", "NAN", "-nan", "-NaN")
MISSING = tuple(dict.fromkeys(f"{before}{marker}{after}" for marker in _MARKERS for before in ("", " ") for after in ("", " ")))
"""What stands for a missing value in a CSV file, quoted or not, also with one blank before or after it."""
_END = "halftone:end-of-file"


@dataclass
class _Ragged:
    """The first row with too many or too few fields, as the parser met it."""

    fields: int | None = None
    at_end: bool = False

    def __call__(self, row: pyarrow.csv.InvalidRow) -> str:
        if self.fields is None:
            self.fields, self.at_end = row.actual_columns, _END in row.text
        return "error"


@dataclass
class CsvReader:
    """Reads one CSV file. A row's values never reach an error message."""

    source: Source
    header: Header
    limits: Limits
    data_bytes: int = 0
    """Decompressed bytes read so far."""
    _ragged: _Ragged = field(default_factory=_Ragged)

    def batches(self, read_to: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, every column as text. ``read_to`` hears of the position in the file on disk.

        Raises a TableError: RowRagged, RowTooLong, QuoteOpen, EncodingUnknown, FileBinary, FileTooLarge, FileTruncated, FileDamaged.
        """
        ending = f"\n{self.header.delimiter.join([_END] * len(self.header.names))}\n".encode()
        with plain(self.source) as file:
            stream = CheckedText(file, most=self.limits.data_bytes, encoding=self.source.encoding, ending=ending)
            with self._explained(stream):
                held: pa.RecordBatch | None = None
                for batch in ahead(self._open(stream)):
                    self.data_bytes = stream.bytes
                    read_to(file.position)
                    if held is not None:
                        yield held
                    held = batch if batch.num_rows else held
                yield self._without_end(held)

    def _open(self, stream: CheckedText) -> pyarrow.csv.CSVStreamingReader:
        header = self.header
        return pyarrow.csv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=pyarrow.csv.ReadOptions(
                column_names=header.names, skip_rows_after_names=int(header.named), block_size=self.limits.row_bytes
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=header.delimiter,
                quote_char=header.quote or False,
                newlines_in_values=True,
                invalid_row_handler=self._ragged,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(header.names, pa.string()), strings_can_be_null=True, null_values=MISSING, check_utf8=False
            ),
        )

    def _without_end(self, last: pa.RecordBatch | None) -> pa.RecordBatch:
        if last is None or any(column[-1].as_py() != _END for column in last.columns):
            raise _open_quote()
        return last.slice(0, last.num_rows - 1)

    @contextlib.contextmanager
    def _explained(self, stream: CheckedText) -> Iterator[None]:
        try:
            yield
        except pa.ArrowInvalid as error:
            if stream.failure is not None:
                raise stream.failure from None
            self._explain(error)

    def _explain(self, error: Exception) -> Never:
        """Say what the parser met. Its own message quotes the row, so nothing of it is passed on."""
        if self._ragged.at_end:
            raise _open_quote() from None
        expected, found = len(self.header.names), self._ragged.fields
        if found is not None:
            line = self._line(lambda record: len(record) != expected)
            raise RowRagged(
                f"line {line:,} has {found:,} fields and the header has {expected:,}: each row must have one field per column "
                "(a field that holds the delimiter, a quote or a line break must be quoted)",
                line=line,
                expected=expected,
                found=found,
            ) from None
        if "straddling" in str(error):
            limit = self.limits.row_bytes
            # Half, since quotes within a field are doubled in the file.
            line = self._line(lambda record: len("".join(record).encode()) > limit // 2)
            raise RowTooLong(
                f"the row at line {line:,}, or one soon after, exceeds {limit:,} bytes; a quote that is never closed is the usual cause",
                line=line,
                limit=limit,
            ) from None
        raise FileDamaged("the file cannot be read as CSV: write and upload it again") from None

    def _line(self, wrong: Callable[[list[str]], bool]) -> int:
        """The line at which the first wrong record begins: read slowly, since a quoted field may hold line breaks."""
        line = 1
        with plain(self.source) as file, _fields_up_to(self.limits.row_bytes):
            encoding = "utf-8-sig" if self.source.encoding == UTF_8 else self.source.encoding
            records = self.header.reader(io.TextIOWrapper(cast("BinaryIO", file), encoding, "replace", newline=""))
            try:
                for record in records:
                    if record and wrong(record):
                        break
                    line = records.line_num + 1
            except (csv.Error, TableError):
                return line
        return line


@contextlib.contextmanager
def _fields_up_to(characters: int) -> Iterator[None]:
    """Let the csv module read long fields, for the time being: its limit is one per process."""
    before = csv.field_size_limit(characters)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _open_quote() -> QuoteOpen:
    return QuoteOpen("the file ends inside a quoted field: close the quote, or upload the whole file")
