"""A stored table: the Arrow types that it may have, in the contract's words."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as pt

from contracts.schema import ColumnType


def column_type(type_: pa.DataType) -> ColumnType:
    """What a stored Arrow type is called; text is not yet told from categories. Raises TypeError for one that is never stored."""
    if pt.is_dictionary(type_):
        return column_type(type_.value_type)
    for holds, name in _NAMES:
        if holds(type_):
            return name
    raise TypeError(f"no stored table has a column of type {type_}")


_NAMES = (
    (pt.is_integer, ColumnType.INTEGER),
    (pt.is_floating, ColumnType.NUMBER),
    (pt.is_boolean, ColumnType.BOOLEAN),
    (pt.is_date, ColumnType.DATE),
    (pt.is_timestamp, ColumnType.DATETIME),
    (pt.is_time, ColumnType.TIME),
    (lambda type_: pt.is_string(type_) or pt.is_large_string(type_) or pt.is_string_view(type_) or pt.is_null(type_), ColumnType.TEXT),
)
