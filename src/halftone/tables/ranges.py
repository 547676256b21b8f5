"""Least and greatest values of a stored column, as the contract writes bounds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

Range = tuple[int, int] | tuple[float, float] | tuple[str, str]


def is_temporal(type_: pa.DataType) -> bool:
    """Whether a stored type is a date, a time, or both."""
    return bool(pt.is_date(type_) or pt.is_timestamp(type_) or pt.is_time(type_))


def finite(array: pa.Array) -> pa.Array:
    """The values that are there and finite."""
    values = array.drop_null()
    return values.filter(pc.is_finite(values)) if pt.is_floating(values.type) else values


def ends(values: pa.Array, known: pa.Array | None = None) -> pa.Array:
    """The least and the greatest of some values, at least one, and of those ends that were known before: an array of two."""
    # Kept as Arrow values throughout: a Python one would lose nanoseconds.
    both = pc.min_max(values if known is None else pa.concat_arrays([ends(values), known]))
    return pa.concat_arrays([pa.repeat(both["min"], 1), pa.repeat(both["max"], 1)])


def bounds(low: pa.Scalar, high: pa.Scalar) -> Range:
    """Two stored values as numbers, or as ISO 8601 text that sorts as they do."""
    if is_temporal(low.type):
        return _shortened(_iso(low), _iso(high))
    return low.as_py(), high.as_py()


def _iso(value: pa.Scalar) -> str:
    return str(pc.cast(value, pa.string()).as_py()).replace(" ", "T")


def _shortened(low: str, high: str) -> tuple[str, str]:
    """Leave out a fraction of a second that is zero in both; in one alone it has to stay, or text would not sort as time does."""
    (low_head, dot, low_tail), (high_head, _, high_tail) = low.partition("."), high.partition(".")
    zone = "Z" if low.endswith("Z") else ""
    if dot and not (low_tail + high_tail).replace("Z", "").strip("0"):
        return low_head + zone, high_head + zone
    return low, high


def numbers(array: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The finite values as doubles, shape (n,); dates and times count in their stored unit."""
    values = finite(array)
    if is_temporal(values.type):
        values = values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())
    return np.asarray(pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False))
