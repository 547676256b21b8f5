"""Excel workbooks become the table that a person sees in them, or are refused with the row."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import xlsxwriter

from halftone.tables import errors
from halftone.tables.ingest import ingest
from halftone.tables.limits import Ingested, Limits
from halftone.tables.options import ReadOptions

Fill = Callable[[Any, Any], None]


def workbook(fill: Fill, sheets: tuple[str, ...] = ("data",)) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        for name in sheets:
            fill(book, book.add_worksheet(name))
    return out.getvalue()


def rows(*values: list[Any]) -> Fill:
    def fill(book: Any, sheet: Any) -> None:
        day, time, moment = (book.add_format({"num_format": form}) for form in ("yyyy-mm-dd", "hh:mm:ss", "yyyy-mm-dd hh:mm"))
        for r, row in enumerate(values):
            for c, value in enumerate(row):
                form = {dt.date: day, dt.time: time, dt.datetime: moment}.get(type(value))
                sheet.write(r, c, value, *([form] if form else []))

    return fill


def read(tmp_path: Path, content: bytes, limits: Limits | None = None, **options: Any) -> tuple[Ingested, dict[str, list[Any]]]:
    source, target = tmp_path / "in", tmp_path / "out.parquet"
    source.write_bytes(content)
    result = ingest(source, target, limits=limits or Limits(), options=ReadOptions(**options))
    columns: dict[str, list[Any]] = pq.read_table(target).to_pydict()
    return result, columns


def test_each_type_of_cell(tmp_path: Path) -> None:
    """Whole and other numbers, text, truths, dates, times and moments come back; empty cells are missing, empty rows are none."""
    day, time, moment = dt.date(2024, 2, 29), dt.time(1, 2, 3), dt.datetime.fromisoformat("2024-02-29T12:30:00")
    content = workbook(
        rows(list("intbdhmx"), [1, 1.5, "x", True, day, time, moment, 1], [], [2, None, "007", False, day, time, moment, "one"])
    )
    result, table = read(tmp_path, content)
    assert (result.source_format, result.sheet, result.rows) == ("xlsx", "data", 2)
    assert table == {
        "i": [1, 2],
        "n": [1.5, None],
        "t": ["x", "007"],
        "b": [True, False],
        "d": [day, day],
        "h": [time, time],
        "m": [moment, moment],
        "x": ["1", "one"],
    }


def test_errors_in_cells_are_missing(tmp_path: Path) -> None:
    """A formula counts by its result, and #DIV/0! is none."""

    def fill(_book: Any, sheet: Any) -> None:
        sheet.write_row(0, 0, ["a", "b"])
        sheet.write_formula(1, 0, "=1/0", None, "#DIV/0!")
        sheet.write_formula(1, 1, "=1+1", None, 2)

    assert read(tmp_path, workbook(fill))[1] == {"a": [None], "b": [2]}


def test_the_table_need_not_begin_in_the_corner(tmp_path: Path) -> None:
    """Empty rows above and empty columns at the left are no part of it."""

    def fill(_book: Any, sheet: Any) -> None:
        sheet.write_row(3, 2, ["a", "b"])
        sheet.write_row(4, 2, [1, 2])

    assert read(tmp_path, workbook(fill))[1] == {"a": [1], "b": [2]}


def test_more_rows_than_a_block(tmp_path: Path) -> None:
    """A value that is of another type in the last row widens the column."""
    table = read(tmp_path, workbook(rows(["a", "b"], *([n, n] for n in range(9000)), [0.5, "x"])))[1]
    assert table["a"] == [*map(float, range(9000)), 0.5]
    assert table["b"] == [*map(str, range(9000)), "x"]


def test_a_sheet_is_named_where_there_are_several(tmp_path: Path) -> None:
    """The only sheet is read; of several, one has to be named, and the error lists them."""
    content = workbook(rows(["a"], [1]), ("first", "second"))
    assert read(tmp_path, content, sheet="second")[0].sheet == "second"
    with pytest.raises(errors.SheetAmbiguous) as ambiguous:
        read(tmp_path, content)
    with pytest.raises(errors.SheetUnknown) as unknown:
        read(tmp_path, content, sheet="third")
    assert ambiguous.value.fields["sheets"] == unknown.value.fields["sheets"] == ("first", "second")


