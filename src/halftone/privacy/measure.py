"""Noisy counts within a grant: all that an engine with differential privacy ever sees of a table.

The noise is OpenDP's exact discrete Gaussian (Canonne, Kamath and Steinke 2020), fed by the operating system's entropy. OpenDP is imported
when the first noise is drawn, so that a process that only lists engines stays light.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.cost import RHO_SCALE

Codes = NDArray[np.integer[Any]]
"""One column, encoded: shape (rows,), values 0 to size - 1."""
Counts = NDArray[np.int64]
"""A histogram: one axis per column."""
Noise = Callable[[Counts, float], Counts]
"""Adds noise of a scale to exact counts, shape (cells,). A test may record what goes through it; nobody else replaces it."""

MAX_CELLS = 4_000_000
"""Cells of one histogram; more is a mistake that would end in swap."""


class GrantExceeded(RuntimeError):
    """The measurement would cost more than is left of the grant."""

    code = "grant-exceeded"

    def __init__(self, asked: int, left: int) -> None:
        super().__init__(f"{self.__doc__} It asks for rho {asked}, and {left} is left (in 1e-12).")
        self.asked = asked
        self.left = left


@dataclass(frozen=True, kw_only=True, slots=True)
class Mechanism:
    """One use of the table, as the certificate states it."""

    kind: str
    """Name of the mechanism."""
    columns: tuple[str, ...]
    """The marginal's columns; none means the number of rows."""
    cells: int
    """Cells of the histogram."""
    sensitivity: float
    """L2 distance that adding or removing one row can make."""
    scale: float
    """Parameter of the noise; very nearly its standard deviation, in rows."""
    rho: int
    """What it cost, in 1e-12, rounded up."""


class Measurer:
    """A handle on one table: it gives out noisy marginals within its grant, and nothing else.

    Under add/remove of a row, each histogram changes by at most 1 in one cell, so its L2 sensitivity is 1.
    """

    def __init__(self, codes: Mapping[str, Codes], sizes: Mapping[str, int], *, rows: int, rho: int, noise: Noise | None = None) -> None:
        """Hold the codes of every column (shape (rows,), below its size) under a grant of rho, in 1e-12. Raises ValueError."""
        if rho < 0:
            raise ValueError(f"rho must be 0 or more, in units of 1e-12; it is {rho}")
        self._sizes = dict(sizes)
        # A closure, not an attribute: what an engine can reach from the handle holds no row.
        self._histogram = _histograms(dict(codes), self._sizes, rows)
        self._granted = rho
        self._noise = noise or discrete_gaussian
        self._mechanisms: list[Mechanism] = []

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that can be measured, in the schema's order."""
        return tuple(self._sizes)

    @property
    def sizes(self) -> dict[str, int]:
        """Public domain size per column, the code for a missing value counted."""
        return dict(self._sizes)

    @property
    def granted(self) -> int:
        """The grant, in 1e-12."""
        return self._granted

    @property
    def spent(self) -> int:
        """What the measurements so far have cost, in 1e-12."""
        return sum(mechanism.rho for mechanism in self._mechanisms)

    @property
    def left(self) -> int:
        """What may still be spent, in 1e-12."""
        return self._granted - self.spent

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        """Every use of the table so far, in order."""
        return tuple(self._mechanisms)

    def require(self, rho: int) -> None:
        """Raises GrantExceeded unless rho (in 1e-12) is left: asked before a plan is begun, so that none is bought in vain."""
        if rho > self.left:
            raise GrantExceeded(rho, self.left)

    def measure(self, columns: tuple[str, ...], rho: int, *, bins: Mapping[str, Codes] | None = None) -> Counts:
        """A noisy histogram of a marginal for at most rho (in 1e-12); see ``measure_many``."""
        return self.measure_many([columns], rho, bins=bins)[0]

    def measure_many(self, marginals: Sequence[tuple[str, ...]], rho: int, *, bins: Mapping[str, Codes] | None = None) -> list[Counts]:
        """Noisy histograms, each for at most rho (in 1e-12): all of them, or none.

        ``bins`` maps a column's codes to coarser ones: shape (size,), values from 0. A histogram has one axis per column, as long as its
        domain; no columns at all gives the number of rows, shape (). Raises GrantExceeded, KeyError for an unknown column, and ValueError
        for a rho below 1 or a histogram of more than MAX_CELLS.
        """
        scale, cost = scale_for(rho)
        chosen = {name: np.asarray(mapping) for name, mapping in (bins or {}).items()}
        shapes = [self._shape(columns, chosen) for columns in marginals]
        self.require(cost * len(marginals))
        return [self._measure(columns, shape, chosen, scale, cost) for columns, shape in zip(marginals, shapes, strict=True)]

    def _shape(self, columns: tuple[str, ...], bins: Mapping[str, Codes]) -> tuple[int, ...]:
        shape = []
        for name in columns:
            size = self._sizes[name]
            mapping = bins.get(name)
            if mapping is not None and (mapping.shape != (size,) or mapping.min() < 0):
                raise ValueError(f"bins of column {name!r} must map each of its {size} codes to a number from 0")
            shape.append(size if mapping is None else int(mapping.max()) + 1)
        if len(set(columns)) < len(columns) or math.prod(shape) > MAX_CELLS:
            raise ValueError(f"a marginal takes each column once and at most {MAX_CELLS} cells; {columns} has {math.prod(shape)}")
        return tuple(shape)

    def _measure(self, columns: tuple[str, ...], shape: tuple[int, ...], bins: Mapping[str, Codes], scale: float, cost: int) -> Counts:
        exact = self._histogram(columns, shape, bins)
        # Recorded before the noise is drawn: if the draw fails, the table has been used all the same.
        self._mechanisms.append(
            Mechanism(kind="discrete_gaussian", columns=columns, cells=exact.size, sensitivity=1.0, scale=scale, rho=cost)
        )
        return self._noise(exact, scale).reshape(shape)


