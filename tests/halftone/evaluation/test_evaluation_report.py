"""The report: complete, JSON-able, and honest about what a figure means."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contracts.schema import ColumnSchema, ColumnType, TableSchema
from halftone.evaluation.errors import EvaluationError
from halftone.evaluation.reading import read
from halftone.evaluation.report import evaluate

FIGURES = {"accuracy", "accuracy_uni", "accuracy_bi", "accuracy_tri", "column_shapes", "pair_trends"}


def linked(rows: int, seed: int = 0) -> pa.Table:
    """Columns that hang together closely, of several kinds."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=rows)
    return pa.table(
        {
            "x": z + rng.normal(size=rows) / 10,
            "y": -z,
            "group": np.where(z > 0, "high", "low"),
            "level": np.digitize(z, [-1, 0, 1]),
            "day": pa.array((z * 1000).astype(np.int32)).cast(pa.date32()),
        }
    )


def checked(real: pa.Table, synthetic: pa.Table, schema: TableSchema | None = None) -> dict[str, Any]:
    """The report, after what holds of every one: JSON, the same again, figures and yardsticks in [0, 1] or absent, a reading each."""
    report = evaluate(real, synthetic, schema)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert set(report["figures"]) == FIGURES
    entries = [*report["figures"].values(), *report["columns"], *report["pairs"]]
    for entry in entries:
        assert all(entry[name] is None or 0 <= entry[name] <= 1 for name in ("value", "floor", "ceiling"))
    for figure in report["figures"].values():
        assert figure["rows"] == {"real": real.num_rows, "synthetic": synthetic.num_rows}
        assert figure["reading"]
    return report


def test_the_real_table_is_at_the_top_and_independent_columns_at_the_bottom() -> None:
    """Where columns hang together, a copy scores one, a redraw near the ceiling, shuffled columns near the floor, and readings say so."""
    real = linked(4_000)
    rng = np.random.default_rng(1)
    shuffled = pa.table({name: real[name].take(rng.permutation(real.num_rows)) for name in real.column_names})
    copy, redraw, independent = (
        checked(real, table)["figures"]["accuracy_bi"] for table in (real, real.take(rng.integers(0, 4_000, 4_000)), shuffled)
    )
    assert copy["value"] == 1.0
    assert "copied rows" in copy["reading"]
    assert redraw["value"] == pytest.approx(redraw["ceiling"], abs=0.01)
    assert "as close as real rows get" in redraw["reading"]
    assert independent["value"] == pytest.approx(independent["floor"], abs=0.01)
    assert independent["ceiling"] - independent["floor"] > 0.2


def test_the_same_arguments_give_the_same_report() -> None:
    """The seed decides all that is drawn."""
    real, synthetic = linked(500), linked(300, seed=1)
    assert evaluate(real, synthetic, seed=3) == evaluate(real, synthetic, seed=3)
    assert evaluate(real, synthetic, seed=3)["figures"] != evaluate(real, synthetic, seed=4)["figures"]


