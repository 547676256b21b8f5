"""How a file is to be read, where its sender knows better than we can tell."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import StrEnum

from halftone.tables.errors import EncodingUnknown, OptionInvalid


class FileFormat(StrEnum):
    """What a file can be."""

    AUTO = "auto"
    CSV = "csv"
    PARQUET = "parquet"
    JSONL = "jsonl"
    XLSX = "xlsx"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What is known of a file; what is None is detected. Raises OptionInvalid or EncodingUnknown for what makes no sense."""

    format: FileFormat = FileFormat.AUTO
    delimiter: str | None = None
    """One ASCII character between the fields of a CSV."""
    quote: str | None = None
    """One ASCII character around fields of a CSV; '' if none is."""
    encoding: str | None = None
    """Python's name of a text file's encoding, such as 'cp1252'."""
    sheet: str | None = None
    """Name of a workbook's sheet."""
    header: bool = True
    """Whether the first row names the columns; if not, they are called column_1, column_2 and so on. For CSV and workbooks."""

    def __post_init__(self) -> None:
        if self.format not in set(FileFormat):
            raise OptionInvalid(f"no format is called {self.format!r}: give one of {', '.join(FileFormat)}", option="format")
        if self.delimiter is not None:
            _check_character("delimiter", self.delimiter)
        if self.quote:
            _check_character("quote", self.quote)
        if self.quote and self.quote == self.delimiter:
            raise OptionInvalid("delimiter and quote are the same character", option="quote")
        if self.encoding is not None:
            _check_encoding(self.encoding)


def _check_character(option: str, value: str) -> None:
    if len(value) != 1 or not value.isascii() or value in "\r\n\0":
        raise OptionInvalid(f"the {option} must be one ASCII character other than a line break", option=option)


def _check_encoding(name: str) -> None:
    try:
        with contextlib.suppress(UnicodeError):  # half a character of a wide encoding
            b"a".decode(name)  # raises for what is a codec and no encoding of text, such as rot13
    except LookupError:
        raise EncodingUnknown(f"no encoding is called {name!r}: give a name such as utf-8, utf-16 or cp1252", encoding=name) from None
