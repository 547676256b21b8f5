"""Encoder of columns whose domain is a range: numbers, dates, datetimes, times of day."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from contracts.schema import ColumnSchema, ColumnType, Scalar
from halftone.synthesis import values
from halftone.synthesis.domain import DomainNotDeclared

FINE = 65_536
"""Codes of a range, at most: one per value if that suffices, else equal cells, with cells of their own for the bounds and for zero."""

_ARROW = {
    ColumnType.INTEGER: pa.int64(),
    ColumnType.NUMBER: pa.float64(),
    ColumnType.DATE: pa.date32(),
    ColumnType.DATETIME: pa.timestamp("us"),
    ColumnType.TIME: pa.time64("us"),
}
_DECIMALS = 15  # more than a float holds after the point at any size that matters


class RangeColumn:
    """A column between two public bounds. What is beyond is clamped; what is missing where nothing may be is the lower bound.

    Steps are 1 for integers and days for dates, or the granularity; 1 second, or the granularity in seconds, for datetimes and times; a
    number without granularity is continuous.
    """

    ordered = True

    def __init__(self, schema: ColumnSchema) -> None:
        self._kind, self._pattern, self.nullable = schema.type, schema.format, schema.nullable
        self._low, self._high = _bound(schema, schema.minimum), _bound(schema, schema.maximum)
        self._step = _step(schema)
        if self._kind is ColumnType.INTEGER:
            self._low, self._high = float(np.ceil(self._low)), float(np.floor(self._high))
        if not (self._high >= self._low and np.isfinite(self._high - self._low)):
            raise DomainNotDeclared(schema.name, f"a minimum and a maximum with a value of type {self._kind.value} between them")
        self._digits = max(_digits(self._step), _digits(self._low)) if self._step else _DECIMALS
        self._lower, self._upper = self._discrete() if self._step else self._continuous()
        self._single = bool(self._step) and len(self._lower) == self._upper[-1] + 1
        self.size = len(self._lower) + self.nullable

    @property
    def alone(self) -> NDArray[np.intp]:
        """Codes of the bounds and of zero: people's favourites, kept apart from wide cells."""
        places = [place for place in self._favourites() if self._lower[0] <= place <= self._upper[-1]]
        return np.unique(np.searchsorted(self._lower, places, side="right") - 1)

    def encode(self, column: pa.ChunkedArray) -> NDArray[np.int32]:
        number = values.numbers(column) if self._kind in {ColumnType.INTEGER, ColumnType.NUMBER} else self._moments(column)
        missing = np.isnan(number)
        place = np.clip(np.where(missing, self._low, number), self._low, self._high)
        if self._step:
            place = np.minimum(np.rint((place - self._low) / self._step), self._upper[-1])
        code = place if self._single else np.searchsorted(self._lower, place, side="right") - 1
        return np.where(missing & self.nullable, self.size - 1, code).astype(np.int32)

    def decode(self, codes: NDArray[Any], rng: np.random.Generator) -> pa.Array:
        missing = codes >= len(self._lower)
        at = np.where(missing, 0, codes)
        low, width = self._lower[at], 0.0 if self._single else (self._upper - self._lower)[at]
        if self._step:
            place = low if self._single else low + np.floor(rng.random(len(at)) * (width + 1))
            number = np.round(self._low + np.minimum(place, self._upper[-1]) * self._step, self._digits)
        else:
            number = low + rng.random(len(at)) * width
        number = np.clip(number, self._low, self._high)
        return self._arrow(number, missing if self.nullable else None)

    def _arrow(self, number: NDArray[np.float64], missing: NDArray[np.bool_] | None) -> pa.Array:
        kind = _ARROW[self._kind]
        if kind == pa.float64():
            return pa.array(number, kind, mask=missing)
        whole = np.rint(number).astype(np.int32 if kind == pa.date32() else np.int64)
        return pa.array(whole, mask=missing).cast(kind)

    def _moments(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        return values.moments(column, self._kind, self._pattern)

    def _favourites(self) -> tuple[float, ...]:
        """Bounds and zero, in the unit that cells are counted in."""
        if not self._step:
            return (self._low, 0.0, self._high)
        return (0.0, float(np.rint(-self._low / self._step)), float(np.floor((self._high - self._low) / self._step + 1e-9)))

    def _discrete(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """First and last step of every cell."""
        last = self._favourites()[-1]
        if last < FINE:
            steps = np.arange(last + 1)
            return steps, steps
        starts = np.ceil(np.linspace(0, last + 1, FINE + 1)[:-1])
        apart = np.array([edge for step in self._favourites() for edge in (step, step + 1)])
        lower = np.unique(np.concatenate([starts, apart[(apart >= 0) & (apart <= last)]]))
        return lower, np.append(lower[1:] - 1, last)

    def _continuous(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Least and greatest value of every cell."""
        starts = np.linspace(self._low, self._high, FINE + 1)[:-1]
        apart = np.array([edge for value in self._favourites() for edge in (value, np.nextafter(value, np.inf))])
        lower = np.unique(np.concatenate([starts, apart[(apart >= self._low) & (apart <= self._high)]]))
        return lower, np.append(np.nextafter(lower[1:], -np.inf), self._high)


def _bound(schema: ColumnSchema, bound: Scalar | None) -> float:
    declare = f"minimum and maximum, as finite values of type {schema.type.value}"
    if bound is None:
        raise DomainNotDeclared(schema.name, declare)
    column = pa.chunked_array([pa.array([bound])])
    numeric = schema.type in {ColumnType.INTEGER, ColumnType.NUMBER}
    # A bound is always ISO 8601, whatever pattern the column's text follows.
    value = float((values.numbers(column) if numeric else values.moments(column, schema.type))[0])
    if not np.isfinite(value):
        raise DomainNotDeclared(schema.name, declare)
    return value


def _step(schema: ColumnSchema) -> float:
    """Step between values in the unit they are counted in; 0 for a continuous column."""
    if schema.type is ColumnType.NUMBER:
        return schema.granularity or 0.0
    step = schema.granularity or 1.0
    if schema.type in {ColumnType.DATETIME, ColumnType.TIME}:
        return max(1.0, float(np.rint(step * values.MICROSECONDS)))
    return max(1.0, float(np.rint(step)))


def _digits(number: float) -> int:
    exponent = Decimal(repr(number)).as_tuple().exponent
    return min(_DECIMALS, max(0, -exponent)) if isinstance(exponent, int) else 0
