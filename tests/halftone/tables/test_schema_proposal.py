"""What is proposed as a schema, and what a declared one is held against."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.schema import ColumnSchema, ColumnType, TableSchema
from halftone.tables.declared import NO_VALUES, check
from halftone.tables.errors import TableError
from halftone.tables.schema import infer


def proposal(tmp_path: Path, array: pa.Array) -> ColumnSchema:
    pq.write_table(pa.table({"a": array}), tmp_path / "t.parquet", row_group_size=7)
    return infer(tmp_path / "t.parquet").columns[0]


DAY = dt.datetime.fromisoformat("2024-03-01T12:30:00")


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([3, None, -1]), {"type": "integer", "nullable": True, "minimum": -1, "maximum": 3, "granularity": 1.0}),
        (pa.array([1.25, 2.5]), {"type": "number", "minimum": 1.25, "maximum": 2.5, "granularity": 0.01}),
        (pa.array([1.0, float("inf")]), {"type": "number", "minimum": 1.0, "maximum": 1.0, "granularity": 1.0}),
        (pa.array([1 / 3, 1.0]), {"type": "number", "minimum": 1 / 3, "maximum": 1.0}),
        (pa.array([True, False]), {"type": "boolean"}),
        (pa.array(["b", "a", None, "b"]), {"type": "categorical", "nullable": True, "categories": ("a", "b")}),
        (pa.array([str(n) for n in range(51)]), {"type": "text"}),
        (pa.array([None, None], pa.string()), {"type": "text", "nullable": True, "semantic": NO_VALUES}),
        (pa.array([DAY.date()]), {"type": "date", "minimum": "2024-03-01", "maximum": "2024-03-01"}),
        (pa.array([DAY]), {"type": "datetime", "minimum": "2024-03-01T12:30:00", "maximum": "2024-03-01T12:30:00"}),
        (pa.array([DAY.time()]), {"type": "time", "minimum": "12:30:00", "maximum": "12:30:00"}),
    ],
)
def test_proposals(tmp_path: Path, array: pa.Array, expected: dict[str, Any]) -> None:
    """Each stored type gets the type, the domain and the nullability that its values show, and nobody attests it."""
    assert proposal(tmp_path, array) == ColumnSchema(name="a", **expected)


def test_fifty_categories_are_the_most(tmp_path: Path) -> None:
    """Text of fifty distinct values is categorical however often they recur."""
    column = proposal(tmp_path, pa.array([f"{n % 50:02}" for n in range(1000)]))
    assert column.categories == tuple(f"{n:02}" for n in range(50))


def test_bounds_with_fractions_sort_as_text(tmp_path: Path) -> None:
    """A bound with a fraction of a second and one without are written to the same width, since text is what compares them."""
    zoned = [DAY.replace(tzinfo=dt.UTC), DAY.replace(tzinfo=dt.UTC, microsecond=500_000)]
    column = proposal(tmp_path, pa.array(zoned, pa.timestamp("us", "UTC")))
    assert (column.minimum, column.maximum) == ("2024-03-01T12:30:00.000000Z", "2024-03-01T12:30:00.500000Z")


def test_nanoseconds_are_kept_in_bounds(tmp_path: Path) -> None:
    """A bound never falls short of the value that it bounds."""
    column = proposal(tmp_path, pa.array([1, 2], pa.timestamp("ns")))
    assert (column.minimum, column.maximum) == ("1970-01-01T00:00:00.000000001", "1970-01-01T00:00:00.000000002")


def schema(type_: str, **fields: Any) -> TableSchema:
    return TableSchema(columns=(ColumnSchema(name="a", type=ColumnType(type_), **fields),))


FITTING = {
    ("integer", "integer"),
    ("number", "number"),
    ("number", "integer"),
    ("boolean", "boolean"),
    ("categorical", "categorical"),
    ("categorical", "text"),
    ("categorical", "integer"),
    ("date", "date"),
    ("datetime", "datetime"),
    ("datetime", "date"),
    ("time", "time"),
    *(("text", found) for found in ColumnType),
}


@pytest.mark.parametrize("declared", list(ColumnType))
@pytest.mark.parametrize("found", list(ColumnType))
def test_which_types_fit(declared: str, found: str) -> None:
    """A declared type fits the stored ones that can be read as it, and no others; the message says what to declare."""
    if (declared, found) in FITTING:
        check(schema(declared), schema(found))
        return
    with pytest.raises(TableError) as caught:
        check(schema(declared), schema(found))
    assert caught.value.code == "schema-type-mismatch"
    assert caught.value.fields == {"column": "a", "declared": declared, "found": found}
    advised = str(caught.value).split("declare it ")[1].split(",")[0].split(" or ")
    assert {(advice, found) for advice in advised} <= FITTING


@pytest.mark.parametrize("declared", list(ColumnType))
def test_a_column_without_values_fits_any_type(declared: str) -> None:
    """Where every value is missing there is nothing to contradict."""
    check(schema(declared), schema("text", semantic=NO_VALUES, nullable=True))


def named(*names: str) -> TableSchema:
    return TableSchema(columns=tuple(ColumnSchema(name=name, type=ColumnType.INTEGER) for name in names))


def test_a_declared_column_that_is_absent_is_named_with_the_likely_one() -> None:
    """A misspelt name is the usual cause."""
    with pytest.raises(TableError, match="'salary' is declared and not in the table; is it 'Salary'") as caught:
        check(named("age", "salary"), named("age", "Salary"))
    assert (caught.value.code, caught.value.fields) == ("schema-column-absent", {"column": "salary"})


def test_an_undeclared_column_is_named() -> None:
    """Every column has to be declared; the order does not matter."""
    check(named("a", "b"), named("b", "a"))
    with pytest.raises(TableError, match="'b'") as caught:
        check(named("a"), named("a", "b"))
    assert (caught.value.code, caught.value.fields) == ("schema-column-undeclared", {"columns": ("b",)})


@pytest.mark.parametrize(("found", "categories"), [("integer", ("1", "2")), ("text", (1, 2)), ("categorical", ("a", 1))])
def test_categories_of_another_kind(found: str, categories: tuple[int | str, ...]) -> None:
    """Codes and text are never equal: categories of the wrong kind would leave every value outside."""
    with pytest.raises(TableError) as caught:
        check(schema("categorical", categories=categories), schema(found))
    assert caught.value.code == "schema-type-mismatch"


@pytest.mark.parametrize(
    ("type_", "bound"),
    [
        ("integer", 1.5),
        ("integer", "1"),
        ("number", float("inf")),
        ("number", "2024-01-01"),
        ("date", 3),
        ("date", "2024-02-30"),
        ("datetime", "noon"),
        ("time", "25:00"),
    ],
)
def test_bounds_of_another_kind(type_: str, bound: float | str) -> None:
    """A bound is a value of its column's type, written as the type is written: the contract refuses it, or the check does."""
    with pytest.raises(ValueError, match=r"bound|minimum") as caught:
        check(schema(type_, minimum=bound), schema(type_))
    if isinstance(caught.value, TableError):
        assert (caught.value.code, caught.value.fields) == ("schema-bound-invalid", {"column": "a", "bound": "minimum"})


def test_the_light_part_loads_nothing_heavy() -> None:
    """The edge checks schemas and names errors without Arrow or numpy in its process."""
    code = "import sys, halftone.tables, halftone.tables.declared; print({'pyarrow', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stdout.strip() == "set()"
