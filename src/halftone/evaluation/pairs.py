"""How alike pairs of columns hang together.

Definitions as in SDMetrics (Column Pair Trends, DataCebo): correlation similarity for two numeric columns, contingency similarity for
any other pair, with a numeric column in ten bins of equal width over the real one's range, and missing as a category.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from halftone.evaluation.accuracy import overlap
from halftone.evaluation.codes import Codes
from halftone.evaluation.columns import Column, Kind, Values

BINS = 10


@dataclass(frozen=True, slots=True)
class Trends:
    """Columns made ready for comparing their pairs."""

    columns: Sequence[Column]
    real: Sequence[Codes]
    synthetic: Sequence[Codes]
    sizes: Sequence[int]

    @classmethod
    def of(cls, columns: Sequence[Column]) -> Trends:
        """Bin the numeric columns."""
        ready = [_discrete(column) for column in columns]
        return cls(columns, [r for r, _, _ in ready], [s for _, s, _ in ready], [size for _, _, size in ready])

    def similarity(self, i: int, j: int) -> float | None:
        """Likeness of the pair in [0, 1]; None if a correlation does not exist in one of the tables, as of a constant."""
        one, other = self.columns[i], self.columns[j]
        if one.kind is Kind.NUMERIC and other.kind is Kind.NUMERIC:
            return correlation_similarity(one, other)
        size = self.sizes[j]
        return overlap(self.real[i] * size + self.real[j], self.synthetic[i] * size + self.synthetic[j], self.sizes[i] * size)


def correlation_similarity(one: Column, other: Column) -> float | None:
    """One minus half the difference of Pearson's correlations, over the rows where both values are there and finite."""
    real, synthetic = _correlation(one.real, other.real), _correlation(one.synthetic, other.synthetic)
    return None if real is None or synthetic is None else 1.0 - abs(real - synthetic) / 2


def _correlation(x: Values, y: Values) -> float | None:
    both = np.isfinite(x) & np.isfinite(y)
    x, y = _centred(x[both]), _centred(y[both])
    scale = float(np.sqrt(x @ x) * np.sqrt(y @ y))
    return float(np.clip(x @ y / scale, -1.0, 1.0)) if scale > 0 else None


def _centred(x: Values) -> Values:
    """Deviations from the mean, scaled into [-1, 1] first: the square of a large double is infinite."""
    most = float(np.abs(x).max(initial=0.0))
    if len(x) == 0 or most == 0 or np.all(x == x[0]):
        return np.zeros(len(x))
    scaled = x / most
    return np.asarray(scaled - scaled.mean(), np.float64)


def _discrete(column: Column) -> tuple[Codes, Codes, int]:
    """Codes in both tables and how many there are."""
    if column.kind is not Kind.NUMERIC:
        return np.asarray(column.real, np.int64), np.asarray(column.synthetic, np.int64), column.size
    known = column.real[np.isfinite(column.real)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    share = np.linspace(0, 1, BINS + 1)[1:-1]
    edges = low * (1 - share) + high * share

    def place(x: Values) -> Codes:
        return np.where(np.isnan(x), BINS, np.searchsorted(edges, x, side="right")).astype(np.int64)

    return place(column.real), place(column.synthetic), BINS + 1
