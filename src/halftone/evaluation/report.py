"""The report: what was measured of a synthetic table, and where it lies between knowing nothing of links and being real.

Floor: independent columns, the real table with each column shuffled on its own. Ceiling: a bootstrap, as many rows as the synthetic table
has, drawn from the real ones with replacement. A figure without both says little: independent columns alone reach 0.93 on Adult.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from contracts.schema import TableSchema
from halftone.evaluation.accuracy import PAIRS, Sets, agreement, marginals, sampled
from halftone.evaluation.codes import Binned, binned
from halftone.evaluation.columns import Column, Kind, load
from halftone.evaluation.pairs import Trends
from halftone.evaluation.reading import read
from halftone.evaluation.shapes import shape

VERSION = 1
_DIGITS = 6
_YARDSTICKS = ("value", "floor", "ceiling")
_TITLES = {
    "accuracy": "Accuracy: one minus the total variation distance of binned marginals, mean of the three orders",
    "accuracy_uni": "Accuracy over single columns",
    "accuracy_bi": "Accuracy over pairs of columns",
    "accuracy_tri": "Accuracy over sampled triples of columns",
    "column_shapes": "Likeness of each column on its own, mean over columns (TV and KS complement)",
    "pair_trends": "Likeness of pairs of columns, mean over pairs (contingency and correlation similarity)",
}
Figures = dict[str, float | None]


def _ignore(_share: float) -> None:
    """Report to nobody."""


def evaluate(
    real: pa.Table,
    synthetic: pa.Table,
    schema: TableSchema | None = None,
    *,
    seed: int = 0,
    progress: Callable[[float], None] = _ignore,
) -> dict[str, Any]:
    """Compare a synthetic table with the real one, as a JSON-able report.

    ``figures[name]`` has title, value, floor, ceiling (each in [0, 1], or None where it cannot be computed), rows and a reading in plain
    words. ``columns`` and ``pairs`` hold the same three numbers for each. Both tables may have any number of rows, and columns of the
    synthetic one that the real one lacks are left out. The same arguments give the same report. Raises an EvaluationError.
    """
    columns = load(real, synthetic, schema=schema)
    plan = _Plan(columns, seed)
    measured = []
    for n, compared in enumerate(_compared(columns, seed)):
        progress(n / len(_YARDSTICKS))
        measured.append(plan.measure(compared))
    progress(1.0)
    rows = {"real": real.num_rows, "synthetic": synthetic.num_rows}
    return {
        "version": VERSION,
        "seed": seed,
        "rows": rows,
        "floor": "independent columns: the real table with each column shuffled on its own",
        "ceiling": f"bootstrap: {synthetic.num_rows:,} rows drawn from the real table with replacement",
        "figures": {name: _figure(name, [m.figures[name] for m in measured], rows) for name in _TITLES},
        "columns": [_with(_describe(column), [m.shapes[i] for m in measured]) for i, column in enumerate(columns)],
        "pairs": [
            _with({"columns": [columns[i].name, columns[j].name]}, [m.pairs[n] for m in measured]) for n, (i, j) in enumerate(plan.pairs)
        ],
    }


def _compared(columns: Sequence[Column], seed: int) -> Iterator[list[Column]]:
    """The synthetic table, the floor and the ceiling, each beside the real one."""
    yield list(columns)
    rng = np.random.default_rng([seed, 1])
    yield [column.against(rng.permutation(column.real)) for column in columns]
    drawn = rng.integers(0, len(columns[0].real), len(columns[0].synthetic))
    yield [column.against(column.real[drawn]) for column in columns]


@dataclass(frozen=True, slots=True)
class _Measured:
    """Everything that was measured of one table."""

    figures: Figures
    shapes: list[float | None]
    pairs: list[float | None]


class _Plan:
    """What is looked at: the same for the synthetic table, the floor and the ceiling."""

    def __init__(self, columns: Sequence[Column], seed: int) -> None:
        modelled = [i for i, column in enumerate(columns) if column.kind is not Kind.TEXT]
        chosen = sampled(len(modelled), 2, PAIRS, np.random.default_rng([seed, 3]))
        self.pairs: list[tuple[int, int]] = [(modelled[i], modelled[j]) for i, j in chosen]
        self._sets: Sets = marginals(len(columns), seed)

    def measure(self, columns: Sequence[Column]) -> _Measured:
        bins: list[Binned] = [binned(column) for column in columns]
        found = agreement([b.real for b in bins], [b.synthetic for b in bins], [b.size for b in bins], self._sets)
        shapes = [shape(column) for column in columns]
        trends = Trends.of(columns)
        pairs = [trends.similarity(i, j) for i, j in self.pairs]
        figures: Figures = {
            "accuracy": found.overall,
            "accuracy_uni": found.uni,
            "accuracy_bi": found.bi,
            "accuracy_tri": found.tri,
            "column_shapes": _mean(shapes),
            "pair_trends": _mean(pairs),
        }
        return _Measured(figures, shapes, pairs)


def _mean(values: list[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def _with(described: dict[str, Any], values: list[float | None]) -> dict[str, Any]:
    return described | dict(zip(_YARDSTICKS, map(_rounded, values), strict=True))


def _figure(name: str, values: list[float | None], rows: dict[str, int]) -> dict[str, Any]:
    return _with({"title": _TITLES[name]}, values) | {"rows": rows, "reading": read(*values)}


def _describe(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "kind": str(column.kind),
        "missing": {"real": _gaps(column, column.real), "synthetic": _gaps(column, column.synthetic)},
    }


def _gaps(column: Column, values: Any) -> float:
    """Share of missing values."""
    missing = np.isnan(values) if column.kind is Kind.NUMERIC else values == column.size - 1
    return round(float(np.mean(missing)), _DIGITS)
