"""A draft proposes what a table's columns are, says why, and takes public domains from lists instead of from the data."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.schema import ColumnSchema, ColumnType
from halftone.schemas.draft import Draft, draft
from halftone.schemas.guess import Guess
from halftone.tables.profile import profile

ROWS = 200
CHOOSE = random.Random(5)


def column(name: str, values: list[Any], rows: int = ROWS) -> tuple[ColumnSchema, dict[str, Guess]]:
    """The draft of a column that holds each of some values again and again."""
    drafted = draft(pa.table({name: [values[n % len(values)] for n in range(rows)]}))
    return drafted.schema.columns[0], {guess.about: guess for guess in drafted.guesses}


@pytest.mark.parametrize(
    ("name", "values", "semantic", "size"),
    [
        ("country", ["DE", "FR", "US"], "country_alpha_2", 249),
        ("country", ["de", "fr", "us"], "country_alpha_2", 249),
        ("citizenship", ["DEU", "FRA"], "country_alpha_3", 249),
        ("x", ["Germany", "France", "Japan"], "country_name", 249),
        ("currency", ["EUR", "USD"], "currency_code", 154),
        ("language", ["en", "de"], "language_code", 184),
        ("month", ["January", "May"], "month_name", 12),
        ("monat", ["Januar", "Mai", "Dezember"], "month_name", 12),
        ("weekday", ["Mon", "Tue"], "weekday_name", 7),
        ("state", ["CA", "NY"], "subdivision_code", 51),
        ("bundesland", ["Bayern", "Hessen"], "subdivision_name", 16),
        ("active", ["yes", "no"], "boolean", 2),
        ("sex", ["Male", "Female"], "sex", 2),
    ],
)
def test_a_public_list_is_the_whole_domain(name: str, values: list[str], semantic: str, size: int) -> None:
    """However few of a list's values occur, all of it is proposed, in the table's spelling, and no source is the data."""
    drafted, guesses = column(name, values)
    assert (drafted.type, drafted.semantic) == (ColumnType.CATEGORICAL, semantic)
    assert drafted.categories is not None
    assert len(drafted.categories) == size
    assert set(values) <= set(drafted.categories)
    assert all(source.split(":")[0] in {"standard", "package", "convention"} for source in guesses["categories"].taken_from)


def test_two_letters_need_a_name() -> None:
    """CA and DE are countries, states and languages: without a name that says which, they are categories of the data."""
    drafted, guesses = column("x", ["CA", "DE"])
    assert drafted.semantic is None
    assert guesses["categories"].taken_from == ("values",)


def test_values_outside_a_list_are_counted() -> None:
    """A stray value does not join a public domain; the person who attests it is told how many rows hold one."""
    values = ["Germany", "France", "Spain", "Italy"] * 25
    drafted, guesses = column("country", [*values[:99], "Atlantis"], 1000)
    assert drafted.categories is not None
    assert "Atlantis" not in drafted.categories
    assert "10 values are not in the list" in guesses["categories"].check


@pytest.mark.parametrize(
    ("name", "values", "semantic", "bounds"),
    [
        ("age", [17, 90], "age", (0, 120)),
        ("patientAge", [17.5, 90.0], "age", (0.0, 120.0)),
        ("pct_done", [3.5, 60.0], "percentage", (0.0, 100.0)),
        ("lat", [48.1, 52.5], "latitude", (-90.0, 90.0)),
        ("longitude", [8.1, 12.5], "longitude", (-180.0, 180.0)),
        ("month", [3, 4], "month", (1, 12)),
        ("hour", [3, 22], "hour", (0, 23)),
        ("Year", [1999, 2001], "year", (1900, 2100)),
    ],
)
def test_a_public_range_is_not_read_off_the_data(name: str, values: list[float], semantic: str, bounds: tuple[float, float]) -> None:
    """What a column is called, and that no value contradicts it, gives it bounds that hold for any such column."""
    drafted, guesses = column(name, values)
    assert (drafted.semantic, drafted.minimum, drafted.maximum) == (semantic, *bounds)
    assert guesses["bounds"].taken_from[0].startswith(("standard:", "convention:"))


def test_a_name_that_the_values_contradict_is_not_believed() -> None:
    """A month of 200 is no month."""
    drafted, guesses = column("month", [1, 200])
    assert drafted.semantic is None
    assert guesses["bounds"].taken_from == ("values",)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([17, 83], 10, 90),
        ([0, 83], 0, 90),
        ([10, 90], 0, 100),
        ([0.12, 0.87], 0.1, 0.9),
        ([-7, 3], -10, 10),
        ([5, 5], 4, 6),
        ([1234.5, 98765.4], 0, 100000),
    ],
)
def test_bounds_of_the_data_are_widened_and_marked(values: list[float], low: float, high: float) -> None:
    """Bounds that nobody but the data knows are round, tell no value, and are said to need attesting."""
    drafted, guesses = column("measure", values)
    assert (drafted.minimum, drafted.maximum) == (low, high)
    assert guesses["bounds"].confidence == "unsure"
    assert "attest" in guesses["bounds"].check


def test_categories_of_the_data_are_marked() -> None:
    """So are categories."""
    drafted, guesses = column("colour", ["red", "blue"])
    assert drafted.categories == ("blue", "red")
    assert (guesses["categories"].taken_from, guesses["categories"].confidence) == (("values",), "unsure")


def test_zero_and_one_are_no_and_yes() -> None:
    """Whole numbers that are 0 and 1 are two categories."""
    drafted, _ = column("flag", [0, 1])
    assert (drafted.type, drafted.semantic, drafted.categories) == (ColumnType.CATEGORICAL, "boolean", (0, 1))


def table() -> pa.Table:
    """Columns that are never repeated, in several ways."""
    numbers = CHOOSE.sample(range(10**6), 12_000)
    return pa.table(
        {
            "note": [f"the {n} patient came in and went home" for n in numbers],
            "code": [f"A{n}" for n in numbers],
            "id": numbers,
            "nearly": [*numbers[:-1], numbers[0]],
            "partly": [*numbers[:-1], None],
            "measure": [n * 0.5 for n in numbers],
        }
    )


def test_keys_are_unique_and_never_missing_in_the_whole_table(tmp_path: Path) -> None:
    """One repetition in 12,000 rows, which a sample need not hold, is found; identifiers come first; a profile gives the same answer."""
    pq.write_table(table(), tmp_path / "t.parquet")
    drafted = draft(tmp_path / "t.parquet")
    assert drafted.keys == ("id", "note", "code")
    assert drafted.schema.primary_key == ("id",)
    assert drafted.sampled_rows < drafted.rows == 12_000
    assert draft(tmp_path / "t.parquet", profile=profile(tmp_path / "t.parquet")).keys == drafted.keys


def test_text_is_told_apart() -> None:
    """Sentences are free text, and codes that never repeat are identifiers: neither has a domain."""
    drafted = draft(table())
    assert [drafted.schema.column(name).semantic for name in ("note", "code", "id")] == ["free_text", "identifier", "identifier"]
    assert {drafted.schema.column(name).type for name in ("note", "code", "id")} == {ColumnType.TEXT}


def test_memory_and_file_give_the_same_draft(tmp_path: Path) -> None:
    """A table in memory is read as one on disk."""
    pq.write_table(table(), tmp_path / "t.parquet")
    assert draft(table()) == draft(tmp_path / "t.parquet")


def test_a_draft_is_json_and_holds_no_guess_without_a_source() -> None:
    """What a person is shown can be sent to them, and every guess says what it was taken from and what to check."""
    drafted: Draft = draft(pa.table({"country": ["DE", "FR"] * 9, "n": [1.5, 2.5] * 9, "empty": pa.nulls(18, pa.string())}))
    shown = json.loads(json.dumps(drafted.to_dict()))
    assert [each["name"] for each in shown["schema"]["columns"]] == ["country", "n", "empty"]
    assert {each["column"] for each in shown["guesses"]} == {"country", "n", "empty"}
    assert all(each["check"] and (each["taken_from"] or each["column"] == "empty") for each in shown["guesses"])


@pytest.mark.parametrize(
    ("ordinary", "odd", "what"),
    [("{}.50", "84'500.00", "it is text: 97% of the values sampled are numbers"), ("20{:02}-01-02", "soon", "it is categorical: 97%")],
)
def test_text_that_is_nearly_something_else_is_pointed_out(ordinary: str, odd: str, what: str) -> None:
    """A few values that do not read as numbers make a column text: the draft says so, with how many do, and quotes none."""
    values = [odd if n % 40 == 0 else ordinary.format(n if "." in ordinary else n % 28) for n in range(ROWS)]
    drafted = draft(pa.table({"income": [f"{value} " for value in values]}))
    (guess,) = [guess for guess in drafted.guesses if guess.about == "type"]
    assert guess.confidence == "unsure"
    assert what in guess.check
    assert odd not in guess.check


def test_text_that_is_text_is_certain() -> None:
    """Nothing is pointed out where nothing reads as a number."""
    drafted = draft(pa.table({"remark": [f"remark {n}" for n in range(ROWS)]}))
    assert [guess.confidence for guess in drafted.guesses if guess.about == "type"] == ["certain"]
