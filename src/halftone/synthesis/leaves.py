"""Noisy counts of single columns: the leaves every engine draws values from.

A range has up to 65,536 codes, too many to count one by one under noise. It is counted in a few hundred cells, then once more with the
fullest cells split. Which those are is read from noisy counts alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halftone.privacy.measure import Measurer
from halftone.synthesis.columns import ColumnEncoder
from halftone.synthesis.counting import Floats
from halftone.synthesis.encoding import Encoding

CELLS = 256
"""Cells that a range is first counted in; also pieces that a full cell is split into."""
FULL = 1 / 16
"""Share of all rows from which a cell is split."""


@dataclass(frozen=True, slots=True)
class Leaves:
    """A column's codes, cut into runs, with a noisy count each. All of shape (leaves,)."""

    starts: NDArray[np.int64]
    """First code of each run; the next run's start ends it."""
    counts: Floats
    """Noisy rows per run."""
    variance: Floats
    """Of the noise, in rows squared."""
    size: int
    """Number of codes."""

    @property
    def widths(self) -> NDArray[np.int64]:
        """Codes per run."""
        return np.diff(self.starts, append=self.size)


def measure_leaves(handle: Measurer, encoding: Encoding, rho: int) -> dict[str, Leaves]:
    """Leaves per modelled column for at most rho (in 1e-12), split evenly; half of a wide range's share buys the second look.

    Raises GrantExceeded, and ValueError where rho is less than two units per column.
    """
    share = rho // max(1, len(encoding.columns))
    starts = {name: _first_cut(encoder) for name, encoder in encoding.columns.items()}
    wide = [name for name, encoder in encoding.columns.items() if len(starts[name]) < encoder.size]
    short = [name for name in encoding.columns if name not in wide]
    leaves = _measure(handle, starts, wide, share // 2) | _measure(handle, starts, short, share)
    finer = {name: _second_cut(leaves[name]) for name in wide}
    for name, second in _measure(handle, finer, wide, share - share // 2).items():
        leaves[name] = _combined(leaves[name], second)
    return {name: leaves[name] for name in encoding.columns}


def _measure(handle: Measurer, starts: Mapping[str, NDArray[np.int64]], names: list[str], rho: int) -> dict[str, Leaves]:
    if not names:
        return {}
    sizes = handle.sizes
    bins = {name: np.repeat(np.arange(len(starts[name])), np.diff(starts[name], append=sizes[name])) for name in names}
    counts = handle.measure_many([(name,) for name in names], rho, bins=bins)
    variance = handle.mechanisms[-1].scale ** 2
    return {
        name: Leaves(starts[name], count.astype(np.float64), np.full(len(count), variance), sizes[name])
        for name, count in zip(names, counts, strict=True)
    }


def _first_cut(encoder: ColumnEncoder) -> NDArray[np.int64]:
    """Every code of a short domain or a list; of a long range equal runs, with likely values and 'missing' apart."""
    last = encoder.size - encoder.nullable
    if not encoder.ordered or last <= CELLS:
        return np.arange(encoder.size)
    runs = np.linspace(0, last, CELLS + 1).astype(np.int64)
    apart = np.concatenate([encoder.alone, encoder.alone + 1])
    cut = np.unique(np.concatenate([runs, apart]))
    return cut[cut < encoder.size]


def _second_cut(leaves: Leaves) -> NDArray[np.int64]:
    total = max(1.0, float(leaves.counts.sum()))
    full = (leaves.counts > np.maximum(total * FULL, 3 * np.sqrt(leaves.variance))) & (leaves.widths > 1)
    pieces = [
        start + np.arange(min(width, CELLS)) * width // min(width, CELLS)
        for start, width in zip(leaves.starts[full].tolist(), leaves.widths[full].tolist(), strict=True)
    ]
    return np.unique(np.concatenate([leaves.starts, *pieces]))


def _combined(first: Leaves, second: Leaves) -> Leaves:
    """Both looks at the runs that were not split, weighted by what each is worth; the second at the others."""
    at = np.searchsorted(second.starts, first.starts)
    whole = second.widths[at] == first.widths
    here = at[whole]
    counts, variance = second.counts.copy(), second.variance.copy()
    weight, weight_again = 1 / first.variance[whole], 1 / second.variance[here]
    counts[here] = (first.counts[whole] * weight + second.counts[here] * weight_again) / (weight + weight_again)
    variance[here] = 1 / (weight + weight_again)
    return Leaves(second.starts, counts, variance, second.size)


def total_rows(leaves: Iterable[Leaves]) -> tuple[float, float]:
    """A noisy number of rows from all columns' leaves, and its variance."""
    sums = np.array([[float(leaf.counts.sum()), 1 / float(leaf.variance.sum())] for leaf in leaves])
    return float((sums[:, 0] * sums[:, 1]).sum() / sums[:, 1].sum()), float(1 / sums[:, 1].sum())


def as_arrays(leaves: Mapping[str, Leaves]) -> dict[str, NDArray[Any]]:
    """Arrays to be stored, numbered by column."""
    return {f"{part}.{i}": getattr(leaf, part) for i, leaf in enumerate(leaves.values()) for part in ("starts", "counts", "variance")}


def from_arrays(arrays: Mapping[str, NDArray[Any]], encoding: Encoding) -> dict[str, Leaves]:
    """What ``as_arrays`` stored. Raises KeyError if the arrays are not of this schema."""
    return {
        name: Leaves(arrays[f"starts.{i}"], arrays[f"counts.{i}"], arrays[f"variance.{i}"], encoder.size)
        for i, (name, encoder) in enumerate(encoding.columns.items())
    }
