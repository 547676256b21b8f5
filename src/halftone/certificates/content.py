"""The hash of a table's canonical Arrow content: of its columns, types and values, however they are cut, encoded or compressed.

SHA-256 over a name of the format; the number of columns; the number of rows; and per column its name, its type as Arrow writes it (text and
binary of either offset width are one type, a dictionary is its values), and the SHA-256 of its values. Those are, in blocks of 65,536 rows:
which values are there (one bit each, least significant first), and the values, those that are missing as zero. Numbers, dates and times are
little-endian, NaN is one NaN and zero has no sign; text and bytes are their lengths (64 bits each) and then their bytes. Lengths and counts
are 64 bits.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FORMAT = b"halftone.table.v1"
BLOCK = 65_536
"""Rows of one column that are hashed at a time."""


def content_hash(table: pa.Table) -> str:
    """SHA-256 of a table's canonical content, hex."""
    content = Content(table.schema)
    content.add(table)
    return content.hexdigest()


class Content:
    """The hash of a table that comes in pieces: however they are cut, it is that of the whole."""

    def __init__(self, schema: pa.Schema) -> None:
        """Raises ValueError for a column that has no canonical content."""
        self._schema, self._rows, self._waiting = schema, 0, schema.empty_table()
        self._columns = [hashlib.sha256() for _ in schema]
        self._types = [_type_name(_plain(column).type) for column in self._waiting.columns]

    def add(self, piece: pa.Table) -> None:
        """Add rows. What does not fill a block waits for more."""
        self._rows += piece.num_rows
        waiting = pa.concat_tables([self._waiting, piece.replace_schema_metadata(self._schema.metadata)])
        whole = waiting.num_rows // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            self._hash(waiting.slice(start, BLOCK))
        self._waiting = waiting.slice(whole).combine_chunks()

    def hexdigest(self) -> str:
        """The hash of all rows that were added; nothing can be added afterwards."""
        if self._waiting.num_rows:
            self._hash(self._waiting)
            self._waiting = self._schema.empty_table()
        digest = hashlib.sha256(FORMAT + struct.pack("<QQ", len(self._columns), self._rows))
        for name, kind, column in zip(self._schema.names, self._types, self._columns, strict=True):
            for text in (name, kind):
                digest.update(struct.pack("<Q", len(text.encode())) + text.encode())
            digest.update(column.digest())
        return digest.hexdigest()

    def _hash(self, block: pa.Table) -> None:
        for held, column in zip(self._columns, block.columns, strict=True):
            plain = _plain(column)
            held.update(_block(plain.combine_chunks() if isinstance(plain, pa.ChunkedArray) else plain))


def _plain(column: Any) -> Any:
    """Without dictionaries, and without types that differ in their offsets alone."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_string(kind):
        return column.cast(pa.large_string())
    if pa.types.is_binary(kind):
        return column.cast(pa.large_binary())
    if pa.types.is_decimal(kind) or pa.types.is_nested(kind):
        raise ValueError(f"a column of type {kind} has no canonical content")
    return column


def _type_name(kind: Any) -> str:
    return {"large_string": "string", "large_binary": "binary", "double": "float64", "float": "float32"}.get(str(kind), str(kind))


def _block(array: Any) -> bytes:
    there = np.asarray(pc.is_valid(array).to_numpy(zero_copy_only=False), dtype=bool)
    bits = np.packbits(there, bitorder="little").tobytes()
    kind = array.type
    if pa.types.is_null(kind):
        return bits
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        return bits + _texts(array)
    if pa.types.is_boolean(kind):
        return bits + np.packbits(_numbers(array, pa.uint8()).astype(bool), bitorder="little").tobytes()
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    temporal = pa.types.is_temporal(kind)
    values = _numbers(array.cast(width) if temporal else array, None)
    if values.dtype.kind == "f":
        values = values + 0.0  # a zero without its sign
        values[np.isnan(values)] = np.nan
    return bits + bytes(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())


def _numbers(array: Any, kind: Any) -> Any:
    plain = array if kind is None else array.cast(kind)
    return plain.fill_null(0).to_numpy(zero_copy_only=False)


def _texts(array: Any) -> bytes:
    filled = array.fill_null("" if pa.types.is_large_string(array.type) else b"")
    lengths = pc.binary_length(filled).to_numpy(zero_copy_only=False).astype("<i8")
    joined = b"".join(text.encode() if isinstance(text, str) else text for text in filled.to_pylist())
    return bytes(lengths.tobytes() + joined)
