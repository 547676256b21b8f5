"""Bounds that were read off the data, widened to round ones: they give away less, and look like what they are."""

from __future__ import annotations

import math
import sys

from contracts.schema import ColumnType, Scalar

_INT64 = 2**63 - 1
_MOST = sys.float_info.max


def widened(low: Scalar, high: Scalar, type_: ColumnType) -> tuple[Scalar, Scalar]:
    """Numbers to multiples of the power of ten below their span, dates to whole years, times to the whole day.

    A bound that is round by chance moves one step further, so that neither tells a value that is there; zero stays.
    """
    if type_ is ColumnType.TIME:
        return "00:00:00", "23:59:59.999999"
    if isinstance(low, str) or isinstance(high, str):
        return _year_begin(str(low)), _year_end(str(high))
    if type_ is ColumnType.INTEGER:
        step = 10 ** (len(str(int(high) - int(low) or abs(int(high)) or 1)) - 1)
        return max(-_INT64 - 1, _whole_below(int(low), step)), min(_INT64, -_whole_below(-int(high), step))
    wide = _step(low, high)
    return _below(low, wide), -_below(-high, wide)


def _whole_below(value: int, step: int) -> int:
    lower = value // step * step
    lower -= step if lower == value != 0 else 0
    return 0 if value > 0 > lower else lower


def _step(low: float, high: float) -> float:
    span = high - low or abs(high) or 1
    step = 10.0 ** math.floor(math.log10(span)) if math.isfinite(span) else 1e307
    # A finer step would be lost in the doubles around the bounds.
    return max(step, 4 * math.ulp(max(abs(low), abs(high))))


def _below(value: float, step: float) -> float:
    if value == 0:
        return 0.0
    lower, multiple = value, math.floor(value / step)
    while lower >= value:
        # Steps below one are not exact in binary: write what was meant.
        lower = round(multiple * step, max(0, -math.floor(math.log10(step))))
        multiple -= 1
    return 0.0 if value > 0 > lower else max(-_MOST, lower)


def _year_begin(moment: str) -> str:
    return f"{moment[:4]}-01-01{'T00:00:00' if 'T' in moment else ''}{'Z' if moment.endswith('Z') else ''}"


def _year_end(moment: str) -> str:
    return f"{moment[:4]}-12-31{'T23:59:59.999999' if 'T' in moment else ''}{'Z' if moment.endswith('Z') else ''}"
