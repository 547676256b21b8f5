"""Bounds that are widened still hold what they were read off."""

from __future__ import annotations

import datetime as dt
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.schema import ColumnSchema, ColumnType
from halftone.schemas.rounding import widened

WHOLE = st.integers(-(2**63), 2**63 - 1)
REAL = st.floats(allow_nan=False, allow_infinity=False)


@given(st.tuples(WHOLE, WHOLE))
def test_whole_bounds_hold_the_data(ends: tuple[int, int]) -> None:
    """Neither end of 64-bit integers falls outside, and both bounds are 64-bit integers."""
    low, high = widened(min(ends), max(ends), ColumnType.INTEGER)
    assert isinstance(low, int)
    assert isinstance(high, int)
    assert -(2**63) <= low <= min(ends) <= max(ends) <= high < 2**63


@given(st.tuples(REAL, REAL) | st.floats(-1e6, 1e6).map(lambda x: (x, math.nextafter(x, 1e9))))
def test_real_bounds_hold_the_data(ends: tuple[float, float]) -> None:
    """Nor does one of doubles, up to the largest, and the contract takes the bounds."""
    low, high = widened(min(ends), max(ends), ColumnType.NUMBER)
    ColumnSchema(name="a", type=ColumnType.NUMBER, minimum=low, maximum=high)
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert low <= min(ends) <= max(ends) <= high


@given(st.integers(2, 2**62), st.integers(1, 1000))
def test_a_bound_tells_no_value(low: int, span: int) -> None:
    """A bound is never the least or the greatest value itself, round or not, but for zero."""
    bounds = widened(low, low + span, ColumnType.INTEGER)
    assert bounds[0] != low
    assert bounds[1] != low + span


@pytest.mark.parametrize(
    ("type_", "low", "high", "bounds"),
    [
        (ColumnType.DATE, "2001-05-17", "2020-02-29", ("2001-01-01", "2020-12-31")),
        (ColumnType.DATETIME, "2001-05-17T10:00:00", "2020-02-29T10:00:00", ("2001-01-01T00:00:00", "2020-12-31T23:59:59.999999")),
        (ColumnType.DATETIME, "2001-05-17T10:00:00Z", "2001-06-01T10:00:00Z", ("2001-01-01T00:00:00Z", "2001-12-31T23:59:59.999999Z")),
        (ColumnType.TIME, "08:00:00", "17:00:00", ("00:00:00", "23:59:59.999999")),
    ],
)
def test_moments_widen_to_years_and_days(type_: ColumnType, low: str, high: str, bounds: tuple[str, str]) -> None:
    """Dates widen to whole years, times to the whole day, and the contract takes them."""
    assert widened(low, high, type_) == bounds
    ColumnSchema(name="a", type=type_, minimum=bounds[0], maximum=bounds[1])
    parse = dt.time if type_ is ColumnType.TIME else dt.datetime
    assert parse.fromisoformat(bounds[0]) <= parse.fromisoformat(low)
