"""Encoders: every value becomes a code of the public domain, and comes back as a value of the declared type."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.schema import ColumnSchema, ColumnType, TableSchema
from halftone.synthesis.encoding import DomainNotDeclared, Encoding, open_handle

T = ColumnType


def schema(**column) -> TableSchema:
    return TableSchema(columns=(ColumnSchema(name="x", **column),))


def codes(values, declared: TableSchema, kind: pa.DataType | None = None) -> list[int]:
    return Encoding(declared).encode(pa.table({"x": pa.array(values, kind)}))["x"].tolist()


def there_and_back(values, declared: TableSchema, kind: pa.DataType | None = None) -> list:
    encoding = Encoding(declared)
    table = pa.table({"x": pa.array(values, kind)})
    return encoding.decode(encoding.encode(table), len(table), np.random.default_rng(0)).column("x").to_pylist()


def utc(hour: int, minute: int, second: int) -> dt.datetime:
    return dt.datetime(2020, 1, 1, hour, minute, second, tzinfo=dt.UTC).replace(tzinfo=None)


DECLARED = [
    schema(type=T.INTEGER, minimum=-3, maximum=9, nullable=True),
    schema(type=T.INTEGER, minimum=0, maximum=10**9),
    schema(type=T.NUMBER, minimum=-1.5, maximum=2.5, nullable=True),
    schema(type=T.NUMBER, minimum=0, maximum=100, granularity=0.01),
    schema(type=T.BOOLEAN, nullable=True),
    schema(type=T.BOOLEAN),
    schema(type=T.CATEGORICAL, categories=("a", "b", "other")),
    schema(type=T.CATEGORICAL, categories=(7, 3, 5), nullable=True),
    schema(type=T.CATEGORICAL, categories=("1", 2)),
    schema(type=T.DATE, minimum="1950-01-01", maximum="2020-12-31", nullable=True),
    schema(type=T.DATETIME, minimum="2020-01-01T00:00:00", maximum="2021-01-01"),
    schema(type=T.TIME, minimum="08:00", maximum="18:00:00", granularity=60),
]
STORED = st.one_of(
    st.lists(st.one_of(st.none(), st.floats()), max_size=20).map(lambda v: pa.array(v, pa.float64())),
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=20).map(lambda v: pa.array(v, pa.int64())),
    st.lists(st.one_of(st.none(), st.text(max_size=12), st.sampled_from(["1e999", "2020-02-30", "24:00", "a", "-0"])), max_size=20).map(
        lambda v: pa.array(v, pa.string())
    ),
    st.lists(st.one_of(st.none(), st.booleans()), max_size=20).map(lambda v: pa.array(v, pa.bool_())),
    st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "3"])), max_size=20).map(
        lambda v: pa.array(v, pa.string()).dictionary_encode()
    ),
    st.lists(st.one_of(st.none(), st.dates()), max_size=20).map(lambda v: pa.array(v, pa.date32())),
    st.lists(st.one_of(st.none(), st.datetimes()), max_size=20).map(lambda v: pa.array(v, pa.timestamp("us"))),
    st.lists(st.one_of(st.none(), st.times()), max_size=20).map(lambda v: pa.array(v, pa.time64("us"))),
    st.lists(st.one_of(st.none(), st.decimals(-100, 100, places=2)), max_size=20).map(lambda v: pa.array(v, pa.decimal128(20, 2))),
    st.integers(0, 5).map(pa.nulls),
    st.lists(st.lists(st.integers(0, 9), max_size=2), max_size=5).map(lambda v: pa.array(v, pa.list_(pa.int64()))),
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(DECLARED), STORED)
def test_whatever_is_stored_becomes_a_code_of_the_domain_and_a_value_within_it(declared: TableSchema, stored: pa.Array) -> None:
    """Encoding never fails and never leaves the domain; decoding gives as many values, within bounds, none missing that may not be."""
    encoding = Encoding(declared)
    encoded = encoding.encode(pa.table({"x": stored}))
    assert encoded["x"].shape == (len(stored),)
    assert ((encoded["x"] >= 0) & (encoded["x"] < encoding.sizes["x"])).all()
    decoded = encoding.decode(encoded, len(stored), np.random.default_rng(0))
    assert decoded.column("x").null_count == 0 or declared.columns[0].nullable
    again = encoding.encode(decoded)["x"]
    assert (again == encoded["x"]).all()


@given(st.sampled_from(DECLARED), st.integers(0, 2**32))
def test_every_code_decodes_to_a_value_that_encodes_to_it(declared: TableSchema, seed: int) -> None:
    """Decoding picks a value inside the code's own cell, to the last bit of its bounds."""
    encoding, rng = Encoding(declared), np.random.default_rng(seed)
    size = encoding.sizes["x"]
    picked = np.unique(np.concatenate([rng.integers(0, size, 200), [0, size - 1]]))
    table = encoding.decode({"x": picked}, len(picked), rng)
    assert (encoding.encode(table)["x"] == picked).all()


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(DECLARED), STORED, st.data())
def test_a_rows_code_depends_on_no_other_row(declared: TableSchema, stored: pa.Array, data) -> None:
    """Taking a row away leaves the others' codes as they were: that is what a sensitivity of 1 rests on."""
    if len(stored) == 0:
        return
    gone = data.draw(st.integers(0, len(stored) - 1))
    kept = [i for i in range(len(stored)) if i != gone]
    encode = Encoding(declared).encode
    everyone, without = encode(pa.table({"x": stored}))["x"], encode(pa.table({"x": stored.take(pa.array(kept, pa.int64()))}))["x"]
    assert (np.delete(everyone, gone) == without).all()


