"""Rows from a database, written down as JSON lines: from there on they are a file like any other, typed from all of it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from halftone.tables.errors import ColumnTypeUnsupported, FileEmpty, FileTooLarge, RowTooLong, TooManyRows, ValueNested
from halftone.tables.header import check_names
from halftone.tables.limits import Limits

Fetch = Callable[[int], Sequence[Sequence[Any]]]
"""Gives the next rows, at most so many; none at the end."""
_FIRST, _MOST = 64, 8192
_BATCH_BYTES = 8 * 2**20
"""Of rows that are fetched at a time, judged by those before."""
_PLAIN = frozenset({type(None), bool, int, float, str})


def _number(value: Decimal) -> float | int | None:
    """Whole ones as they are, however large; others as the nearest double."""
    if value.is_nan():
        return None
    return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)


_WRITTEN: dict[type, Callable[[Any], Any]] = {
    Decimal: _number,
    dt.date: dt.date.isoformat,
    dt.datetime: dt.datetime.isoformat,
    dt.time: dt.time.isoformat,
    dt.timedelta: dt.timedelta.total_seconds,
    uuid.UUID: str,
    str: str,
    **dict.fromkeys((ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network), str),
    **dict.fromkeys((ipaddress.IPv4Interface, ipaddress.IPv6Interface), str),
}


def spool(names: Sequence[str], fetch: Fetch, target: Path, limits: Limits) -> int:
    """Write all rows, and say how many they are. Memory holds some rows at a time.

    Raises ColumnDuplicate and others for the names, ColumnTypeUnsupported, ValueNested, RowTooLong, TooManyRows, FileTooLarge, or FileEmpty
    for a result without rows; no error holds a value of a row.
    """
    check_names(names, limits)
    encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
    rows = size = 0
    count = _FIRST
    with target.open("wb") as file:
        while some := fetch(count):
            columns = [_column(name, values) for name, values in zip(names, zip(*some, strict=True), strict=True)]
            lines = [encode(dict(zip(names, row, strict=True))).encode() for row in zip(*columns, strict=True)]
            batch = _checked(lines, rows, limits)
            rows, size = rows + len(lines), size + batch
            _check(rows, size, limits)
            file.write(b"\n".join(lines) + b"\n")
            count = max(1, min(_MOST, 2 * count, _BATCH_BYTES * len(lines) // batch))
    if not rows or not names:
        raise FileEmpty("the query gives no rows: at least one row with a column is needed")
    return rows


def _column(name: str, values: Sequence[Any]) -> Sequence[Any]:
    """Values as JSON has them."""
    kinds = set(map(type, values))
    if kinds <= _PLAIN:
        return values
    writers = {kind: _writer(name, kind) for kind in kinds - _PLAIN}
    return [writers[type(value)](value) if type(value) in writers else value for value in values]


def _writer(name: str, kind: type) -> Callable[[Any], Any]:
    known = next((_WRITTEN[base] for base in kind.__mro__ if base in _WRITTEN), None)
    if known is not None:
        return known
    if issubclass(kind, list | tuple | dict):
        raise ValueNested(f"column {name!r} holds arrays or records: select each of their parts as a column of its own", column=name)
    raise ColumnTypeUnsupported(
        f"column {name!r} holds values of type {kind.__name__}: numbers, booleans, text, dates and times can be used "
        "(leave the column out, or cast it to text)",
        column=name,
        found=kind.__name__,
    )


def _checked(lines: list[bytes], before: int, limits: Limits) -> int:
    """Bytes of some rows. Raises RowTooLong."""
    sizes = [len(line) + 1 for line in lines]
    if max(sizes) > limits.row_bytes:
        row = before + 1 + next(n for n, size in enumerate(sizes) if size > limits.row_bytes)
        raise RowTooLong(f"row {row:,} of the result exceeds {limits.row_bytes:,} bytes", line=row, limit=limits.row_bytes)
    return sum(sizes)


def _check(rows: int, size: int, limits: Limits) -> None:
    if rows > limits.rows:
        raise TooManyRows(f"the query gives more than {limits.rows:,} rows, which is the most", limit=limits.rows)
    if size > limits.data_bytes:
        raise FileTooLarge(
            f"the query gives more than {limits.data_bytes:,} bytes: select fewer rows or columns, or have HALFTONE_MAX_TABLE_BYTES raised",
            limit=limits.data_bytes,
        )
