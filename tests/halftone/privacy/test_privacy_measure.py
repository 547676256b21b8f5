"""The handle: its grant, its record, its noise, and that it gives out no table."""

from __future__ import annotations

import types
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.cost import RHO_SCALE
from halftone.privacy.measure import MAX_CELLS, GrantExceeded, Measurer, discrete_gaussian, scale_for

ROWS = 1237


def silent_noise(exact: np.ndarray, scale: float) -> np.ndarray:
    return exact


def handle(rho: int, noise=None, rows: int = ROWS) -> Measurer:
    rng = np.random.default_rng(0)
    codes = {"a": rng.integers(0, 3, rows), "b": rng.integers(0, 4, rows), "c": np.zeros(rows, np.int64)}
    return Measurer(codes, {"a": 3, "b": 4, "c": 1}, rows=rows, rho=rho, noise=noise)


def test_a_marginal_counts_every_row_once() -> None:
    """Without noise a histogram is the table's own, one axis per column in the order asked for."""
    opened = handle(10**9, silent_noise)
    pair = opened.measure(("b", "a"), 1000)
    assert pair.shape == (4, 3)
    assert pair.sum() == ROWS
    assert (pair.sum(axis=0) == opened.measure(("a",), 1000)).all()
    assert opened.measure((), 1000) == ROWS


def test_bins_join_codes() -> None:
    """A mapping of codes to bins sums what it joins."""
    opened = handle(10**9, silent_noise)
    whole, joined = opened.measure(("b",), 1), opened.measure(("b",), 1, bins={"b": np.array([0, 1, 1, 0])})
    assert joined.tolist() == [whole[0] + whole[3], whole[1] + whole[2]]


def test_what_is_beyond_the_grant_is_refused_whole_and_costs_nothing() -> None:
    """The grant is a wall: a list of marginals that does not fit leaves no trace, and what fits to the unit is measured."""
    opened = handle(3000)
    opened.measure(("a",), 1000)
    with pytest.raises(GrantExceeded, match="left of the grant") as refused:
        opened.measure_many([("a",), ("b",), ("c",)], 1000)
    assert (refused.value.left, refused.value.code) == (opened.left, "grant-exceeded")
    assert len(opened.mechanisms) == 1
    opened.measure_many([("a",), ("b",)], 1000)
    assert opened.spent == sum(used.rho for used in opened.mechanisms) <= opened.granted == 3000
    assert opened.spent + opened.left == opened.granted


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 10**12))
def test_the_charge_covers_the_noise_and_never_exceeds_the_offer(rho: int) -> None:
    """rho = 1/(2 scale²) at sensitivity 1 (Bun and Steinke 2016), exactly: the charge is never under it, the scale never wasteful."""
    scale, cost = scale_for(rho)
    owed = Fraction(RHO_SCALE, 2) / Fraction(scale) ** 2
    assert owed <= cost <= rho
    assert owed > Fraction(rho) * (1 - Fraction(1, 10**9)) - 1


def test_every_use_of_the_table_is_recorded() -> None:
    """The record is what the certificate states."""
    opened = handle(10**6)
    opened.measure(("a", "b"), 5000)
    (used,) = opened.mechanisms
    assert (used.kind, used.columns, used.cells, used.sensitivity) == ("discrete_gaussian", ("a", "b"), 12, 1.0)
    assert (used.scale, used.rho) == scale_for(5000)


def test_a_draw_that_fails_is_still_charged() -> None:
    """The table was counted before the noise failed: in doubt, charge."""

    def broken(exact: np.ndarray, scale: float) -> np.ndarray:
        raise OSError("no entropy")

    opened = handle(10**6, broken)
    with pytest.raises(OSError, match="entropy"):
        opened.measure(("a",), 5000)
    assert opened.spent > 0


def test_the_noise_has_the_scale_it_claims() -> None:
    """Variance within [0.8, 1.25] of the claim, mean within 7 standard errors.

    The sampler cannot be seeded. False alarms: for 4,000 draws the Chernoff bounds of chi-square give e^-46 and e^-53, the mean 3e-12; a
    scale wrong by 20 % has a variance ratio of 1.44 or 0.64 and is always found.
    """
    scale, _ = scale_for(10**8)
    noise = discrete_gaussian(np.full(4000, 17, np.int64), scale) - 17
    assert 0.8 < noise.var() / scale**2 < 1.25
    assert abs(noise.mean()) < 7 * scale / np.sqrt(4000)


def test_noise_is_drawn_afresh_each_time() -> None:
    """No seed: two draws of 200 cells agree with a probability under 1e-200."""
    exact = np.zeros(200, np.int64)
    assert (discrete_gaussian(exact, 70.0) != discrete_gaussian(exact, 70.0)).any()


def reachable(value: object, depth: int = 4) -> list[object]:
    """Everything that can be got at from a value without going through a function."""
    found = [value]
    if depth == 0 or isinstance(value, (str, int, float, np.ndarray, types.FunctionType, types.BuiltinFunctionType, type)):
        return found
    if isinstance(value, dict):
        inside = [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple, set)):
        inside = list(value)
    else:
        inside = [getattr(value, name) for name in dir(value) if not name.startswith("__")]
        inside = [part for part in inside if not isinstance(part, types.MethodType)]
    return found + [deep for part in inside for deep in reachable(part, depth - 1)]


def test_no_row_can_be_reached_from_the_handle() -> None:
    """Neither its attributes nor theirs hold a table, an array as long as it, or its number of rows."""
    opened = handle(10**9)
    opened.measure(("a", "b"), 1000)
    for value in reachable(opened):
        assert not isinstance(value, (pa.Table, pa.Array, pa.ChunkedArray))
        assert not (isinstance(value, np.ndarray) and value.size >= ROWS)
        assert value != ROWS if isinstance(value, int) else True


@pytest.mark.parametrize("rho", [0, -1])
def test_a_measurement_for_nothing_is_refused(rho: int) -> None:
    """No rho, no answer."""
    with pytest.raises(ValueError, match="at least 1 unit"):
        handle(100).measure(("a",), rho)


def test_mistakes_are_refused_before_anything_is_counted() -> None:
    """Unknown columns, bins of the wrong length, a column twice, and histograms too large to hold."""
    opened = handle(10**9)
    with pytest.raises(KeyError):
        opened.measure(("nobody",), 10)
    with pytest.raises(ValueError, match="each of its 3 codes"):
        opened.measure(("a",), 10, bins={"a": np.array([0, 1])})
    with pytest.raises(ValueError, match="once"):
        opened.measure(("a", "a"), 10)
    wide = Measurer({"a": np.zeros(1, np.int64)}, {"a": MAX_CELLS + 1}, rows=1, rho=10)
    with pytest.raises(ValueError, match="cells"):
        wide.measure(("a",), 10)
    with pytest.raises(ValueError, match="rho"):
        handle(-1)
    with pytest.raises(ValueError, match="codes of column 'a'"):
        Measurer({"a": np.array([3])}, {"a": 3}, rows=1, rho=10)
    assert opened.mechanisms == ()


def test_an_empty_table_is_measured_like_any_other() -> None:
    """No rows is a number of rows that must not show."""
    assert handle(10**6, silent_noise, rows=0).measure(("a", "b"), 1000).sum() == 0
