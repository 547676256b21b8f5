"""Columns in a few bins, drawn on the real table: what accuracy is counted on.

Numeric: every value that more than a tenth of the rows share has a bin of its own, the rest falls into its deciles. Others: the ten most
frequent values, and all others together. Missing is a bin too. The idea is MOSTLY AI's (Platzer and Reutterer 2021; arXiv 2504.01908).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from halftone.evaluation.columns import Column, Kind, Values

Codes = npt.NDArray[np.int64]
HEAVY = 0.1
TOP = 10
_DECILES = np.linspace(0, 1, 11)[1:-1]


@dataclass(frozen=True, slots=True)
class Binned:
    """Bins of one column in both tables."""

    size: int
    """Number of bins."""
    real: Codes
    """Bin of each row, shape (rows,), in [0, size)."""
    synthetic: Codes


def binned(column: Column) -> Binned:
    """Bin one column of both tables alike."""
    size, place = _numeric(column.real) if column.kind is Kind.NUMERIC else _categories(column)
    return Binned(size, place(column.real), place(column.synthetic))


def _numeric(real: Values) -> tuple[int, Callable[[Values], Codes]]:
    known = real[~np.isnan(real)]
    values, counts = np.unique(known, return_counts=True)
    heavy = values[counts > HEAVY * len(known)]
    rest = known[~np.isin(known, heavy)]
    rest = rest[np.isfinite(rest)]
    edges = np.unique(np.quantile(rest, _DECILES)) if len(rest) else np.empty(0)
    missing = len(heavy) + len(edges) + 1

    def place(x: Values) -> Codes:
        code = len(heavy) + np.searchsorted(edges, x, side="right")
        if len(heavy):
            at = np.minimum(np.searchsorted(heavy, x), len(heavy) - 1)
            code = np.where(heavy[at] == x, at, code)
        return np.where(np.isnan(x), missing, code).astype(np.int64)

    return missing + 1, place


def _categories(column: Column) -> tuple[int, Callable[[Values], Codes]]:
    codes = np.asarray(column.real, np.int64)
    counts = np.bincount(codes, minlength=column.size)[:-1]
    # Codes go by first appearance, so a stable sort settles ties by it.
    top = np.argsort(-counts, kind="stable")[:TOP]
    bins = np.full(column.size, TOP, np.int64)
    bins[top[counts[top] > 0]] = np.arange(np.count_nonzero(counts[top]))
    bins[-1] = TOP + 1
    return TOP + 2, lambda x: bins[np.asarray(x, np.int64)]
