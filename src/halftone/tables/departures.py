"""How far a column's values depart from what was declared of it: counts, never the values."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from contracts.schema import ColumnSchema, ColumnType, Scalar

_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_DATETIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?$"
_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?$"
_WRITTEN = {
    ColumnType.INTEGER: r"^\s*[+-]?[0-9]{1,18}\s*$",
    ColumnType.NUMBER: r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*$",
    ColumnType.BOOLEAN: r"^(?i:true|false)$",
    ColumnType.TIME: _TIME,
}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass
class Departures:
    """Counts over the blocks of one column."""

    declared: ColumnSchema
    missing: int = 0
    """Missing values in a column that is declared without."""
    unparsable: int = 0
    """Values that are none of the declared type."""
    outside: int = 0
    """Values of the type that are not among the categories, or beyond a bound."""

    def see(self, array: pa.Array) -> None:
        """Count the next block of the stored column."""
        if not self.declared.nullable:
            self.missing += array.null_count
        values = array.drop_null()
        fitting = values.filter(_parsable(values, self.declared.type)) if len(values) else values
        self.unparsable += len(values) - len(fitting)
        if len(fitting):
            self.outside += _outside(fitting, self.declared)

    def counts(self) -> dict[str, int]:
        return {"missing": self.missing, "unparsable": self.unparsable, "outside": self.outside}


def _parsable(values: pa.Array, type_: ColumnType) -> pa.Array:
    """For each value, whether it can be read as the type."""
    stored = values.type
    if type_ in {ColumnType.CATEGORICAL, ColumnType.TEXT}:
        return pa.repeat(True, len(values))
    if pt.is_string(stored):
        return _text_parsable(values, type_)
    if type_ in {ColumnType.INTEGER, ColumnType.NUMBER} and pt.is_floating(stored):
        real = pc.is_finite(values)
        return real if type_ is ColumnType.NUMBER else pc.and_(real, pc.equal(values, pc.floor(values)))
    return pa.repeat(_holds(stored, type_), len(values))


def _holds(stored: pa.DataType, type_: ColumnType) -> bool:
    match type_:
        case ColumnType.INTEGER | ColumnType.NUMBER:
            return bool(pt.is_integer(stored))
        case ColumnType.BOOLEAN:
            return bool(pt.is_boolean(stored))
        case ColumnType.DATE:
            return bool(pt.is_date(stored))
        case ColumnType.DATETIME:
            return bool(pt.is_timestamp(stored) or pt.is_date(stored))
        case _:
            return bool(pt.is_time(stored))


def _text_parsable(text: pa.Array, type_: ColumnType) -> pa.Array:
    if type_ in _WRITTEN:
        return pc.match_substring_regex(text, _WRITTEN[type_])
    shape = pc.match_substring_regex(text, _DATE)
    if type_ is ColumnType.DATETIME:
        shape = pc.or_(shape, pc.match_substring_regex(text, _DATETIME))
    written = pc.utf8_slice_codeunits(text, 0, 10)
    day = pc.strptime(written, format="%Y-%m-%d", unit="s", error_is_null=True)
    # The parser takes 30 February for 1 March: a day is one if it is written as it was read.
    return pc.and_(shape, pc.fill_null(pc.equal(pc.cast(pc.cast(day, pa.date32()), pa.string()), written), False))


def _outside(values: pa.Array, declared: ColumnSchema) -> int:
    if declared.categories is not None:
        return len(values) - _count(pc.is_in(pc.cast(values, pa.string()), value_set=pa.array([str(c) for c in declared.categories])))
    if pt.is_string(values.type):
        return 0 if declared.minimum is None and declared.maximum is None else _text_outside(values, declared)
    beyond = pa.repeat(False, len(values))
    for bound, compare in ((declared.minimum, pc.less), (declared.maximum, pc.greater)):
        if bound is not None:
            beyond = pc.or_(beyond, compare(*_comparable(values, bound)))
    return _count(beyond)


def _text_outside(text: pa.Array, declared: ColumnSchema) -> int:
    """Numbers and times that were stored as text: read them first, since every one of these parses."""
    if declared.type in {ColumnType.INTEGER, ColumnType.NUMBER}:
        numbers = pc.cast(pc.replace_substring_regex(pc.ascii_trim_whitespace(text), r"^\+", ""), pa.float64())
        return _outside(numbers, declared)
    if declared.type is ColumnType.DATE:
        return _outside(pc.cast(text, pa.date32()), declared)
    return 0


def _count(flags: pa.Array) -> int:
    return int(pc.sum(flags).as_py() or 0)


def _comparable(values: pa.Array, bound: Scalar) -> tuple[pa.Array, pa.Scalar]:
    """Values and bound in one type: numbers, or microseconds for what is a date or a time."""
    stored = values.type
    if not isinstance(bound, str):
        return pc.cast(values, pa.float64(), safe=False), pa.scalar(float(bound), pa.float64())
    if pt.is_time(stored):
        return pc.cast(pc.cast(values, pa.time64("us"), safe=False), pa.int64()), pa.scalar(
            _of_day(dt.time.fromisoformat(bound)), pa.int64()
        )
    moments = pc.cast(pc.cast(values, pa.timestamp("us", stored.tz if pt.is_timestamp(stored) else None), safe=False), pa.int64())
    return moments, pa.scalar(_since_epoch(dt.datetime.fromisoformat(bound)), pa.int64())


def _of_day(time: dt.time) -> int:
    return ((time.hour * 60 + time.minute) * 60 + time.second) * 10**6 + time.microsecond


def _since_epoch(moment: dt.datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return (aware - _EPOCH) // dt.timedelta(microseconds=1)
