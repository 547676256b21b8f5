"""A stored table goes out in four formats, and what comes back in is the same table."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import python_calamine
from hypothesis import given, settings
from hypothesis import strategies as st

from halftone.tables import asxlsx, errors
from halftone.tables.export import export
from halftone.tables.ingest import ingest

Format = Literal["csv", "parquet", "jsonl", "xlsx"]
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "=cmd|' /C calc'!A0"]


def table() -> pa.Table:
    return pa.table(
        {
            "whole": [1, -2, None],
            "number": [1.5, -0.25, None],
            "truth": [True, False, None],
            "day": pa.array([dt.date(2024, 2, 29), dt.date(1999, 12, 31), None]),
            "moment": pa.array(
                [dt.datetime.fromisoformat("2024-02-29T12:30:00"), dt.datetime.fromisoformat("2000-01-01T00:00:00.25"), None]
            ),
            "zoned": pa.array([dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.UTC), None, None], pa.timestamp("us", "UTC")),
            "time": pa.array([dt.time(12, 30), dt.time(1, 2, 3), None]),
            "text": ['comma, "quote"\nline', "żółć 🎈", None],
            "code": pa.array(["x", "y", None]).dictionary_encode(),
        }
    )


def out(tmp_path: Path, content: pa.Table, format_: Format, **options: Any) -> Path:
    pq.write_table(content, tmp_path / "stored.parquet")
    export(tmp_path / "stored.parquet", tmp_path / f"out.{format_}", format_, **options)
    return tmp_path / f"out.{format_}"


@pytest.mark.parametrize("format_", ["csv", "parquet", "jsonl"])
def test_what_goes_out_comes_back(tmp_path: Path, format_: Format) -> None:
    """Every type survives a turn through each format, missing values too."""
    ingest(out(tmp_path, table(), format_), tmp_path / "back.parquet")
    assert pq.read_table(tmp_path / "back.parquet").to_pydict() == table().to_pydict()


def test_a_workbook_comes_back_but_for_what_excel_lacks(tmp_path: Path) -> None:
    """A workbook knows no zones: a moment comes back in UTC, without saying so."""
    ingest(out(tmp_path, table(), "xlsx"), tmp_path / "back.parquet")
    expected = table().to_pydict()
    expected["zoned"] = [moment and moment.replace(tzinfo=None) for moment in expected["zoned"]]
    assert pq.read_table(tmp_path / "back.parquet").slice(0, 2).to_pydict() == {name: values[:2] for name, values in expected.items()}


def test_formulas_are_defused(tmp_path: Path) -> None:
    """Text and names that a spreadsheet would run get an apostrophe; negative numbers stay numbers."""
    content = pa.table({"=evil": FORMULAS, "n": [-1.5] * len(FORMULAS), "i": [-1] * len(FORMULAS)})
    with out(tmp_path, content, "csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["'=evil", "n", "i"]
    assert rows == [["'" + formula, "-1.5", "-1"] for formula in FORMULAS]


def test_formulas_can_be_left_alone(tmp_path: Path) -> None:
    """For a program that reads them as text, nothing is changed; nor is it in JSON lines and workbooks."""
    content = pa.table({"=evil": FORMULAS})
    with out(tmp_path, content, "csv", safe_csv=False).open(newline="") as file:
        assert list(csv.reader(file)) == [["=evil"], *([formula] for formula in FORMULAS)]
    assert [json.loads(line)["=evil"] for line in out(tmp_path, content, "jsonl").read_text().splitlines()] == FORMULAS
    sheet = python_calamine.load_workbook(out(tmp_path, content, "xlsx")).get_sheet_by_index(0)
    assert [row[0] for row in sheet.to_python()][:3] == ["=evil", "=1+1", "+1"]


@settings(deadline=None, max_examples=80)
@given(st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=6), min_size=1, max_size=8))
def test_any_text_is_read_back_by_others(tmp_path_factory: pytest.TempPathFactory, values: list[str | None]) -> None:
    """Another reader sees the same text, whatever quotes, line breaks and controls are in it, and tells empty from missing."""
    place = tmp_path_factory.mktemp("law")
    content = pa.table({"a": pa.array(values, pa.string()), "b": [1] * len(values)})
    lines = out(place, content, "jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["a"] for line in lines[:-1]] == values
    with out(place, content, "csv", safe_csv=False).open(newline="", encoding="utf-8") as file:
        assert [row[0] for row in list(csv.reader(file))[1:]] == [value or "" for value in values]


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_numbers_are_exact(tmp_path: Path, format_: Format) -> None:
    """Whole numbers of 64 bits and doubles read back to the last bit; infinity is written as its name."""
    whole, numbers = [2**63 - 1, -(2**63)], [0.1 + 0.2, 5e-324]
    path = out(tmp_path, pa.table({"i": whole, "n": numbers}), format_)
    back = (
        pd.read_csv(path, float_precision="round_trip")
        if format_ == "csv"
        else pd.DataFrame(map(json.loads, path.read_text().splitlines()))
    )
    assert (back["i"].tolist(), back["n"].tolist()) == (whole, numbers)
    assert "inf" in out(tmp_path, pa.table({"n": [math.inf]}), format_).read_text()


def test_a_workbook_writes_as_text_what_no_cell_holds(tmp_path: Path) -> None:
    """Large whole numbers, infinity and dates before 1901 keep all their digits."""
    content = pa.table({"i": [2**60], "n": [math.inf], "d": pa.array([dt.date(1600, 1, 2)])})
    sheet = python_calamine.load_workbook(out(tmp_path, content, "xlsx")).get_sheet_by_index(0)
    assert sheet.to_python()[1] == [str(2**60), "inf", "1600-01-02"]


def test_a_workbook_has_an_end(tmp_path: Path) -> None:
    """More rows, columns or characters than Excel holds are refused, and nothing is left behind."""
    for rows, columns in ((asxlsx.MOST_ROWS + 1, 1), (1, asxlsx.MOST_COLUMNS + 1)):
        with pytest.raises(errors.ExportTooLarge) as caught:
            asxlsx.check_fits(rows, columns)
        assert caught.value.fields == {"rows": rows, "columns": columns}
    asxlsx.check_fits(asxlsx.MOST_ROWS, asxlsx.MOST_COLUMNS)
    with pytest.raises(errors.ExportTooLarge, match="32,768 characters"):
        out(tmp_path, pa.table({"a": ["x" * 32_768]}), "xlsx")
    with pytest.raises(errors.ExportTooLarge):
        out(tmp_path, pa.table({"a": pa.nulls(asxlsx.MOST_ROWS + 1, pa.int64())}), "xlsx")
    assert list(tmp_path.iterdir()) == [tmp_path / "stored.parquet"]


def test_rows_of_many_batches_keep_their_order(tmp_path: Path) -> None:
    """A table larger than a batch comes out whole and in order, and progress ends at one and never falls."""
    seen: list[float] = []
    lines = out(tmp_path, pa.table({"a": range(100_000)}), "csv", progress=seen.append).read_text().splitlines()
    assert lines[1:] == [str(n) for n in range(100_000)]
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
