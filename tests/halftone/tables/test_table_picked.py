"""Rows to look at: real ones, at random, none twice, as JSON has them."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from halftone.tables.picked import pick


@pytest.mark.parametrize("rows", [0, 1, 7, 99, 100, 101, 5000])
def test_rows_are_picked_from_the_whole_table_without_repetition(tmp_path: Path, rows: int) -> None:
    """At most 100, all where there are fewer; from every row group; another seed gives others, the same one the same."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": list(range(rows)), "t": [f"v{n}\u2028\n" for n in range(rows)]}), path, row_group_size=500)
    found = json.loads(pick(path, seed=3))
    assert found["columns"] == ["n", "t"]
    numbers = [row["n"] for row in found["rows"]]
    assert len(set(numbers)) == len(numbers) == min(rows, 100)
    assert all(row["t"] == f"v{row['n']}\u2028\n" and 0 <= row["n"] < rows for row in found["rows"])
    assert pick(path, seed=3) == pick(path, seed=3)
    if rows == 5000:
        assert {n // 500 for n in numbers} == set(range(10))
        assert numbers != sorted(numbers)
        assert pick(path, seed=4) != pick(path, seed=3)


def test_values_are_written_as_json_has_them(tmp_path: Path) -> None:
    """Missing is null, dates and moments are ISO 8601, names may hold anything."""
    path = tmp_path / "t.parquet"
    table = pa.table({'a "b"': [None], "d": [dt.date(2024, 2, 29)], "é": [1.5], "yes": [True]})
    pq.write_table(table, path)
    assert json.loads(pick(path, seed=0))["rows"] == [{'a "b"': None, "d": "2024-02-29", "é": 1.5, "yes": True}]
