"""CSV files that are sound become the table that their author meant."""

from __future__ import annotations

import datetime as dt
import gzip
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from contracts.schema import ColumnType
from halftone.tables.ingest import ingest
from halftone.tables.limits import Limits


def read(tmp_path: Path, content: bytes | str, **limits: int) -> dict[str, list[Any]]:
    source, target = tmp_path / "in", tmp_path / "out.parquet"
    source.write_bytes(content.encode() if isinstance(content, str) else content)
    ingest(source, target, limits=Limits(**limits))
    columns: dict[str, list[Any]] = pq.read_table(target).to_pydict()
    return columns


def types(tmp_path: Path, content: str, **limits: int) -> dict[str, str]:
    source = tmp_path / "in"
    source.write_text(content)
    return {name: str(type_) for name, type_ in ingest(source, tmp_path / "out.parquet", limits=Limits(**limits)).columns}


def test_each_type_is_recognised(tmp_path: Path) -> None:
    """Every type of the contract that CSV can show is found, with its values intact."""
    content = (
        "i,n,b,d,t,z,c,s\n"
        "1,1.5,true,2024-02-29,2024-02-29T12:00:00.5,2024-02-29T12:00:00+02:00,12:30,x\n"
        "-2,-3e5,FALSE,1900-01-01,2024-02-29 12:00:00,2024-02-29T12:00:00Z,23:59:59.25,y\n"
    )
    assert read(tmp_path, content) == {
        "i": [1, -2],
        "n": [1.5, -3e5],
        "b": [True, False],
        "d": [dt.date(2024, 2, 29), dt.date(1900, 1, 1)],
        "t": [dt.datetime.fromisoformat("2024-02-29T12:00:00.5"), dt.datetime.fromisoformat("2024-02-29T12:00:00")],
        "z": [dt.datetime(2024, 2, 29, 10, tzinfo=dt.UTC), dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)],
        "c": [dt.time(12, 30), dt.time(23, 59, 59, 250000)],
        "s": ["x", "y"],
    }


@pytest.mark.parametrize(
    "values",
    [
        ["007", "12"],
        ["1.5", "007"],
        ["00.5", "1"],
        ["9223372036854775808", "1"],
        ["9007199254740993", "1.5"],
        ["0x1F", "1"],
        ["1e400", "1"],
        ["1,5", "2"],
        ["12", "12:30"],
        ["true", "1"],
        ["yes", "no"],
        ["2024-02-30", "2024-02-01"],
        ["02/03/2024", "03/04/2024"],
        ["24:00", "12:00"],
        ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00"],
        ["1", "one"],
    ],
)
def test_what_no_type_holds_exactly_stays_text(tmp_path: Path, values: list[str]) -> None:
    """A value that would be changed by reading it as a number, truth, date or time keeps its column text, as it was written."""
    assert read(tmp_path, "a;b\n" + "".join(f"{value};x\n" for value in values))["a"] == values


def test_whole_numbers_mix_with_decimals(tmp_path: Path) -> None:
    """A column of whole numbers and decimals holds numbers."""
    assert read(tmp_path, "a,b\n1,x\n2.5,x\ninf,x\n")["a"] == [1.0, 2.5, math.inf]


@pytest.mark.parametrize("infinite", ["inf", "-inf", "Infinity", "-Infinity"])
def test_infinity_is_a_number_and_no_missing_value(tmp_path: Path, infinite: str) -> None:
    """NaN says that nothing is known, and is missing (below); infinity is kept, for the schema's bounds to deal with."""
    assert read(tmp_path, f"a,b\n1.5,x\n{infinite},x\nnan,x\n")["a"] == [1.5, float(infinite), None]


def test_the_last_row_decides_as_much_as_the_first(tmp_path: Path) -> None:
    """A value far beyond the first block widens its column's type, and nothing written before is lost or changed."""
    rows = 5_000
    body = "".join(f"{n},{n},{n},\n" for n in range(rows))
    table = read(tmp_path, f"i,n,s,late\n{body}7,7.5,x,9\n", row_bytes=4096)
    assert table["i"] == [*range(rows), 7]
    assert table["n"] == [*map(float, range(rows)), 7.5]
    assert table["s"] == [*map(str, range(rows)), "x"]
    assert table["late"] == [None] * rows + [9]


def test_a_large_number_seen_early_is_not_rounded_later(tmp_path: Path) -> None:
    """A whole number that a double cannot hold keeps the column from becoming numbers, even blocks later."""
    body = "9007199254740993\n" + "1\n" * 5_000 + "1.5\n"
    assert read(tmp_path, f"a\n{body}", row_bytes=1024)["a"][0] == "9007199254740993"


