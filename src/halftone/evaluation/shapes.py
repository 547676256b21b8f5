"""How alike the columns are, each on its own.

Definitions as in SDMetrics (Column Shapes, DataCebo): TV complement for categories, with missing as one of them; KS complement for
numbers, with missing left out.
"""

from __future__ import annotations

import numpy as np

from halftone.evaluation.accuracy import overlap
from halftone.evaluation.columns import Column, Kind, Values


def shape(column: Column) -> float | None:
    """Likeness of one column in [0, 1]; None for text, and for numbers of which neither table has any."""
    match column.kind:
        case Kind.TEXT:
            return None
        case Kind.CATEGORICAL:
            return overlap(np.asarray(column.real, np.int64), np.asarray(column.synthetic, np.int64), column.size)
        case _:
            return ks_complement(column.real, column.synthetic)


def ks_complement(real: Values, synthetic: Values) -> float | None:
    """One minus the Kolmogorov-Smirnov statistic: the greatest gap between the two empirical distribution functions.

    NaN is left out. None if nothing remains of either, 0 if of one.
    """
    x, y = np.sort(real[~np.isnan(real)]), np.sort(synthetic[~np.isnan(synthetic)])
    if not len(x) and not len(y):
        return None
    if not len(x) or not len(y):
        return 0.0
    points = np.concatenate([x, y])
    gap = np.searchsorted(x, points, side="right") / len(x) - np.searchsorted(y, points, side="right") / len(y)
    return float(1.0 - np.abs(gap).max())
