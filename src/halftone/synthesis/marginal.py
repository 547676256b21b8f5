"""The default engine: noisy columns, then all noisy pairs on few bins, then a mixture of products that agrees with them.

Select, measure, generate (McKenna et al. 2021, "Winning the NIST contest"), without the selection: on compressed domains every pair is
affordable, and a mixture uses all of them where a tree could use one per column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from contracts.cost import RHO_SCALE
from contracts.schema import TableSchema
from halftone.privacy.measure import Measurer
from halftone.synthesis.binning import LIST_BINS, PAIR_CELLS, Bins, bins_of, pair_cells, pairs_of
from halftone.synthesis.counting import Floats, project
from halftone.synthesis.encoding import Encoding
from halftone.synthesis.engine import Measurements, Progress, silent
from halftone.synthesis.leaves import Leaves, as_arrays, from_arrays, measure_leaves, total_rows
from halftone.synthesis.mixture import Targets, fit_mixture
from halftone.synthesis.model import ColumnShape, MixtureModel

COLUMNS_PERCENT = 25
"""Of rho, for columns alone; the rest is for pairs."""
_FOLD = 3.0  # standard deviations of noise that a bin must hold to be seen


class MarginalEngine:
    """All two-way marginals under the discrete Gaussian, and a mixture of products fitted to them."""

    name: ClassVar[str] = "marginal"
    licence: ClassVar[str] = "Apache-2.0"
    private: ClassVar[bool] = True
    description: ClassVar[str] = "Noisy columns and pairs of columns, and a mixture of products that agrees with them: the default."

    def least(self, schema: TableSchema) -> int:
        """Two units for each column out of their share, one for each pair out of theirs. Raises DomainNotDeclared."""
        columns = len(Encoding(schema).columns)
        pairs = len(pairs_of(columns))
        if not pairs:
            return max(1, 2 * columns)
        return max(-(-2 * columns * 100 // COLUMNS_PERCENT), -(-pairs * 100 // (100 - COLUMNS_PERCENT)))

    def measure(self, handle: Measurer, schema: TableSchema, rho: int, progress: Progress = silent) -> Measurements:
        """Columns, bins read from them, and pairs on those bins.

        Raises GrantExceeded, DomainNotDeclared, and ValueError for less than the least rho.
        """
        handle.require(rho)
        encoding = Encoding(schema)
        progress(0.0, "measure columns")
        if not encoding.columns:
            rows = handle.measure((), rho)
            return Measurements(engine=self.name, schema=schema, mechanisms=handle.mechanisms, arrays={"rows": rows})
        pairs = pairs_of(len(encoding.columns))
        alone = rho * COLUMNS_PERCENT // 100 if pairs else rho
        leaves = measure_leaves(handle, encoding, alone)
        each = (rho - alone) // max(1, len(pairs))
        bins, seen = _bins(encoding, leaves, pairs, each)
        progress(0.3, "measure pairs")
        arrays = as_arrays(leaves) | {f"bins.{i}": chosen for i, chosen in enumerate(bins)}
        codes = {name: np.repeat(chosen, leaf.widths) for (name, leaf), chosen in zip(leaves.items(), bins, strict=True)}
        arrays |= _measured_pairs(handle, codes, seen, (rho - alone) // max(1, len(seen)))
        progress(1.0, "measure pairs")
        return Measurements(engine=self.name, schema=schema, mechanisms=handle.mechanisms, arrays=arrays)

    def fit(self, measurements: Measurements, progress: Progress = silent) -> MixtureModel:
        """A mixture that agrees with the measurements. Raises ValueError for another engine's."""
        if measurements.engine != self.name:
            raise ValueError(f"these measurements are of engine {measurements.engine!r}, not of {self.name!r}")
        encoding, arrays = Encoding(measurements.schema), measurements.arrays
        if not encoding.columns:
            return MixtureModel(self.name, measurements.schema, max(0, int(arrays["rows"])), np.ones(1), (), ())
        leaves = from_arrays(arrays, encoding)
        bins: list[Bins] = [arrays[f"bins.{i}"] for i in range(len(leaves))]
        rows, counts = _consistent(list(leaves.values()), bins, arrays)
        weights, shares = fit_mixture(_targets(counts, rows, arrays), lambda done: progress(done, "fit"))
        progress(1.0, "fit")
        ends = np.cumsum([len(count) for count in counts])[:-1]
        return MixtureModel(
            engine=self.name,
            schema=measurements.schema,
            rows=max(0, round(rows)),
            weights=weights.astype(np.float64),
            shares=tuple(np.ascontiguousarray(part.T, dtype=np.float64) for part in np.split(shares, ends)),
            shapes=tuple(_shape(*column) for column in zip(leaves.values(), bins, counts, strict=True)),
        )

    def load(self, data: bytes) -> MixtureModel:
        """A saved model. Raises ValueError for other bytes."""
        return MixtureModel.load(data, self.name)