@pytest.mark.parametrize("marker", ["", "?", "NA", "N/A", "NULL", "NaN", " ?", " ", '""', '"NA"'])
def test_missing_markers(tmp_path: Path, marker: str) -> None:
    """Each marker is a missing value and leaves the column's type alone."""
    assert read(tmp_path, f"a,b\n1,x\n{marker},y\n") == {"a": [1, None], "b": ["x", "y"]}


def test_a_column_without_values_is_text(tmp_path: Path) -> None:
    """Nothing is guessed of a column in which everything is missing."""
    assert types(tmp_path, "a,b\n,1\n?,2\n")["a"] == ColumnType.TEXT


def test_blanks_around_numbers_do_not_matter_and_text_keeps_them(tmp_path: Path) -> None:
    """Files that put a blank after each comma read well; names are trimmed; text stays as it is."""
    assert read(tmp_path, "a, b, c\n1, 2, x\n 3 , 4.5, y\n") == {"a": [1, 3], "b": [2.0, 4.5], "c": [" x", " y"]}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    """The delimiter is found in the header, and other candidates inside values do not matter."""
    others = "".join(other for other in ",;|" if other != delimiter)
    assert read(tmp_path, f"a{delimiter}b\n1{delimiter}x{others}y\n") == {"a": [1], "b": [f"x{others}y"]}


def test_a_single_column_may_hold_commas_when_quoted(tmp_path: Path) -> None:
    """One column without any delimiter is a table too."""
    assert read(tmp_path, 'name\n"Doe, Jane"\nRoe\n') == {"name": ["Doe, Jane", "Roe"]}


def test_quotes_hold_delimiters_quotes_and_line_breaks(tmp_path: Path) -> None:
    """RFC 4180: what is quoted is one field, wherever a block of the file ends; a quote inside an unquoted field is itself."""
    rows = "".join(f'{n},"line\n""{n}"", end"\n' for n in range(500))
    table = read(tmp_path, f'"i\nd",text\n{rows}500,5" pipe\n', row_bytes=256)
    assert table["i\nd"] == list(range(501))
    assert table["text"] == [*(f'line\n"{n}", end' for n in range(500)), '5" pipe']


@pytest.mark.parametrize(
    "content", ["a,b\r\n1,x\r\n2,y\r\n", "a,b\r1,x\r2,y", "\n\na,b\n\n1,x\n\n2,y", "\ufeffa,b\n1,x\n2,y\n", "\ufeff\r\na,b\n1,x\n2,y"]
)
def test_line_ends_blank_lines_and_byte_order_mark(tmp_path: Path, content: str) -> None:
    """Every line end is one, blank lines are none, and a byte order mark is no part of the first name."""
    assert read(tmp_path, content.encode()) == {"a": [1, 2], "b": ["x", "y"]}


def test_gzip_in_one_or_more_members(tmp_path: Path) -> None:
    """A compressed file is read whole, also one that was put together from several."""
    content = gzip.compress(b"a,b\n1,x\n", mtime=0) + gzip.compress(b"2,y\n", mtime=0)
    assert read(tmp_path, content) == {"a": [1, 2], "b": ["x", "y"]}


def test_text_outside_ascii_survives_any_block_boundary(tmp_path: Path) -> None:
    """Characters of several bytes are not broken where a block ends."""
    words = ["żółć", "naïve", "日本語", "🎈"] * 300
    assert read(tmp_path, "w,n\n" + "".join(f"{word},1\n" for word in words), row_bytes=101)["w"] == words


def test_what_was_done_is_told(tmp_path: Path) -> None:
    """The result counts rows and bytes and says how the file was laid out; progress ends at one and never falls."""
    source = tmp_path / "in"
    plain = b"a;b\n" + b"1;x\n" * 10_000
    source.write_bytes(gzip.compress(plain))
    seen: list[float] = []
    result = ingest(source, tmp_path / "out.parquet", limits=Limits(row_bytes=4096), progress=seen.append)
    assert (result.rows, result.data_bytes, result.delimiter, result.compressed) == (10_000, len(plain), ";", True)
    assert result.columns == (("a", ColumnType.INTEGER), ("b", ColumnType.TEXT))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_stopped_ingest_leaves_nothing(tmp_path: Path) -> None:
    """Raising from progress stops the work, and neither target nor a part of it stays."""
    source, target = tmp_path / "in", tmp_path / "out.parquet"
    source.write_bytes(b"a,b\n" + b"1,x\n" * 10_000)

    def stop(_share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        ingest(source, target, limits=Limits(row_bytes=4096), progress=stop)
    assert list(tmp_path.iterdir()) == [source]
