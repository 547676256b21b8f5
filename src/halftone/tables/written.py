"""How numbers are written, asked of the bytes of a whole array at once: a regular expression or a round trip costs far more."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

_ZERO, _NINE, _PLUS, _MINUS = b"09+-"
_INT64_MIN = -(2**63)

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32] | npt.NDArray[np.int64]


def text_bytes(text: pa.Array) -> tuple[Bytes, Offsets]:
    """The UTF-8 bytes of a text array without its missing values, shape (b,), and where each value begins and ends, shape (n + 1,)."""
    values = text.drop_null() if text.null_count else text
    _, offset_buffer, data = values.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64 if pt.is_large_string(values.type) else np.int32)[
        values.offset : values.offset + len(values) + 1
    ]
    raw = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return raw[offsets[0] : offsets[-1]], offsets - offsets[0]


def canonical(text: pa.Array, numbers: pa.Array) -> bool:
    """Whether whole numbers are written the way we would write them, given the text and the int64 array that it was read as.

    No other spelling of a number is shorter than ours once all bytes are digits and minus signs, so equal sums of lengths say it of each.
    """
    raw, offsets = text_bytes(text)
    if len(raw) and raw.max() > _NINE:
        return False
    values = np.asarray(numbers.drop_null().to_numpy(zero_copy_only=False), np.int64)
    if len(values) == 0:
        return True
    if values.min() == _INT64_MIN:
        return bool(pc.cast(numbers, pa.string()).equals(text))
    return int(offsets[-1]) == _written_length(values)


def _written_length(values: npt.NDArray[np.int64]) -> int:
    sizes = np.abs(values)
    most, power, total = int(sizes.max()), 10, len(values) + int(np.count_nonzero(values < 0))
    while power <= most:
        total += int(np.count_nonzero(sizes >= power))
        power *= 10
    return total


def leading_zero(text: pa.Array) -> bool:
    """Whether any value has a zero, and then a digit, at its beginning or after its sign."""
    raw, offsets = text_bytes(text)
    starts, stops = offsets[:-1].astype(np.intp), offsets[1:]
    filled = starts < stops
    if not filled.all():
        starts, stops = starts[filled], stops[filled]
    signed = np.isin(raw[starts], (_PLUS, _MINUS))
    first = starts + signed
    zero = first[(first + 1 < stops) & (raw[np.minimum(first, len(raw) - 1)] == _ZERO)]
    following = raw[zero + 1]
    return bool(np.any((following >= _ZERO) & (following <= _NINE)))
