"""Shapes of columns and trends of pairs, against the definitions written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftone.evaluation.columns import Column, Kind, load
from halftone.evaluation.pairs import Trends, correlation_similarity
from halftone.evaluation.shapes import ks_complement, shape

REALS = st.lists(st.floats(-5, 5).map(lambda x: round(x, 1)), min_size=1, max_size=25).map(np.array)


@given(REALS, REALS)
@settings(deadline=None)
def test_ks_complement_is_the_greatest_gap(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
    """One minus the greatest gap between the two shares at or below a point, whichever table comes first."""
    gap = max(abs(np.mean(x <= t) - np.mean(y <= t)) for t in [*x, *y])
    assert ks_complement(x, y) == pytest.approx(1 - gap)
    assert ks_complement(x, y) == ks_complement(y, x)


def test_ks_complement_with_gaps_and_infinities() -> None:
    """Missing values are left out, infinities are values, and a column that only one table filled is wholly unlike."""
    nan, inf = float("nan"), float("inf")
    assert ks_complement(np.array([1.0, nan, inf]), np.array([1.0, inf])) == 1.0
    assert ks_complement(np.array([nan]), np.array([1.0])) == 0.0
    assert ks_complement(np.array([nan]), np.array([nan, nan])) is None


def test_shape_of_categories_counts_missing_as_one() -> None:
    """TV complement over all values and missing."""
    real, synthetic = pa.table({"a": ["x", "x", "y", None]}), pa.table({"a": ["x", "z", None, None]})
    assert shape(load(real, synthetic)[0]) == pytest.approx(0.5)


def numeric(name: str, real: list[float], synthetic: list[float]) -> Column:
    return Column(name, Kind.NUMERIC, 0, np.array(real, float), np.array(synthetic, float))


def test_correlation_similarity() -> None:
    """One for the same correlation, none for the opposite one, half for none against a full one."""
    up, down, flat = [1, 2, 3, 4.0], [4, 3, 2, 1.0], [1, -1, -1, 1.0]
    assert correlation_similarity(numeric("a", up, up), numeric("b", up, up)) == pytest.approx(1)
    assert correlation_similarity(numeric("a", up, up), numeric("b", up, down)) == pytest.approx(0)
    assert correlation_similarity(numeric("a", up, up), numeric("b", up, flat)) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=2, max_size=20))
@settings(deadline=None)
def test_correlation_is_pearsons(points: list[tuple[float, float]]) -> None:
    """Against a perfect correlation the similarity gives numpy's coefficient back."""
    x, y = (np.round(np.array(side), 2) for side in zip(*points, strict=True))
    if np.ptp(x) < 0.1 or np.ptp(y) < 0.1:
        return
    found = correlation_similarity(
        Column("a", Kind.NUMERIC, 0, np.array([0.0, 1.0]), x), Column("b", Kind.NUMERIC, 0, np.array([0.0, 1.0]), y)
    )
    assert found == pytest.approx(1 - (1 - np.corrcoef(x, y)[0, 1]) / 2)


@pytest.mark.parametrize("bad", [[5, 5, 5, 5.0], [float("nan")] * 4, [float("inf"), float("-inf"), 1, float("nan")]])
def test_a_correlation_that_does_not_exist(bad: list[float]) -> None:
    """A constant column, or one with at most one finite value, correlates with nothing."""
    up = [1, 2, 3, 4.0]
    assert correlation_similarity(numeric("a", up, up), numeric("b", up, bad)) is None


def test_correlation_of_huge_values() -> None:
    """Values near the end of the range of doubles neither overflow nor vanish."""
    up = [1e308, -1e308, 5e307, 0.0]
    assert correlation_similarity(numeric("a", up, up), numeric("b", [x * 1e-300 for x in up], up)) == pytest.approx(1)


def test_contingency_of_mixed_pairs() -> None:
    """A number beside a category is cut into ten bins of equal width over the real range; beyond it the outer bins go on."""
    real = pa.table({"n": [0.0, 10.0, None, 5.0], "c": ["x", "y", "x", "y"]})
    synthetic = pa.table({"n": [0.5, 11.0, None, 0.0], "c": ["x", "y", "x", "y"]})
    found = Trends.of([load(real, synthetic, numeric=["n"])[i] for i in (0, 1)]).similarity(0, 1)
    assert found == pytest.approx(0.75)