def test_a_merged_header_is_refused(tmp_path: Path) -> None:
    """A name over two columns names neither; the row is told."""

    def fill(_book: Any, sheet: Any) -> None:
        sheet.merge_range(1, 0, 1, 1, "both")
        sheet.write_row(2, 0, [1, 2])

    with pytest.raises(errors.HeaderMerged) as caught:
        read(tmp_path, workbook(fill))
    assert caught.value.fields == {"line": 2, "positions": (1,)}


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([["a", None, "c"], [1, 2, 3]], "column-unnamed"),
        ([["a", "a"], [1, 2]], "column-duplicate"),
        ([["a"]], "file-empty"),
        ([[]], "file-empty"),
    ],
)
def test_headers_that_are_not_sound(tmp_path: Path, values: list[list[Any]], code: str) -> None:
    """Names must be there and differ, and rows must follow."""
    with pytest.raises(errors.TableError) as caught:
        read(tmp_path, workbook(rows(*values)))
    assert caught.value.code == code


def test_a_workbook_that_unpacks_to_more_than_is_allowed(tmp_path: Path) -> None:
    """A workbook is a ZIP archive: what it says that it unpacks to is added up before anything of it is unpacked."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook(rows(["a"], ["x"])))) as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name).replace(b">x<", b">" + b"x" * 5_000_000 + b"<"))
    assert len(packed.getvalue()) < 50_000
    source = tmp_path / "bomb.xlsx"
    source.write_bytes(packed.getvalue())
    with pytest.raises(errors.FileTooLarge) as caught:
        ingest(source, tmp_path / "out.parquet", limits=Limits(data_bytes=1_000_000))
    assert caught.value.fields == {"limit": 1_000_000}
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.xlsx"]


def test_a_sheet_without_header(tmp_path: Path) -> None:
    """Columns are numbered if the first row is a row."""
    assert read(tmp_path, workbook(rows([1, "x"])), header=False)[1] == {"column_1": [1], "column_2": ["x"]}


def test_two_cells_far_apart_are_stopped_before_they_are_loaded(tmp_path: Path) -> None:
    """A few hundred bytes can name a rectangle of 17 billion cells."""

    def fill(_book: Any, sheet: Any) -> None:
        sheet.write(0, 0, "a")
        sheet.write(1_048_575, 16_383, 1)

    with pytest.raises(errors.FileTooLarge, match="1,048,576 rows and 16,384 columns"):
        read(tmp_path, workbook(fill))


def test_a_workbook_that_unpacks_to_too_much(tmp_path: Path) -> None:
    """What is packed in a workbook counts in full, whatever size the archive declares."""
    content = io.BytesIO(workbook(rows(["a"], [1])))
    with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/big.bin", bytes(3_000_000))
    lying = content.getvalue().replace((3_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    for packed in (content.getvalue(), lying):
        with pytest.raises(errors.FileTooLarge):
            read(tmp_path, packed, Limits(data_bytes=1_000_000))


def test_truncated_and_damaged_workbooks(tmp_path: Path) -> None:
    """A file that was cut off, or changed on the way, is said to be."""
    content = workbook(rows(["a"], *([n] for n in range(500))))
    with pytest.raises(errors.FileTruncated):
        read(tmp_path, content[:-40])
    begin = content.index(b"xl/worksheets/sheet1.xml") + 24
    damaged = content[:begin] + bytes(byte ^ 255 for byte in content[begin : begin + 200]) + content[begin + 200 :]
    with pytest.raises(errors.FileDamaged):
        read(tmp_path, damaged)


def test_an_office_document_that_is_no_workbook(tmp_path: Path) -> None:
    """A text document has no sheets."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("word/document.xml", "<x/>")
    with pytest.raises(errors.FileBinary, match="xlsx"):
        read(tmp_path, out.getvalue())
