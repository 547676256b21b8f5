"""Arithmetic on noisy counts, and the bins read from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from halftone.synthesis.binning import PAIRS, bins_of, pairs_of
from halftone.synthesis.counting import apportion, draw, project
from halftone.synthesis.leaves import Leaves

counts = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40).map(np.array)


@given(counts, st.floats(-10, 1e7))
def test_a_projection_is_on_the_simplex_and_nothing_on_it_is_nearer(noisy: np.ndarray, total: float) -> None:
    """No count below zero, the right sum, and the conditions of the nearest point: one shift for all that stay above zero."""
    nearest = project(noisy, total)
    assert (nearest >= 0).all()
    assert nearest.sum() == pytest.approx(max(total, 1.0), rel=1e-6, abs=1e-3)
    shift = noisy - nearest
    above = nearest > 0
    assert np.ptp(shift[above]) <= 1e-6 * (1 + np.abs(noisy).max())
    assert (shift[~above] <= shift[above].max() + 1e-6 * (1 + np.abs(noisy).max())).all()


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32))
def test_apportioning_gives_every_group_its_total_and_rounds_each_share(groups: int, choices: int, seed: int) -> None:
    """Whole numbers, none below zero, off their expectation by less than one."""
    rng = np.random.default_rng(seed)
    shares, totals = rng.random((groups, choices)) + 1e-3, rng.integers(0, 50, groups)
    parts = apportion(shares, totals, rng)
    assert (parts.sum(axis=1) == totals).all()
    assert (parts >= 0).all()
    assert (np.abs(parts - shares / shares.sum(axis=1, keepdims=True) * totals[:, None]) < 1 + 1e-9).all()


def test_apportioning_is_right_on_average() -> None:
    """Seeded: the mean of 20,000 roundings of 0.3 is within 0.02 (six standard errors; false alarm 0, the seed is fixed)."""
    parts = apportion(np.tile([0.3, 0.7], (20_000, 1)), np.ones(20_000, np.int64), np.random.default_rng(1))
    assert abs(parts[:, 0].mean() - 0.3) < 0.02


def test_drawn_values_come_in_random_order_within_their_group() -> None:
    """Seeded: groups stay together, and the order of one group's values is not that of another draw."""
    shares, totals = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), np.array([100, 5])
    first, second = draw(shares, totals, np.random.default_rng(1)), draw(shares, totals, np.random.default_rng(2))
    assert first[100:].tolist() == [2] * 5
    assert sorted(first[:100].tolist()) == [0] * 50 + [1] * 50
    assert first.tolist() != sorted(first.tolist())
    assert first.tolist() != second.tolist()


@given(
    counts,
    st.booleans(),
    st.booleans(),
    st.floats(0, 1e5),
    st.integers(2, 64),
)
def test_bins_are_numbered_without_gaps_within_their_limit(
    noisy: np.ndarray, ordered: bool, nullable: bool, least: float, limit: int
) -> None:
    """Whatever the noise, every bin number up to the last is used; a range's bins go up with its codes, and lists keep to the limit."""
    if nullable and len(noisy) == 1:
        return
    leaves = Leaves(np.arange(len(noisy)), noisy, np.ones(len(noisy)), len(noisy))
    bins = bins_of(leaves, ordered=ordered, nullable=nullable, least=least, limit=limit)
    assert np.unique(bins).tolist() == list(range(int(bins.max()) + 1))
    if ordered:
        assert (np.diff(bins) >= 0).all()
    else:
        assert bins.max() < limit


def test_what_cannot_be_seen_through_the_noise_is_folded() -> None:
    """Categories below the least count share a bin, the others have one each."""
    leaves = Leaves(np.arange(5), np.array([500.0, 3, 400, -2, 9]), np.ones(5), 5)
    assert bins_of(leaves, ordered=False, nullable=False, least=50, limit=64).tolist() == [0, 2, 1, 2, 2]


def test_a_heavy_value_of_a_range_stays_alone() -> None:
    """A spike in the middle is not smeared over its neighbours."""
    noisy = np.array([10.0] * 10 + [1000.0] + [10.0] * 10)
    bins = bins_of(Leaves(np.arange(21), noisy, np.ones(21), 21), ordered=True, nullable=False, least=60, limit=64)
    assert (bins == bins[10]).sum() == 1


@given(st.integers(1, 400))
def test_pairs_are_all_pairs_or_a_bounded_even_choice(columns: int) -> None:
    """Each pair once, never more than the cap, and every column in some pair."""
    pairs = pairs_of(columns)
    assert len(set(pairs)) == len(pairs) <= PAIRS
    assert all(a < b < columns for a, b in pairs)
    assert columns == 1 or {column for pair in pairs for column in pair} == set(range(columns))
    if columns <= 60:
        assert len(pairs) == columns * (columns - 1) // 2