def test_numbers_beyond_the_bounds_are_clamped() -> None:
    """Infinity too; NaN is missing, and where nothing may be missing the lower bound."""
    bounded = schema(type=T.INTEGER, minimum=-3, maximum=9)
    assert there_and_back([-100.0, 100.0, math.inf, -math.inf, math.nan, None], bounded) == [-3, 9, 9, -3, -3, -3]
    assert there_and_back([math.nan, 4.0], schema(type=T.INTEGER, minimum=-3, maximum=9, nullable=True)) == [None, 4]


def test_integers_stored_as_text_are_read_and_the_rest_is_missing() -> None:
    """A column may be stored as it came."""
    declared = schema(type=T.INTEGER, minimum=0, maximum=9, nullable=True)
    assert there_and_back(["3", " 4 ", "5.0", "six", "", None, "1e0"], declared) == [3, 4, 5, None, None, None, 1]


def test_unknown_categories_are_missing_or_the_last_one() -> None:
    """A category that nobody declared leaves no trace of itself."""
    assert there_and_back(["a", "zzz", None], schema(type=T.CATEGORICAL, categories=("a", "other"))) == ["a", "other", "other"]
    assert there_and_back(["a", "zzz"], schema(type=T.CATEGORICAL, categories=("a", "b"), nullable=True)) == ["a", None]


def test_categories_that_are_numbers_stay_numbers_in_any_storage() -> None:
    """Codes stored as integers, floats or text are the same codes."""
    declared = schema(type=T.CATEGORICAL, categories=(7, 3, 5), nullable=True)
    for stored in ([7, 3, 4], [7.0, 3.0, 4.5], ["7", "3", "x"]):
        assert there_and_back(stored, declared) == [7, 3, None]


def test_truth_has_many_spellings() -> None:
    """Yes, true, 1 and what is not 0 are true."""
    declared = schema(type=T.BOOLEAN, nullable=True)
    assert there_and_back(["Yes", "f", "1", "maybe", None], declared) == [True, False, True, None, None]
    assert there_and_back([2.0, 0.0, math.nan], declared) == [True, False, None]


def test_dates_and_times_are_read_from_text_and_kept_as_such() -> None:
    """ISO 8601 with or without offset and fraction; what is no date is missing."""
    day = schema(type=T.DATE, minimum="2000-01-01", maximum="2030-12-31", nullable=True)
    read = there_and_back(["2020-02-29", "2021-02-29", "2020-13-01", "1990-01-01", "", "08:00", "2024-05-06T07:08:09Z"], day)
    assert read == [dt.date(2020, 2, 29), None, None, dt.date(2000, 1, 1), None, None, dt.date(2024, 5, 6)]
    # Half a day of seconds has a code each.
    moment = schema(type=T.DATETIME, minimum="2020-01-01T00:00:00", maximum="2020-01-01T12:00:00", nullable=True)
    assert there_and_back(["2020-01-01 10:11:12.4", "2020-01-01T10:11:12+02:30", "2020-01-01T10:11:12-0100"], moment) == [
        utc(10, 11, 12),
        utc(7, 41, 12),
        utc(11, 11, 12),
    ]
    clock = schema(type=T.TIME, minimum="00:00", maximum="23:59:59", nullable=True, granularity=60)
    assert there_and_back(["07:30", "25:00", "2020-01-01"], clock) == [dt.time(7, 30), None, None]


