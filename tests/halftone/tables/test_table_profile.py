"""What the holder of the raw right is told of a table."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.schema import ColumnSchema, ColumnType, TableSchema
from halftone.tables.profile import BINS, TOP, profile
from halftone.tables.tally import Tally


def column(tmp_path: Path, array: pa.Array, **declared: Any) -> dict[str, Any]:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": array}), path, row_group_size=1000)
    schema = TableSchema(columns=(ColumnSchema(name="a", **declared),)) if declared else None
    described = profile(path, schema)
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert described["rows"] == len(array)
    found: dict[str, Any] = described["columns"][0]
    return found


def test_numbers(tmp_path: Path) -> None:
    """Counts, ends, top values and a histogram that holds every finite value."""
    values = np.random.default_rng(0).integers(-50, 50, 5_000).tolist()
    found = column(tmp_path, pa.array([*values, None]))
    assert (found["type"], found["missing"], found["distinct"], found["distinct_exact"]) == ("integer", 1, 100, True)
    assert (found["minimum"], found["maximum"]) == (min(values), max(values))
    assert [(entry["value"], entry["count"]) for entry in found["top"]] == sorted(Counter(values).items(), key=lambda i: (-i[1], i[0]))[
        :TOP
    ]
    assert found["histogram"] == np.histogram(values, BINS)[0].tolist()
    assert "departures" not in found


@pytest.mark.parametrize(
    "array",
    [
        pa.array([None, None], pa.float64()),
        pa.array([None], pa.string()),
        pa.array([5, 5, 5]),
        pa.array([float("inf"), float("-inf")]),
        pa.array([float("inf"), 1.0]),
        pa.array([-1.7e308, 1.7e308]),
        pa.array([2.0**70, 2.0**70]),
        pa.array([True, None]),
        pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
        pa.array([1, 2], pa.timestamp("ns")),
        pa.array([1, 2], pa.time64("ns")),
        pa.array(["", "x" * 10_000]),
    ],
)
def test_odd_columns(tmp_path: Path, array: pa.Array) -> None:
    """Whatever a column holds, its profile is JSON, and its histogram has each finite value once."""
    found = column(tmp_path, array)
    if found["histogram"] is not None:
        assert sum(found["histogram"]) == len(array) - found["missing"] - found["infinite"]


def test_one_row(tmp_path: Path) -> None:
    """A table of one row has a profile."""
    assert column(tmp_path, pa.array([7]))["top"] == [{"value": 7, "count": 1}]


CASES = [
    (pa.array([1, 5, 9, None]), {"type": "integer", "minimum": 2, "maximum": 8}, (1, 0, 2)),
    (pa.array([1, None]), {"type": "integer", "nullable": True}, (0, 0, 0)),
    (pa.array([1.5, 2.0, float("inf")]), {"type": "integer"}, (0, 2, 0)),
    (pa.array(["1", " 2", "x", "9", "2024-01-01"]), {"type": "integer", "maximum": 5}, (0, 2, 1)),
    (pa.array(["1.5", "+2", "1e3", "1,5", "007"]), {"type": "number", "maximum": 100}, (0, 1, 1)),
    (pa.array(["true", "False", "yes"]), {"type": "boolean"}, (0, 1, 0)),
    (pa.array(["2024-02-29", "2023-02-29", "29.2.2024", "1999-01-01"]), {"type": "date", "minimum": "2000-01-01"}, (0, 2, 1)),
    (pa.array(["2024-02-29", "2024-02-29T10:00", "2024-02-29 25:00", "x"]), {"type": "datetime"}, (0, 2, 0)),
    (pa.array(["10:00", "24:00", "10:00:00.5"]), {"type": "time"}, (0, 1, 0)),
    (pa.array(["a", "b", "c"]), {"type": "categorical", "categories": ("a", "b")}, (0, 0, 1)),
    (pa.array([1, 2, 3]), {"type": "categorical", "categories": (1, 2)}, (0, 0, 1)),
    (pa.array([1, 2]), {"type": "text"}, (0, 0, 0)),
    (pa.array([dt.date(2024, 1, 1), dt.date(2024, 1, 3)]), {"type": "date", "maximum": "2024-01-02"}, (0, 0, 1)),
    (pa.array([dt.date(2024, 1, 1)]), {"type": "time"}, (0, 1, 0)),
    (
        pa.array(["2024-01-01T12:00:00", "2024-01-02T12:00:00"]).cast(pa.timestamp("us")),
        {"type": "datetime", "minimum": "2024-01-01T12:00:00", "maximum": "2024-01-02"},
        (0, 0, 1),
    ),
    (
        pa.array([dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)], pa.timestamp("us", "UTC")),
        {"type": "datetime", "maximum": "2024-01-01T12:59:00+02:00"},
        (0, 0, 1),
    ),
    (pa.array([dt.time(10), dt.time(12)]), {"type": "time", "minimum": "11:00"}, (0, 0, 1)),
]


@pytest.mark.parametrize(("array", "declared", "counts"), CASES)
def test_departures(tmp_path: Path, array: pa.Array, declared: dict[str, Any], counts: tuple[int, int, int]) -> None:
    """What contradicts a declaration is counted as missing, as none of the type, or as outside the domain: each value once."""
    declared = declared | {"type": ColumnType(declared["type"])}
    assert tuple(column(tmp_path, array, **declared)["departures"].values()) == counts


def test_a_tally_counts_exactly_while_it_fits() -> None:
    """Blocks add up, ties come in order of value, and missing values are not counted."""
    tally = Tally(capacity=10)
    tally.add(pa.array(["b", "a", None, "c"]))
    tally.add(pa.array(["c", "b"]))
    tally.add(pa.array([None], pa.string()))
    assert (tally.exact, tally.distinct, tally.missing_at_most) == (True, 3, 0)
    assert tally.top(2) == [("b", 2), ("c", 2)]


@pytest.mark.parametrize("make", [lambda n: n, lambda n: n / 7, lambda n: f"name {n}", lambda n: "x" * (n % 40) + str(n)])
def test_a_tally_that_overflows_keeps_what_is_frequent(make: Any) -> None:
    """Frequent values stay within the stated error, and the number of distinct ones is estimated.

    The estimate's standard error is 3.1 %; the values are fixed, so the test passes or fails for ever.
    """
    rng = np.random.default_rng(3)
    tally, truth = Tally(capacity=1_000), Counter[Any]()
    for _ in range(8):
        block = [make(int(n)) for n in np.where(rng.random(5_000) < 0.3, rng.integers(0, 3, 5_000), rng.integers(3, 40_000, 5_000))]
        truth.update(block)
        tally.add(pa.array(block))
    assert not tally.exact
    assert tally.distinct == pytest.approx(len(truth), rel=0.15)
    for value, count in tally.top(3):
        assert truth[value] - tally.missing_at_most <= count <= truth[value]
    assert {value for value, _ in tally.top(3)} == {make(0), make(1), make(2)}