def _bins(
    encoding: Encoding, leaves: Mapping[str, Leaves], pairs: list[tuple[int, int]], rho: int
) -> tuple[list[Bins], list[tuple[int, int]]]:
    """Bins per column, as many as the noise of pairs at that rho and the time to draw it allow; and the pairs that say anything."""
    noise = np.sqrt(RHO_SCALE / (2 * max(1, rho)))
    limit = LIST_BINS
    while True:
        bins = [
            bins_of(
                leaf,
                ordered=encoder.ordered,
                nullable=encoder.nullable,
                least=_FOLD * max(noise, float(np.sqrt(leaf.variance.max()))),
                limit=limit,
            )
            for leaf, encoder in zip(leaves.values(), encoding.columns.values(), strict=True)
        ]
        sizes = [int(chosen.max()) + 1 for chosen in bins]
        seen = [(a, b) for a, b in pairs if min(sizes[a], sizes[b]) > 1]
        if limit == 2 or pair_cells(sizes, seen) <= PAIR_CELLS:
            return bins, seen
        limit = max(2, limit * 3 // 4)


def _measured_pairs(handle: Measurer, bins: Mapping[str, Bins], pairs: list[tuple[int, int]], rho: int) -> dict[str, NDArray[Any]]:
    """Noisy counts per pair of columns, which pairs, and how much noise; bins are per code."""
    if not pairs:
        return {"pairs": np.zeros((0, 2), np.int64)}
    names = list(bins)
    counts = handle.measure_many([(names[a], names[b]) for a, b in pairs], rho, bins=bins)
    noise = np.array(handle.mechanisms[-1].scale)
    return {"pairs": np.array(pairs), "pair noise": noise} | {f"pair.{a}.{b}": c for (a, b), c in zip(pairs, counts, strict=True)}


def _consistent(leaves: list[Leaves], bins: list[Bins], arrays: Mapping[str, NDArray[Any]]) -> tuple[float, list[Floats]]:
    """Rows, and rows per bin of each column: every measurement that tells of them, weighted by what it is worth (inverse variance)."""
    worth: list[Floats] = [1 / np.bincount(chosen, leaf.variance) for leaf, chosen in zip(leaves, bins, strict=True)]
    sums: list[Floats] = [np.bincount(chosen, leaf.counts) * known for leaf, chosen, known in zip(leaves, bins, worth, strict=True)]
    rows, variance = total_rows(leaves)
    weighted_rows, rows_worth = rows / variance, 1 / variance
    for a, b in arrays["pairs"].tolist():
        pair, noise = arrays[f"pair.{a}.{b}"], float(arrays["pair noise"]) ** 2
        for column, axis in ((a, 1), (b, 0)):
            weight = 1 / (noise * pair.shape[axis])
            sums[column] += weight * pair.sum(axis=axis)
            worth[column] += weight
        weighted_rows, rows_worth = weighted_rows + float(pair.sum()) / (noise * pair.size), rows_worth + 1 / (noise * pair.size)
    rows = weighted_rows / rows_worth
    return rows, [project(count / weight, rows) for count, weight in zip(sums, worth, strict=True)]


def _targets(counts: list[Floats], rows: float, arrays: Mapping[str, NDArray[Any]]) -> Targets:
    sizes = tuple(len(count) for count in counts)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    pairs, measured = np.zeros((2, starts[-1], starts[-1]), np.float32)
    scale = max(1.0, rows)
    for a, b in arrays["pairs"].tolist():
        block = (slice(starts[a], starts[a + 1]), slice(starts[b], starts[b + 1]))
        pairs[block] = arrays[f"pair.{a}.{b}"] / scale
        measured[block] = 1
    return Targets(
        sizes=sizes,
        shares=np.concatenate([count / count.sum() for count in counts]).astype(np.float32),
        pairs=pairs + pairs.T,
        measured=measured + measured.T,
        noise=float(arrays.get("pair noise", 0.0)) / scale,
    )


def _shape(leaves: Leaves, bins: Bins, counts: Floats) -> ColumnShape:
    """How likely each leaf is in its bin: its noisy count, brought into line with the bin's."""
    weights = np.zeros(len(bins))
    for chosen, count in enumerate(counts.tolist()):
        inside = bins == chosen
        weights[inside] = project(leaves.counts[inside], count)
    return ColumnShape(leaves.starts, leaves.widths, bins, weights)