def test_progress_rises_to_one() -> None:
    """Whoever waits is told."""
    seen: list[float] = []
    evaluate(linked(50), linked(50), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


NAN, INF = float("nan"), float("inf")
ODD = {
    "all missing": pa.table({"a": pa.array([None] * 4, pa.float64()), "b": pa.array([None] * 4, pa.string()), "c": pa.array([None] * 4)}),
    "constant": pa.table({"a": [1] * 4, "b": ["x"] * 4, "c": [0.5] * 4}),
    "one row": pa.table({"a": [1], "b": ["x"], "c": [dt.date(2024, 1, 1)]}),
    "one column": pa.table({"a": [1, 2, 3]}),
    "NaN and infinity": pa.table({"a": [NAN, INF, -INF, 1.0, 2.0] * 9, "b": [1.5, INF, INF, NAN, 0.0] * 9}),
    "only infinity": pa.table({"a": [INF, -INF], "b": [INF, INF]}),
    "huge": pa.table({"a": [1e308, -1e308, 0.0], "b": [2**63 - 1, -(2**63), 0]}),
    "every type": pa.table(
        {
            "flag": [True, False, None],
            "time": pa.array([dt.time(1), None, dt.time(2)]),
            "moment": pa.array([1, 2, None], pa.timestamp("ns")),
            "zoned": pa.array([1, 2, None], pa.timestamp("us", "UTC")),
            "code": pa.array(["a", "b", None]).dictionary_encode(),
        }
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_tables_have_a_report(name: str) -> None:
    """Beside itself an odd table is perfect, or not to be computed; beside a single row of its own it has a report as well."""
    table = ODD[name]
    own = checked(table, table)
    assert all(figure["value"] in {None, 1.0} for figure in own["figures"].values())
    checked(table, table.slice(0, 1))
    checked(table.slice(0, 1), table)


@pytest.mark.parametrize("name", ODD)
def test_odd_tables_as_declared_numbers(name: str) -> None:
    """The same with every number declared as one, however few its values."""
    table = ODD[name]
    numbers = [ColumnSchema(name=field.name, type=ColumnType.NUMBER) for field in table.schema if pa.types.is_floating(field.type)]
    others = [ColumnSchema(name=field.name, type=ColumnType.CATEGORICAL) for field in table.schema if not pa.types.is_floating(field.type)]
    checked(table, table, TableSchema(columns=(*numbers, *others)))


def test_other_row_counts_and_further_columns() -> None:
    """The synthetic table may be longer or shorter, may order its columns otherwise, and may have more of them."""
    real = linked(200)
    synthetic = linked(777, seed=2).append_column("extra", pa.array([1] * 777)).select(["extra", "day", "level", "group", "y", "x"])
    report = checked(real, synthetic)
    assert [column["name"] for column in report["columns"]] == real.column_names
    assert report["rows"] == {"real": 200, "synthetic": 777}


def test_declared_text_is_left_out_of_shapes_and_pairs() -> None:
    """Identifiers are made fresh: that none of them recurs is no fault."""
    schema = TableSchema(columns=(ColumnSchema(name="id", type=ColumnType.TEXT), ColumnSchema(name="n", type=ColumnType.INTEGER)))
    real, synthetic = pa.table({"id": ["a", "b"], "n": [1, 2]}), pa.table({"id": ["c", "d"], "n": [1, 2]})
    report = checked(real, synthetic, schema)
    assert [(column["kind"], column["value"]) for column in report["columns"]] == [("text", None), ("numeric", 1.0)]
    assert report["pairs"] == []
    assert "cannot be computed" in report["figures"]["pair_trends"]["reading"]


def test_missing_columns_are_named() -> None:
    """Which columns the synthetic table lacks is said."""
    with pytest.raises(EvaluationError, match="'group', 'day'") as caught:
        evaluate(linked(5), linked(5).drop_columns(["group", "day"]))
    assert (caught.value.code, caught.value.fields) == ("columns-missing", {"columns": ("group", "day")})


@pytest.mark.parametrize(("real", "synthetic", "which"), [(0, 3, "real"), (3, 0, "synthetic")])
def test_tables_without_rows(real: int, synthetic: int, which: str) -> None:
    """There is nothing to compare with an empty table, and the message says which one is."""
    with pytest.raises(EvaluationError, match=which) as caught:
        evaluate(linked(5).slice(0, real), linked(5).slice(0, synthetic))
    assert caught.value.code == "table-empty"


def test_columns_of_different_kinds() -> None:
    """Text beside a number is named, with both types and no value."""
    with pytest.raises(EvaluationError, match="'a' is double") as caught:
        evaluate(pa.table({"a": np.arange(30.0)}), pa.table({"a": ["secret"]}))
    assert caught.value.code == "column-incomparable"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((None, None, None), "cannot be computed"),
        ((0.5, None, None), "no floor or ceiling"),
        ((0.95, 0.9, 0.99), "56% of the way"),
        ((0.985, 0.9, 0.99), "as close as real rows get"),
        ((0.999, 0.9, 0.99), "copied rows"),
        ((0.8, 0.9, 0.99), "no better than knowing nothing"),
        ((0.99, 1.0, 0.995), "says nothing of how columns hang together"),
        ((0.8, 1.0, 0.995), "falls short"),
    ],
)
def test_readings(values: tuple[float | None, float | None, float | None], words: str) -> None:
    """Each place between floor and ceiling has its sentence."""
    assert words in read(*values)
