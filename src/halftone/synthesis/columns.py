"""Encoders of columns that have a list of values: categories, truth values, and those made fresh."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contracts.schema import ColumnSchema, ColumnType
from halftone.synthesis import values
from halftone.synthesis.domain import DomainNotDeclared

Codes = NDArray[np.int32]
"""Shape (rows,): 0 to size - 1; a nullable column's last code means 'missing'."""


class ColumnEncoder(Protocol):
    """One column between Arrow and codes. Everything about it follows from the public schema."""

    @property
    def size(self) -> int:
        """How many codes there are."""

    @property
    def ordered(self) -> bool:
        """Whether neighbouring codes mean neighbouring values."""

    @property
    def nullable(self) -> bool:
        """Whether the last code means 'missing'."""

    @property
    def alone(self) -> NDArray[np.intp]:
        """Codes of an ordered column that stand for one likely value each (a bound, zero) among wider ones."""

    def encode(self, column: pa.ChunkedArray) -> Codes:
        """Codes of a column stored in any way; what is outside the domain is moved into it."""

    def decode(self, codes: NDArray[Any], rng: np.random.Generator) -> pa.Array:
        """Values of the declared type: any of those that share a code is as likely as another."""


class ListedColumn:
    """A categorical or boolean column.

    What is not in the list is missing in a nullable column, else the last category (lists tend to end with 'other'), or false.
    """

    ordered = False
    alone = np.zeros(0, np.intp)

    def __init__(self, listed: tuple[int | str, ...] | tuple[bool, ...], *, nullable: bool) -> None:
        self.nullable = nullable
        self._truth = isinstance(listed[0], bool)
        self._whole = not self._truth and all(isinstance(value, int) for value in listed)
        self._type = pa.bool_() if self._truth else pa.int64() if self._whole else pa.string()
        self._listed = pa.array(listed if self._truth or self._whole else [str(value) for value in listed], self._type)
        self.size = len(listed) + nullable
        self._fallback = len(listed) if nullable else 0 if self._truth else len(listed) - 1

    def encode(self, column: pa.ChunkedArray) -> Codes:
        if self._truth:
            found = values.truths(column)
        elif self._whole:
            found = _position(values.numbers(column), self._listed.to_numpy().astype(np.float64))
        else:
            at = pc.index_in(values.texts(column), value_set=self._listed)
            found = pc.fill_null(at.cast(pa.float64()), np.nan).to_numpy()
        return np.where(np.isnan(found), self._fallback, found).astype(np.int32)

    def decode(self, codes: NDArray[Any], rng: np.random.Generator) -> pa.Array:
        del rng  # one code, one value
        missing = codes >= len(self._listed) if self.nullable else None
        at = codes if missing is None else np.where(missing, 0, codes)
        return self._listed.take(pa.array(at.astype(np.int32), mask=missing))


def _position(numbers: NDArray[np.float64], listed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where each number is in the list; NaN where it is not."""
    order = np.argsort(listed)
    at = np.minimum(np.searchsorted(listed[order], numbers), len(listed) - 1)
    return np.where(listed[order][at] == numbers, order[at].astype(np.float64), np.nan)


class FreshColumn:
    """A column that is never looked at: an identifier, personal data, free text. No two of its values are the same."""

    def __init__(self, schema: ColumnSchema, *, key: bool) -> None:
        self._word = (schema.pii or "id").lower()
        self._empty = not key and schema.pii is None
        if self._empty and not schema.nullable:
            raise DomainNotDeclared(schema.name, "a PII class (its values are then made fresh), or type categorical with categories")
        listed = schema.categories is not None and all(isinstance(value, int) for value in schema.categories)
        whole = schema.type is ColumnType.INTEGER or listed
        self._type = pa.int64() if whole else pa.float64() if schema.type is ColumnType.NUMBER else pa.string()

    def make(self, rows: int, rng: np.random.Generator, *, first: int = 0) -> pa.Array:
        """Values numbered on from the first; all null for free text without a class."""
        del rng  # numbered, so that no two are the same
        if self._empty:
            return pa.nulls(rows, self._type)
        count = pa.array(np.arange(first + 1, first + rows + 1))
        if self._type != pa.string():
            return count.cast(self._type)
        padded = pc.utf8_lpad(count.cast(pa.string()), width=8, padding="0")
        tail = "@example.com" if "mail" in self._word else ""
        return pc.binary_join_element_wise(self._word, pc.binary_join_element_wise(padded, tail, ""), "-")


class DrawnColumn:
    """A personal column with a public domain: any value of it is as likely as another, and the data is never looked at."""

    def __init__(self, encoder: ColumnEncoder) -> None:
        self._encoder = encoder

    def make(self, rows: int, rng: np.random.Generator, *, first: int = 0) -> pa.Array:
        """Values drawn from the domain; none is missing."""
        del first  # one row is like another
        return self._encoder.decode(rng.integers(0, self._encoder.size - self._encoder.nullable, rows), rng)
