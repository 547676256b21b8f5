"""Arrow columns read leniently: whatever a column is stored as, it becomes what it was declared to be, and the rest is missing.

Every row is read by itself and nothing is ever raised for a value, so reading reveals nothing and adds no sensitivity.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from contracts.schema import ColumnType

Floats = NDArray[np.float64]

MICROSECONDS = 1_000_000.0
"""In a second: dates are counted in days since 1970, datetimes and times of day in microseconds."""
_DAY = 86_400 * MICROSECONDS

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_MOMENT = (
    r"^(?:(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2}))?[T ]?"
    r"(?:(?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2}(?:\.\d{1,9})?))?)? ?(?P<sign>Z|[+-])?(?:(?P<ahead>\d{2}):?(?P<past>\d{2}))?$"
)
_TRUE, _FALSE = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")


def numbers(column: pa.ChunkedArray) -> Floats:
    """Shape (rows,); NaN where a value is missing or no number. Integers beyond 2^53 come out as the nearest float."""
    column = _plain(column)
    if _is_text(column.type):
        column = _trimmed(column)
        column = pc.if_else(pc.match_substring_regex(column, _NUMBER), column, None)
    return _as_floats(column)


def texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as strings; null where it is missing or has no text form."""
    try:
        return _plain(column).cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.chunked_array([pa.nulls(len(column), pa.string())])


def truths(column: pa.ChunkedArray) -> Floats:
    """Shape (rows,); 1 for true, 0 for false, NaN where a value is missing or neither. Any other number than 0 is true."""
    column = _plain(column)
    if _is_text(column.type):
        word = pc.utf8_lower(_trimmed(column))
        known = pa.array([*_TRUE, *_FALSE])
        at = _as_floats(pc.index_in(word, value_set=known))
        return np.where(np.isnan(at), at, (at < len(_TRUE)).astype(np.float64))
    number = _as_floats(column)
    return np.where(np.isnan(number), number, (number != 0).astype(np.float64))


def moments(column: pa.ChunkedArray, kind: ColumnType, pattern: str | None = None) -> Floats:
    """Dates, datetimes and times as numbers, shape (rows,); NaN where a value is missing or cannot be read.

    Text is read as ISO 8601, or by a strptime pattern; a number counts days (dates) or seconds.
    """
    column = _plain(column)
    if _is_text(column.type):
        if pattern is not None and "%" in pattern:
            column = pc.strptime(column, format=pattern, unit="us", error_is_null=True)
        else:
            return _in_unit(_parsed(column, needs="hour" if kind is ColumnType.TIME else "year"), kind)
    if pa.types.is_time(column.type):
        return _as_floats(column.cast(pa.time64("us"), safe=False).cast(pa.int64())) if kind is ColumnType.TIME else _none(len(column))
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"), safe=False)
    if pa.types.is_timestamp(column.type):
        return _in_unit(_as_floats(column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())), kind)
    return _as_floats(column) * (1.0 if kind is ColumnType.DATE else MICROSECONDS)


def _in_unit(microseconds: Floats, kind: ColumnType) -> Floats:
    if kind is ColumnType.DATE:
        return np.floor(microseconds / _DAY)
    return np.mod(microseconds, _DAY) if kind is ColumnType.TIME else microseconds


def _parsed(column: pa.ChunkedArray, *, needs: str) -> Floats:
    """Microseconds since 1970 of ISO 8601 texts that have the field needed; without a date, microseconds since midnight."""
    fields = pc.extract_regex(_trimmed(column), _MOMENT)

    def field(name: str, absent: float) -> Floats:
        part = pc.struct_field(fields, name)
        blank = pc.equal(part, "")
        number = _as_floats(pc.if_else(blank, None, part))
        return np.where(_mask(blank), absent, number)

    year, month, day = field("year", 1970), field("month", 1), field("day", 1)
    hour, minute, second = field("hour", 0), field("minute", 0), field("second", 0)
    ahead = field("ahead", 0) * 3600 + field("past", 0) * 60
    behind = _mask(pc.equal(pc.struct_field(fields, "sign"), "-"))
    whole = _mask(pc.not_equal(pc.struct_field(fields, needs), ""))
    whole &= (year >= 1) & (month >= 1) & (month <= 12) & (hour < 24) & (minute < 60) & (second < 60)
    months = np.where(whole, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    date = months.astype("datetime64[D]") + np.where(whole, day - 1, 0).astype("timedelta64[D]")
    whole &= (day >= 1) & (date.astype("datetime64[M]") == months)
    seconds = hour * 3600 + minute * 60 + second - np.where(behind, -ahead, ahead)
    return np.where(whole, date.astype(np.int64) * _DAY + np.rint(seconds * MICROSECONDS), np.nan)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(column.cast(pa.large_string()))


def _as_floats(column: pa.ChunkedArray) -> Floats:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    try:
        floats = column.cast(pa.float64(), safe=False)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return _none(len(column))
    return np.asarray(pc.fill_null(floats, np.nan).to_numpy(), dtype=np.float64)


def _mask(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(column, False).to_numpy(), dtype=np.bool_)


def _none(rows: int) -> Floats:
    return np.full(rows, np.nan)
