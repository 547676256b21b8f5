"""Rows from a database become a file like any other, or are refused by the name of a column."""

from __future__ import annotations

import datetime as dt
import ipaddress
import uuid
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from halftone.tables import errors
from halftone.tables.ingest import ingest
from halftone.tables.limits import Limits
from halftone.tables.options import FileFormat, ReadOptions
from halftone.tables.spool import Fetch, spool


def giving(rows: Sequence[Sequence[Any]], asked: list[int] | None = None) -> Fetch:
    left = list(rows)

    def fetch(count: int) -> Sequence[Sequence[Any]]:
        if asked is not None:
            asked.append(count)
        some = left[:count]
        del left[:count]
        return some

    return fetch


def read(folder: Path, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    assert spool(names, giving(rows), folder / "in", Limits()) == len(rows)
    ingest(folder / "in", folder / "out.parquet", options=ReadOptions(format=FileFormat.JSONL))
    columns: dict[str, list[Any]] = pq.read_table(folder / "out.parquet").to_pydict()
    return columns


def test_values_keep_their_types(tmp_path: Path) -> None:
    """Exact numbers are numbers, moments are moments, and what has no type of its own here is text."""
    key, moment = uuid.UUID(int=7), dt.datetime.fromisoformat("2024-01-02T03:04:05.600000")
    row = (1, Decimal("2.50"), Decimal(3), True, "007", dt.date(2024, 1, 2), moment, dt.time(1, 2), dt.timedelta(hours=1), key, None)
    names = "abcdefghijk"
    assert {name: values[0] for name, values in read(tmp_path, names, [row, (None,) * 11]).items()} == {
        "a": 1,
        "b": 2.5,
        "c": 3,
        "d": True,
        "e": "007",
        "f": dt.date(2024, 1, 2),
        "g": moment,
        "h": dt.time(1, 2),
        "i": 3600.0,
        "j": str(key),
        "k": None,
    }


def test_types_come_from_every_row(tmp_path: Path) -> None:
    """A database without types may turn to text late; numbers that no double holds, and infinity, are what they are in a file."""
    rows = [(n, 1, float("inf"), ipaddress.ip_address("10.0.0.1")) for n in range(20_000)]
    found = read(tmp_path, "abcd", [*rows, ("x", Decimal(2**70), float("nan"), None)])
    assert found["a"][-2:] == ["19999", "x"]
    assert found["b"][-2:] == ["1", str(2**70)]
    assert (found["c"][0], found["c"][-1], found["d"][0]) == (float("inf"), None, "10.0.0.1")


@pytest.mark.parametrize(
    ("names", "rows", "error", "says"),
    [
        (["a", "a"], [(1, 2)], errors.ColumnDuplicate, "'a'"),
        (["a", ""], [(1, 2)], errors.ColumnUnnamed, "column 2"),
        (["a"], [], errors.FileEmpty, "no rows"),
        ([], [], errors.FileEmpty, "no rows"),
        (["a", "photo"], [(1, b"Jane")], errors.ColumnTypeUnsupported, "'photo'"),
        (["a", "tags"], [(1, None), (1, ["Jane"])], errors.ValueNested, "'tags'"),
        (["a"], [("Jane" * 200,)], errors.RowTooLong, "row 1 "),
        (["a"], [("Jane" * 20,)] * 30, errors.FileTooLarge, "2,000 bytes"),
        (["a"], [(1,)] * 60, errors.TooManyRows, "50 rows"),
        ([f"c{n}" for n in range(11)], [(1,) * 11], errors.TooManyColumns, "11 columns"),
    ],
)
def test_what_is_no_table_is_refused(
    tmp_path: Path, names: list[str], rows: list[tuple[Any, ...]], error: type[errors.TableError], says: str
) -> None:
    """By column, row or limit, and without a value."""
    with pytest.raises(error) as refused:
        spool(names, giving(rows), tmp_path / "in", Limits(columns=10, row_bytes=500, rows=50, data_bytes=2000))
    assert says in str(refused.value)
    assert "Jane" not in str(refused.value)


def test_fewer_rows_are_asked_for_where_they_are_wide(tmp_path: Path) -> None:
    """So that memory does not grow with the width of a table."""
    narrow: list[int] = []
    spool(["a"], giving([(1,)] * 20_000, narrow), tmp_path / "in", Limits())
    wide: list[int] = []
    spool(["a"], giving([("x" * 1_000_000,)] * 80, wide), tmp_path / "in", Limits())
    assert narrow[:4] == [64, 128, 256, 512]
    assert max(narrow) == 8192
    assert max(wide[1:]) <= 8
