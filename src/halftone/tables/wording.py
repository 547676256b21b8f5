"""Rows as lines of text: CSV (RFC 4180) and JSON lines, a whole batch at a time."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.types as pt

from halftone.tables.written import text_bytes

_FORMULA = r"^[=+\-@\t\r]"
_ESCAPED = r"[\x00-\x1f\"\\]"
_LARGE = pa.large_string()
_PLAIN_CSV = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")


def csv_lines(schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, safe: bool) -> Iterator[bytes]:
    """Yield the header line and then the rows; lines end in LF. Text is quoted, also empty text, which is no missing value."""
    yield _csv([pa.array([name], _LARGE) for name in schema.names], safe=safe)
    for batch in batches:
        yield _csv([decoded(column) for column in batch.columns], safe=safe)


def _csv(columns: list[pa.Array], *, safe: bool) -> bytes:
    written = [_csv_column(column, safe=safe) for column in columns]
    out = io.BytesIO()
    pyarrow.csv.write_csv(pa.RecordBatch.from_arrays(written, [str(n) for n in range(len(written))]), out, _PLAIN_CSV)
    return out.getvalue()


def _csv_column(column: pa.Array, *, safe: bool) -> pa.Array:
    if is_text(column.type):
        return _without_formulas(pc.cast(column, _LARGE)) if safe else column
    return plain_text(column) if pt.is_timestamp(column.type) or pt.is_time(column.type) else column


def _without_formulas(text: pa.Array) -> pa.Array:
    formula = pc.match_substring_regex(text, _FORMULA)
    return pc.if_else(formula, pc.replace_substring_regex(text, "^", "'"), text) if pc.any(formula).as_py() else text


def json_lines(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Yield the rows, one object each, every key in each."""
    keys = [("{" if n == 0 else ",") + json.dumps(name, ensure_ascii=False) + ":" for n, name in enumerate(schema.names)]
    for batch in batches:
        parts = [part for key, column in zip(keys, batch.columns, strict=True) for part in (pa.scalar(key, _LARGE), _json_column(column))]
        yield text_bytes(_joined(*parts, pa.scalar("}\n", _LARGE)))[0].tobytes()


def _joined(*parts: pa.Array | pa.Scalar) -> pa.Array:
    return pc.binary_join_element_wise(*parts, pa.scalar("", _LARGE))


def plain_text(column: pa.Array) -> pa.Array:
    """Values that are no text as text: ISO 8601 for dates and times, true and false, the shortest number that reads back the same."""
    if pt.is_timestamp(column.type):
        return pc.replace_substring(pc.cast(_shortest(column, pa.timestamp("s", column.type.tz)), _LARGE), " ", "T")
    return pc.cast(_shortest(column, pa.time32("s")) if pt.is_time(column.type) else column, _LARGE)


def _shortest(moments: pa.Array, seconds: pa.DataType) -> pa.Array:
    """Without fractions of a second, if a whole batch has none."""
    try:
        return pc.cast(moments, seconds)
    except pa.ArrowInvalid:
        return moments


def decoded(column: pa.Array) -> pa.Array:
    """The column without a dictionary."""
    return column.dictionary_decode() if pt.is_dictionary(column.type) else column


def is_text(type_: pa.DataType) -> bool:
    """Whether a stored type is text; a column without a type holds no value, and so no text."""
    return bool(pt.is_string(type_) or pt.is_large_string(type_) or pt.is_string_view(type_) or pt.is_null(type_))


def _json_column(column: pa.Array) -> pa.Array:
    values = decoded(column)
    if is_text(values.type):
        text = _json_text(pc.cast(values, _LARGE))
    elif pt.is_floating(values.type):
        text = pc.if_else(pc.is_finite(values), plain_text(values), _between_quotes(plain_text(values)))
    elif pt.is_integer(values.type) or pt.is_boolean(values.type):
        text = plain_text(values)
    else:
        text = _between_quotes(plain_text(values))
    return pc.fill_null(text, pa.scalar("null", _LARGE))


def _between_quotes(text: pa.Array) -> pa.Array:
    quote = pa.scalar('"', _LARGE)
    return _joined(quote, text, quote)


def _json_text(text: pa.Array) -> pa.Array:
    plain = _between_quotes(text)
    raw, _ = text_bytes(text)
    if not np.any((raw < ord(" ")) | (raw == ord('"')) | (raw == ord("\\"))):
        return plain
    # The encoder knows each escape, and encodes each distinct value once.
    special = pc.match_substring_regex(text, _ESCAPED)
    distinct = pc.dictionary_encode(text.filter(special))
    escaped = pa.array([json.dumps(value, ensure_ascii=False) for value in distinct.dictionary.to_pylist()], _LARGE)
    return pc.replace_with_mask(plain, pc.fill_null(special, False), escaped.take(distinct.indices))