def test_a_declared_pattern_is_followed() -> None:
    """Dates that are not ISO are read by the schema's strptime pattern."""
    declared = schema(type=T.DATE, minimum="2000-01-01", maximum="2030-12-31", nullable=True, format="%d.%m.%Y")
    assert there_and_back(["06.05.2024", "2024-05-06"], declared) == [dt.date(2024, 5, 6), None]


def test_cents_stay_cents() -> None:
    """A granularity is honoured to the digit."""
    decoded = there_and_back([0.1, 0.3, 99.99, 12.345], schema(type=T.NUMBER, minimum=0, maximum=100, granularity=0.01))
    assert decoded[:3] == [0.1, 0.3, 99.99]
    assert decoded[3] in {12.34, 12.35}


def test_zero_and_the_bounds_are_apart_from_wide_cells() -> None:
    """People's favourite values survive a range that is far too long to count value by value."""
    for declared in (
        schema(type=T.NUMBER, minimum=-1e6, maximum=1e9),
        schema(type=T.INTEGER, minimum=-(10**6), maximum=10**9),
    ):
        low, high = declared.columns[0].minimum, declared.columns[0].maximum
        assert there_and_back([0.0, float(low), float(high)] * 20, declared) == [0, low, high] * 20


@pytest.mark.parametrize(
    ("column", "declare"),
    [
        ({"type": T.CATEGORICAL}, "categories"),
        ({"type": T.INTEGER}, "minimum and maximum"),
        ({"type": T.NUMBER, "minimum": 0}, "minimum and maximum"),
        ({"type": T.DATE, "maximum": "2024-12-31"}, "minimum and maximum"),
        ({"type": T.INTEGER, "minimum": 0.2, "maximum": 0.8}, "minimum and a maximum"),
        ({"type": T.TEXT}, "PII class"),
    ],
)
def test_a_column_without_a_public_domain_is_refused_with_what_to_declare(column: dict, declare: str) -> None:
    """Nothing is ever read off the data; the error says what a person must say."""
    with pytest.raises(DomainNotDeclared, match="'x'") as refused:
        open_handle(pa.table({"x": pa.array([1])}), schema(**column), 1000)
    assert (refused.value.column, refused.value.code) == ("x", "domain-not-declared")
    assert declare in refused.value.declare


def test_keys_personal_data_and_free_text_are_never_looked_at() -> None:
    """They are made fresh from their class, or drawn from a public domain, or null: the handle does not even have them."""
    declared = TableSchema(
        columns=(
            ColumnSchema(name="id", type=T.INTEGER),
            ColumnSchema(name="mail", type=T.TEXT, pii="email"),
            ColumnSchema(name="note", type=T.TEXT, nullable=True),
            ColumnSchema(name="born", type=T.DATE, pii="date_of_birth", minimum="1950-01-01", maximum="2000-01-01"),
            ColumnSchema(name="age", type=T.INTEGER, minimum=0, maximum=9),
        ),
        primary_key=("id",),
    )
    rows = 50
    table = pa.table(
        {"id": [9] * rows, "mail": ["a@b.org"] * rows, "note": ["secret"] * rows, "born": [dt.date(1970, 1, 1)] * rows, "age": [3] * rows}
    )
    assert open_handle(table, declared, 1000).columns == ("age",)
    encoding = Encoding(declared)
    made = encoding.decode(encoding.encode(table), rows, np.random.default_rng(0))
    assert len(set(made["id"].to_pylist())) == len(set(made["mail"].to_pylist())) == rows
    assert made["mail"][0].as_py().endswith("@example.com")
    assert made["note"].null_count == rows
    assert len(set(made["born"].to_pylist())) > 10
    assert made["age"].to_pylist() == [3] * rows


def test_a_declared_column_that_is_not_there_is_named() -> None:
    """Columns are public: their absence may be told."""
    with pytest.raises(KeyError, match="x"):
        open_handle(pa.table({"y": [1]}), DECLARED[0], 1000)
