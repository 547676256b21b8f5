"""A mixture of products, drawn from: the one model that our engines fit.

A row belongs to one of K components; given the component, its columns are independent. One component is a model of independent columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from contracts.schema import TableSchema
from halftone.synthesis.archive import pack, unpack
from halftone.synthesis.counting import Floats, apportion, draw
from halftone.synthesis.encoding import Encoding

CHUNK_ROWS = 2**18
"""Rows that are drawn at a time."""


@dataclass(frozen=True, slots=True)
class ColumnShape:
    """How one column's bins become codes: bins are made of leaves, leaves of runs of codes."""

    starts: NDArray[np.int64]
    """First code per leaf, shape (leaves,)."""
    widths: NDArray[np.int64]
    """Codes per leaf, shape (leaves,)."""
    bins: NDArray[np.int64]
    """Bin per leaf, shape (leaves,)."""
    weights: Floats
    """Weight of a leaf in its bin, shape (leaves,); at least one of a bin is above zero."""

    def codes(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Codes for bins, both of shape (rows,)."""
        leaf = self._leaves(chosen, rng)
        start, width = self.starts[leaf], self.widths[leaf]
        return start if int(self.widths.max()) == 1 else start + (rng.random(len(leaf)) * width).astype(np.int64)

    def _leaves(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        bins = int(self.bins.max()) + 1
        if bins == len(self.bins):
            return np.argsort(self.bins)[chosen]
        shares = np.zeros((bins, len(self.bins)))
        shares[self.bins, np.arange(len(self.bins))] = self.weights
        drawn = draw(shares, np.bincount(chosen, minlength=bins), rng)
        leaf = np.empty_like(drawn)
        leaf[np.argsort(chosen.astype(np.uint16), kind="stable")] = drawn
        return leaf


@dataclass(frozen=True, slots=True)
class MixtureModel:
    """K components over the bins of every modelled column, and how bins become values."""

    engine: str
    """Name of the engine that fitted it."""
    schema: TableSchema
    """The public schema."""
    rows: int
    """Noisy number of real rows."""
    weights: Floats
    """Share of each component, shape (K,)."""
    shares: tuple[Floats, ...]
    """Per modelled column, the bins' shares in each component: shape (K, bins)."""
    shapes: tuple[ColumnShape, ...]
    """Per modelled column."""

    def sample(self, rows: int | None = None, *, seed: int) -> pa.Table:
        """A table of that many rows, by default the noisy number of real ones; the same seed gives the same bytes.

        Raises ValueError for a negative number of rows.
        """
        return pa.concat_tables(self.chunks(rows, seed=seed))

    def chunks(self, rows: int | None = None, *, seed: int) -> Iterator[pa.Table]:
        """The rows of ``sample``, some at a time, so that memory does not grow with their number: one chunk at least.

        Within a chunk rows are apportioned to components and values, not drawn one by one, which lets it follow the model more closely
        than chance would. Raises ValueError for a negative number of rows.
        """
        count = self.rows if rows is None else rows
        if count < 0:
            raise ValueError(f"rows must be 0 or more; {rows} were asked for")
        encoding = Encoding(self.schema)
        for number, first in enumerate(range(0, max(count, 1), CHUNK_ROWS)):
            # Each with a generator of its own: what a chunk holds depends on the seed and its number alone.
            source = np.random.SeedSequence(seed, spawn_key=(number,) if number else ())
            yield self._chunk(encoding, first, min(CHUNK_ROWS, count - first), np.random.default_rng(source))

    def _chunk(self, encoding: Encoding, first: int, count: int, rng: np.random.Generator) -> pa.Table:
        """Rows from the first, counted from 0."""
        members = apportion(self.weights[None, :], np.array([count]), rng)[0]
        order = rng.permutation(count)
        codes = {
            name: shape.codes(draw(shares, members, rng)[order], rng)
            for name, shares, shape in zip(encoding.columns, self.shares, self.shapes, strict=True)
        }
        return encoding.decode(codes, count, rng, first=first)

    def save(self) -> bytes:
        """Bytes for ``load``."""
        header = {"engine": self.engine, "schema": self.schema.model_dump(mode="json"), "rows": self.rows}
        arrays: dict[str, NDArray[Any]] = {"weights": self.weights}
        for i, (shares, shape) in enumerate(zip(self.shares, self.shapes, strict=True)):
            arrays |= {f"shares.{i}": shares, f"starts.{i}": shape.starts, f"widths.{i}": shape.widths}
            arrays |= {f"bins.{i}": shape.bins, f"leaves.{i}": shape.weights}
        return pack("model", header, arrays)

    @classmethod
    def load(cls, data: bytes, engine: str) -> Self:
        """What ``save`` wrote. Raises ValueError for anything else, and for a model of another engine."""
        header, arrays = unpack("model", data)
        if header["engine"] != engine:
            raise ValueError(f"this model was fitted by engine {header['engine']!r}, not by {engine!r}")
        schema = TableSchema.read(header["schema"])
        columns = range(len(Encoding(schema).columns))
        return cls(
            engine=engine,
            schema=schema,
            rows=header["rows"],
            weights=arrays["weights"],
            shares=tuple(arrays[f"shares.{i}"] for i in columns),
            shapes=tuple(
                ColumnShape(arrays[f"starts.{i}"], arrays[f"widths.{i}"], arrays[f"bins.{i}"], arrays[f"leaves.{i}"]) for i in columns
            ),
        )
