"""Accuracy: one minus the total variation distance of binned marginals, over one, two and three columns.

The idea is MOSTLY AI's (arXiv 2504.01908). Averaged over all one-way and two-way marginals and 200 sampled three-way ones, then over the
three orders. Of a very wide table, the two-way marginals are a sample as well.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from halftone.evaluation.codes import Codes, binned
from halftone.evaluation.columns import load

TRIPLES = 200
PAIRS = 5_000
Sets = dict[str, list[tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Each in [0, 1]; None where the table has too few columns for the order."""

    uni: float | None
    bi: float | None
    tri: float | None

    @property
    def overall(self) -> float:
        """Mean of the orders that there are."""
        return float(np.mean([value for value in (self.uni, self.bi, self.tri) if value is not None]))


def accuracy(real: pa.Table, synthetic: pa.Table, *, numeric: Collection[str] | None = None, seed: int = 0) -> Accuracy:
    """Compare two tables of any numbers of rows. ``numeric`` names the columns that are binned as numbers, if not left to their types.

    Raises an EvaluationError.
    """
    bins = [binned(column) for column in load(real, synthetic, numeric=numeric)]
    sets = marginals(len(bins), seed)
    return agreement([b.real for b in bins], [b.synthetic for b in bins], [b.size for b in bins], sets)


def marginals(columns: int, seed: int = 0) -> Sets:
    """Which columns are looked at together, by order: tuples of positions."""
    return {
        "uni": [(i,) for i in range(columns)],
        "bi": sampled(columns, 2, PAIRS, np.random.default_rng([seed, 2])),
        "tri": sampled(columns, 3, TRIPLES, np.random.default_rng(seed)),
    }


def sampled(columns: int, order: int, most: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """All sets of ``order`` columns in lexicographic order, or ``most`` of them drawn without replacement."""
    total = math.comb(columns, order)
    if total <= most:
        return list(itertools.combinations(range(columns), order))
    return [_nth(columns, order, int(n)) for n in rng.choice(total, most, replace=False)]


def _nth(columns: int, order: int, n: int) -> tuple[int, ...]:
    """The n-th combination in lexicographic order, from 0: a wide table has too many to list."""
    chosen: list[int] = []
    first = 0
    for left in range(order, 0, -1):
        while (following := math.comb(columns - first - 1, left - 1)) <= n:
            n -= following
            first += 1
        chosen.append(first)
        first += 1
    return tuple(chosen)


def agreement(real: Sequence[Codes], other: Sequence[Codes], sizes: Sequence[int], sets: Sets) -> Accuracy:
    """Accuracy of binned columns: for each, its codes in both tables and its number of bins."""
    return Accuracy(**{name: _mean([_overlap(real, other, sizes, chosen) for chosen in sets[name]]) for name in ("uni", "bi", "tri")})


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _overlap(real: Sequence[Codes], other: Sequence[Codes], sizes: Sequence[int], chosen: tuple[int, ...]) -> float:
    x, y, cells = real[chosen[0]], other[chosen[0]], sizes[chosen[0]]
    for i in chosen[1:]:
        x, y, cells = x * sizes[i] + real[i], y * sizes[i] + other[i], cells * sizes[i]
    return overlap(x, y, cells)


def overlap(x: Codes, y: Codes, cells: int) -> float:
    """One minus the total variation distance between the shares of codes in [0, cells)."""
    if cells > 4 * (len(x) + len(y)):
        values, codes = np.unique(np.concatenate([x, y]), return_inverse=True)
        x, y, cells = codes[: len(x)], codes[len(x) :], len(values)
    p = np.bincount(x, minlength=cells) / len(x)
    q = np.bincount(y, minlength=cells) / len(y)
    # Rounding may leave the sum of shares a hair off one.
    return float(min(1.0, max(0.0, 1.0 - 0.5 * np.abs(p - q).sum())))
