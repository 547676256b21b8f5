"""Why a table cannot be taken in: one class per cause, with a stable code.

No message ever holds a row's value: a column, a line, a count or a type says where to look.
"""

from __future__ import annotations

import inspect
from typing import ClassVar


class TableError(ValueError):
    """The table cannot be used."""

    code: ClassVar[str] = "table-invalid"

    def __init__(self, message: str | None = None, /, **fields: int | str | tuple[int | str, ...]) -> None:
        """Say what is wrong and what would be right; the class's docstring says so by default.

        ``fields`` is what a program needs to act on the error: JSON-able, and kept when the error crosses a process boundary.
        """
        super().__init__(message or inspect.cleandoc(self.__doc__ or ""))
        self.fields = fields


class FileEmpty(TableError):
    """The file holds no rows: a header line and at least one row are needed."""

    code = "file-empty"


class FileBinary(TableError):
    """The file is not a table: CSV, JSON lines (plain or compressed), Parquet or an Excel workbook (.xlsx) is needed."""

    code = "file-binary"


class FileTruncated(TableError):
    """The file ends too early: upload it again."""

    code = "file-truncated"


class FileDamaged(TableError):
    """The file cannot be decoded: write and upload it again."""

    code = "file-damaged"


class FileTooLarge(TableError):
    """The file holds more data than is allowed: upload it in parts."""

    code = "file-too-large"


class EncodingUnknown(TableError):
    """The file is not UTF-8, and its encoding cannot be told: name it, or save the file as UTF-8."""

    code = "encoding-unknown"


class FormatMismatch(TableError):
    """The file is not of the format that was given: leave the format out, or name the right one."""

    code = "format-mismatch"


class OptionInvalid(TableError):
    """An option of reading makes no sense: leave it out to have it detected."""

    code = "option-invalid"


class ArchiveMembers(TableError):
    """The ZIP archive does not hold exactly one file: put the table in it and nothing else."""

    code = "archive-members"


class HeaderTooLong(TableError):
    """The header line does not end: the first line must name the columns."""

    code = "header-too-long"


class ColumnUnnamed(TableError):
    """A column has no name: the first line must name every column."""

    code = "column-unnamed"


class ColumnDuplicate(TableError):
    """Two columns have the same name: names must differ."""

    code = "column-duplicate"


class ColumnNameTooLong(TableError):
    """A column's name is too long: 256 characters is the most."""

    code = "column-name-too-long"


class TooManyColumns(TableError):
    """The table has more columns than are allowed."""

    code = "too-many-columns"


class TooManyRows(TableError):
    """The table has more rows than are allowed."""

    code = "too-many-rows"


class RowRagged(TableError):
    """A row has more or fewer fields than the header: each row must have one field per column."""

    code = "row-ragged"


class RowTooLong(TableError):
    """A row is longer than is allowed; a quote that is never closed is the usual cause."""

    code = "row-too-long"


class QuoteOpen(TableError):
    """The file ends inside a quoted field: close the quote, or upload the whole file."""

    code = "quote-open"


class LineNotObject(TableError):
    """A line is not one JSON object: each line must hold one, such as {"a": 1, "b": null}."""

    code = "line-not-object"


class ValueNested(TableError):
    """A JSON value is an object or an array: give each of its parts a key of its own."""

    code = "value-nested"


class SheetUnknown(TableError):
    """The workbook has no such sheet."""

    code = "sheet-unknown"


class SheetAmbiguous(TableError):
    """The workbook has several sheets: name one."""

    code = "sheet-ambiguous"


class HeaderMerged(TableError):
    """A cell of the header is merged with others: each column needs a cell of its own with its name."""

    code = "header-merged"


class ExportTooLarge(TableError):
    """The table has more rows or columns than the format can hold: choose another format."""

    code = "export-too-large"


class ColumnTypeUnsupported(TableError):
    """A column holds values of a kind that a table cannot have: numbers, booleans, text, dates and times can be used."""

    code = "column-type-unsupported"


class StatementRefused(TableError):
    """The query is not one SELECT statement."""

    code = "query-not-select"


class SchemaColumnAbsent(TableError):
    """The declared schema names a column that the table does not have."""

    code = "schema-column-absent"


class SchemaColumnUndeclared(TableError):
    """The table has a column that the declared schema does not name: declare every column."""

    code = "schema-column-undeclared"


class SchemaTypeMismatch(TableError):
    """A column is declared with a type that its values do not have."""

    code = "schema-type-mismatch"


class SchemaBoundInvalid(TableError):
    """A declared bound is not a value of its column's type."""

    code = "schema-bound-invalid"
