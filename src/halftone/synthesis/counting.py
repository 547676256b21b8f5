"""Arithmetic on noisy counts: projection, and drawing with little variance. Nothing here sees data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def project(counts: Floats, total: float) -> Floats:
    """The counts at or above zero that sum to a total and are nearest in L2 to noisy ones (Duchi et al. 2008, projection on the simplex).

    Unlike clipping at zero it does not turn the noise of many empty cells into people. A total below 1 counts as 1. Shape kept.
    """
    total = max(total, 1.0)
    falling = np.sort(counts, axis=None)[::-1]
    excess = (np.cumsum(falling) - total) / np.arange(1, falling.size + 1)
    nearest: Floats = np.maximum(counts - excess[np.nonzero(falling > excess)[0][-1]], 0.0)
    return nearest


def apportion(shares: Floats, totals: NDArray[np.integer[Any]], rng: np.random.Generator) -> NDArray[np.int64]:
    """Whole numbers that sum to totals (shape (groups,)), in proportion to shares (shape (groups, values)): systematic sampling.

    Each is its expectation rounded up or down, and right on average.
    """
    reached = np.cumsum(shares, axis=1)
    reached *= (totals / reached[:, -1])[:, None]
    whole = np.minimum(np.floor(reached + rng.random((len(totals), 1))), totals[:, None]).astype(np.int64)
    whole[:, -1] = totals
    parts: NDArray[np.int64] = np.diff(whole, axis=1, prepend=0)
    return parts


def draw(shares: Floats, totals: NDArray[np.integer[Any]], rng: np.random.Generator) -> NDArray[np.int64]:
    """Values apportioned within each group and in random order there, groups one after the other: shape (sum of totals,).

    Group, random bits and value are packed in one integer each, so that one sort does it.
    """
    groups, choices = shares.shape
    count = apportion(shares, totals, rng).ravel()
    rows = int(totals.sum())
    low, high = max(1, (choices - 1).bit_length()), max(1, (groups - 1).bit_length())
    chance = min(32, 63 - low - high)
    packed = np.repeat((np.arange(groups)[:, None] << (low + chance) | np.arange(choices)[None, :]).ravel(), count)
    packed |= rng.integers(0, 1 << chance, rows, dtype=np.int64) << low
    packed.sort()
    values: NDArray[np.int64] = packed & ((1 << low) - 1)
    return values
