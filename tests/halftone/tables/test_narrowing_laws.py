"""Laws of reading: whatever typed values are written as CSV, the same values are stored."""

from __future__ import annotations

import csv
import datetime as dt
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftone.tables.ingest import ingest
from halftone.tables.limits import Limits
from halftone.tables.narrow import Narrowing
from halftone.tables.reader import MISSING

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(lambda text: text not in MISSING)
KINDS: dict[str, tuple[st.SearchStrategy[Any], pa.DataType]] = {
    "integer": (st.integers(-(2**63), 2**63 - 1), pa.int64()),
    "number": (st.floats(allow_nan=False).map(lambda x: x or 0.0), pa.float64()),
    "boolean": (st.booleans(), pa.bool_()),
    "date": (st.dates(), pa.date32()),
    "datetime": (st.datetimes(), pa.timestamp("us")),
    "time": (st.times(), pa.time64("us")),
    "text": (TEXT.map("x{}".format), pa.string()),
}


def write(rows: list[list[Any]]) -> bytes:
    """As any program would: repr of numbers, ISO 8601 of dates, nothing for None."""
    out = io.StringIO(newline="")
    lines = csv.writer(out)
    for row in rows:
        lines.writerow([value.isoformat() if isinstance(value, dt.date | dt.time) else value for value in row])
    return out.getvalue().encode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("laws")


def stored(place: Path, content: bytes, **limits: int) -> pa.Table:
    (place / "in").write_bytes(content)
    ingest(place / "in", place / "out", limits=Limits(**limits))
    return pq.read_table(place / "out")


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[Any]]]:
    """Column kinds, and rows of such values with some missing."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
    row = st.tuples(*(st.none() | KINDS[kind][0] for kind in kinds)).map(list)
    return kinds, draw(st.lists(row, min_size=1, max_size=12))


@given(tables())
@settings(max_examples=80, deadline=None)
def test_any_table_of_typed_values_comes_back_equal(place: Path, table: tuple[list[str], list[list[Any]]]) -> None:
    """Values survive the way through CSV whatever their type, and columns get the type of their values."""
    kinds, rows = table
    names = ["n", *(f"c{i}" for i in range(len(kinds)))]
    back = stored(place, write([names, *([n, *row] for n, row in enumerate(rows))]), row_bytes=512)
    for i, kind in enumerate(kinds):
        values = [row[i] for row in rows]
        assert back[f"c{i}"].to_pylist() == values
        narrower_is_right = kind == "number" or all(value is None for value in values)
        assert narrower_is_right or back[f"c{i}"].type == KINDS[kind][1]


@given(st.lists(TEXT, min_size=1, max_size=12))
@settings(max_examples=80, deadline=None)
def test_any_text_comes_back_equal_or_as_what_it_says(place: Path, values: list[str]) -> None:
    """Text of any characters is kept to the letter; if it was read as something else, that has the same meaning in writing."""
    back = stored(place, write([["n", "t"], *([n, value] for n, value in enumerate(values))]))["t"]
    if back.type == pa.string():
        assert back.to_pylist() == values
    elif back.type == pa.int64():
        assert [str(value) for value in back.to_pylist()] == [value.strip() for value in values]
    elif back.type == pa.float64():
        assert back.to_pylist() == [float(value) for value in values]


@given(
    st.lists(st.sampled_from(["1", "2.5", "x", "true", "2024-01-01", "2024-01-01 10:00:00", "12:30", "007", " 3", None]), max_size=10),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_the_type_does_not_depend_on_order_or_blocks(values: list[str | None], data: st.DataObject) -> None:
    """A column's type is that of the set of its values, however they are ordered and cut into blocks."""
    other = data.draw(st.permutations(values))
    cut = data.draw(st.integers(0, len(values)))
    whole, parts = Narrowing(), Narrowing()
    whole.see(pa.array(values, pa.string()))
    for block in (other[:cut], other[cut:]):
        parts.see(pa.array(block, pa.string()))
    assert whole.kind is parts.kind
