"""Counting the distinct values of a column in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

_SEED = 0x9E3779B97F4A7C15
_SKETCH = 1024


class Tally:
    """How often each value occurs: exactly while the distinct values fit, then the frequent ones with a known error.

    Over ``capacity`` distinct values the rarest are dropped and the largest count dropped bounds what any count may lack (Misra and
    Gries 1982, in batches); the number of distinct values is then estimated from the smallest hashes seen (k minimum values,
    Bar-Yossef et al. 2002; about 3 % off).
    """

    def __init__(self, capacity: int = 50_000) -> None:
        self._capacity = capacity
        self._counts: pa.Table | None = None
        self._smallest: npt.NDArray[np.uint64] | None = None
        self.missing_at_most = 0
        """By how much a count of ``top`` may be too low; 0 when all are exact."""

    def add(self, values: pa.Array) -> None:
        """Count the values of one block; missing ones are not counted."""
        counted = pc.value_counts(values.drop_null())
        if len(counted) == 0:
            return
        block = pa.table({"value": counted.field("values"), "count": counted.field("counts")})
        if self._smallest is not None:
            self._sketch(block["value"])
        if self._counts is not None:
            joined = pa.concat_tables([self._counts, block]).group_by("value").aggregate([("count", "sum")])
            block = joined.rename_columns(["value", "count"])
        self._counts = block
        if len(block) > self._capacity:
            self._prune()

    def _prune(self) -> None:
        counts = self._counts
        if counts is None:
            return
        if self._smallest is None:
            self._smallest = np.empty(0, np.uint64)
            self._sketch(counts["value"])
        order = pc.sort_indices(counts, sort_keys=[("count", "descending")])
        keep = self._capacity // 2
        self.missing_at_most += int(counts["count"][order[keep].as_py()].as_py())
        self._counts = counts.take(order.slice(0, keep)).combine_chunks()

    def _sketch(self, values: pa.ChunkedArray) -> None:
        known = self._smallest if self._smallest is not None else np.empty(0, np.uint64)
        fresh = hashes(values)
        if len(known) == _SKETCH:
            fresh = fresh[fresh < known[-1]]
        self._smallest = np.unique(np.concatenate([known, fresh]))[:_SKETCH]

    @property
    def exact(self) -> bool:
        """Whether every distinct value was kept."""
        return self._smallest is None

    @property
    def distinct(self) -> int:
        """Number of distinct values, missing not counted; an estimate unless ``exact``."""
        if self._smallest is None:
            return 0 if self._counts is None else len(self._counts)
        if len(self._smallest) < _SKETCH:
            return len(self._smallest)
        return round((_SKETCH - 1) / ((float(self._smallest[-1]) + 1) / 2**64))

    def top(self, most: int) -> list[tuple[Any, int]]:
        """The most frequent values with their counts, ties in order of value."""
        if self._counts is None:
            return []
        order = pc.sort_indices(self._counts, sort_keys=[("count", "descending"), ("value", "ascending")])
        best = self._counts.take(order.slice(0, most))
        return list(zip(best["value"].to_pylist(), best["count"].to_pylist(), strict=True))

    def values(self) -> list[Any]:
        """The distinct values that were kept, sorted."""
        return [] if self._counts is None else sorted(self._counts["value"].to_pylist())


def hashes(values: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each value, none of them missing, shape (n,): its bits, or a sum over its text, mixed (splitmix64)."""
    if pt.is_primitive(values.type) and values.type.bit_width == 64:
        bits = _whole(values).view(pa.int64()).to_numpy(zero_copy_only=False).view(np.uint64)
        return mixed(bits * np.uint64(_SEED))
    return text_hashes(_whole(pc.cast(values, pa.large_string())))


def _whole(values: pa.ChunkedArray) -> pa.Array:
    array = values.combine_chunks()
    return array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)


def text_hashes(array: pa.Array) -> npt.NDArray[np.uint64]:
    """A hash of each value of a large_string array, none of them missing, shape (n,).

    Bytes times powers of an odd number, added up: one running sum over all values, cut where they end.
    """
    _, offset_buffer, data = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[array.offset : array.offset + len(array) + 1]
    raw = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data is not None else np.empty(0, np.uint8)
    lengths = np.diff(offsets)
    place = np.arange(len(raw)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    powers = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, _SEED, np.uint64))
    running = np.concatenate([np.zeros(1, np.uint64), np.cumsum((raw.astype(np.uint64) + np.uint64(1)) * powers[place])])
    ends = offsets - offsets[0]
    return mixed(running[ends[1:]] - running[ends[:-1]])


def mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread every bit over all 64, without making two values one (splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