def discrete_gaussian(exact: Counts, scale: float) -> Counts:
    """Exact counts, shape (cells,), plus discrete Gaussian noise of that scale from the operating system's entropy."""
    return np.array(_mechanism(scale)(exact.tolist()), dtype=np.int64)


@functools.lru_cache(maxsize=256)
def scale_for(rho: int) -> tuple[float, int]:
    """The noise's scale for at most rho (in 1e-12) at sensitivity 1, and what OpenDP's own privacy map charges for it, rounded up.

    Raises ValueError for a rho below 1.
    """
    if rho < 1:
        raise ValueError(f"a measurement must cost at least 1 unit of rho (1e-12); {rho} was offered")
    scale = math.sqrt(RHO_SCALE / (2 * rho))
    while (cost := math.ceil(Fraction(_mechanism(scale).map(1.0)) * RHO_SCALE)) > rho:
        scale *= 1 + 1e-14  # the map rounds up, as it must; a hair more noise pays for that
    return scale, cost


@functools.lru_cache(maxsize=256)
def _mechanism(scale: float) -> Any:
    import opendp.prelude as dp  # noqa: PLC0415 -- heavy, and needed only where noise is drawn

    dp.enable_features("contrib")
    return dp.m.make_gaussian(dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64"), scale)


def _histograms(codes: dict[str, Codes], sizes: dict[str, int], rows: int) -> Callable[..., Counts]:
    """A function that counts a marginal: (columns, shape, bins) -> shape (cells,)."""
    for name, size in sizes.items():
        column = codes[name]
        if column.shape != (rows,) or (rows and (column.min() < 0 or column.max() >= size)):
            raise ValueError(f"the codes of column {name!r} must be {rows} numbers from 0 to {size - 1}")

    def count(columns: tuple[str, ...], shape: tuple[int, ...], bins: Mapping[str, Codes]) -> Counts:
        cell = np.zeros(rows, np.intp)
        for name, size in zip(columns, shape, strict=True):
            column = codes[name]
            cell *= size
            cell += bins[name][column] if name in bins else column
        return np.bincount(cell, minlength=math.prod(shape)).astype(np.int64, copy=False)

    return count
