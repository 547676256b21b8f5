"""Domain compression: few bins per column, each with enough rows to be seen through the noise, read from noisy counts alone."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from halftone.synthesis.leaves import Leaves

RANGE_BINS = 20
"""Bins of a range, at most: twice the deciles that people look at."""
LIST_BINS = 64
"""Bins of a list, at most; the rarest values share one."""
PAIR_CELLS = 200_000
"""Cells of all pairs together, at most: OpenDP draws about 100,000 exact samples a second."""
PAIRS = 2_000
"""Pairs measured, at most; above that each would be mostly noise."""

Bins = NDArray[np.int64]
"""Bin per leaf, shape (leaves,): 0 to the number of bins - 1, each used."""


def bins_of(leaves: Leaves, *, ordered: bool, nullable: bool, least: float, limit: int) -> Bins:
    """At most ``limit`` bins of at least about ``least`` noisy rows each.

    Of a list, values with fewer rows are folded into one bin. Of a range, neighbours are joined until they reach a share of the rows, and
    what reaches it alone stays alone, as does 'missing'.
    """
    limit = max(2, limit)
    if not ordered:
        return _folded(leaves.counts, least, limit)
    values = len(leaves.counts) - nullable
    ranged = min(RANGE_BINS, limit - nullable)
    joined = _joined(leaves.counts[:values], max(least, float(leaves.counts[:values].sum()) / ranged))
    if nullable:
        joined = np.append(joined, joined[-1] + (leaves.counts[-1] >= least))
    return joined


def _folded(counts: NDArray[np.float64], least: float, limit: int) -> Bins:
    rank = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")
    kept = (counts >= least) & (rank < limit - (len(counts) > limit))
    return np.where(kept, np.cumsum(kept) - 1, kept.sum()).astype(np.int64)


def _joined(counts: NDArray[np.float64], least: float) -> Bins:
    """Neighbours joined, by leaves (some hundreds or thousands, whatever the rows)."""
    bins = np.zeros(len(counts), np.int64)
    here, held = 0, 0.0
    for leaf, count in enumerate(counts.tolist()):
        if count >= least and leaf and bins[leaf - 1] == here:
            # What came before stays a bin of its own if it is worth one, else it joins the bin before it.
            if held < least / 2 and here:
                bins[bins == here] = here - 1
            else:
                here += 1
            held = 0.0
        bins[leaf] = here
        held += count
        if held >= least:
            here, held = here + 1, 0.0
    if held < least / 2 and bins[-1] > 0 and held != 0.0:
        bins[bins == bins[-1]] -= 1
    return np.unique(bins, return_inverse=True)[1].astype(np.int64)


def pairs_of(columns: int) -> list[tuple[int, int]]:
    """Pairs to measure: all, or where those are too many each column with as many next ones as fit, which depends on no data."""
    if math.comb(columns, 2) <= PAIRS:
        return list(itertools.combinations(range(columns), 2))
    reach = range(1, PAIRS // columns + 1)
    return sorted({(min(i, j), max(i, j)) for i in range(columns) for j in ((i + step) % columns for step in reach) if i != j})


def pair_cells(sizes: list[int], pairs: list[tuple[int, int]]) -> int:
    """Cells of all these pairs together."""
    return sum(sizes[a] * sizes[b] for a, b in pairs)
