"""JSON lines in blocks of columns: all lines of a block at once where they agree, one by one where they do not or are wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.types as pt

from halftone.tables.errors import ColumnDuplicate, LineNotObject, RowTooLong, ValueNested
from halftone.tables.limits import Limits
from halftone.tables.narrow import EXACT, INTEGER, NUMBER
from halftone.tables.source import Source, plain
from halftone.tables.text import CheckedText
from halftone.tables.values import Block

_TWO_OBJECTS = re.compile(rb"\}[ \t\r]*\{")
"""On one line: the reader would take them for two rows."""


class _Literal(str):
    """A number as the file writes it."""

    __slots__ = ()


@dataclass
class JsonReader:
    """Reads one file of JSON lines. A row's values never reach an error message."""

    source: Source
    limits: Limits
    data_bytes: int = 0
    """Decompressed bytes read so far."""
    _strings: set[str] = field(default_factory=set)
    """Columns of text that looks like moments: it is taken for them only after all of the file was seen."""

    def blocks(self, read_to: Callable[[int], None], *, as_text: bool) -> Iterator[Block]:
        """Yield the rows in order; ``read_to`` hears of the position in the file on disk. Raises a TableError that names the line."""
        with plain(self.source) as file:
            stream = CheckedText(file, most=self.limits.data_bytes, encoding=self.source.encoding)
            for first, lines in self._lines(stream):
                self.data_bytes = stream.bytes
                read_to(file.position)
                block = None if as_text else self._together(lines)
                yield _one_by_one(lines, first) if block is None else block

    def _lines(self, stream: CheckedText) -> Iterator[tuple[int, bytes]]:
        """Whole lines up to the size of a block, each time with the number of the first."""
        line, rest = 0, b""
        while chunk := stream.read(self.limits.row_bytes):
            line = line or 1 + stream.blank_lines
            data = rest + chunk
            if (data.find(b"\n") if b"\n" in data else len(data)) > self.limits.row_bytes:
                self._too_long(line)
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            if end:
                yield line, data[:end]
                line += data.count(b"\n", 0, end)
        if rest:
            yield line, rest

    def _together(self, lines: bytes) -> Block | None:
        """Read all lines with Arrow, or give None if they have to be looked at one by one."""
        try:
            table = _parsed(lines, self._strings)
            order = table.column_names
            moments = [column.name for column in table.schema if pt.is_timestamp(column.type)]
            if moments:
                self._strings.update(moments)
                table = _parsed(lines, self._strings).select(order)
        except pa.ArrowInvalid:
            return None
        if table.num_rows != _filled(lines) or _TWO_OBJECTS.search(lines):
            return None
        arrays = {name: _whole(table[name]) for name in table.column_names}
        return Block(table.num_rows, dict(arrays)) if arrays and all(map(_plain, arrays.values())) else None

    def _too_long(self, line: int) -> Never:
        limit = self.limits.row_bytes
        raise RowTooLong(f"line {line:,} exceeds {limit:,} bytes: each line must hold one object", line=line, limit=limit)


def _filled(lines: bytes) -> int:
    """Number of lines that are not empty."""
    raw = np.frombuffer(b"\n" + lines.replace(b"\r", b"") + b"\n", np.uint8)
    return int(np.count_nonzero(np.diff(np.flatnonzero(raw == ord("\n"))) > 1))


def _parsed(lines: bytes, strings: Collection[str]) -> pa.Table:
    return pyarrow.json.read_json(
        pa.BufferReader(lines),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=pa.schema([(name, pa.string()) for name in strings])),
    )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)


def _plain(array: pa.Array) -> bool:
    """Whether nothing was nested, and nothing lost by reading numbers as doubles."""
    if pt.is_floating(array.type):
        return pc.any(pc.greater_equal(pc.abs(array), EXACT)).as_py() is not True
    return bool(pt.is_int64(array.type) or pt.is_boolean(array.type) or pt.is_string(array.type) or pt.is_null(array.type))


def _one_by_one(lines: bytes, first: int) -> Block:
    """Read line by line, numbers as they are written. Raises LineNotObject, ValueNested or ColumnDuplicate."""
    rows = [_object(line, number) for number, line in enumerate(lines.split(b"\n"), first) if line.strip()]
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [row.get(name) for row in rows] for name in names}
    return Block(len(rows), {name: _array(column) for name, column in values.items()}, lambda name: _text(values[name]))


def _object(line: bytes, number: int) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ColumnDuplicate(f"line {number:,} has the key {twice!r} twice: keys must differ", line=number, columns=(twice,))
        return found

    try:
        row = json.loads(line, object_pairs_hook=unique, parse_int=_Literal, parse_float=_Literal, parse_constant=_Literal)
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise LineNotObject(f"line {number:,} holds half of a surrogate pair, which is no character", line=number) from None
    except (json.JSONDecodeError, RecursionError):
        raise LineNotObject(f'line {number:,} is not one JSON object, such as {{"a": 1, "b": null}}', line=number) from None
    if not isinstance(row, dict):
        raise LineNotObject(f'line {number:,} is JSON and no object: each line must hold one, such as {{"a": 1}}', line=number)
    for name, value in row.items():
        if isinstance(value, dict | list):
            what = "an object" if isinstance(value, dict) else "an array"
            raise ValueNested(
                f"line {number:,} has {what} under {name!r}: give each of its parts a key of its own", line=number, column=name
            )
    return row


def _array(values: list[Any]) -> pa.Array | None:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1:
        return None
    if kinds == {_Literal}:
        text = pa.array(values, pa.string())
        finite = pc.if_else(pc.equal(text, "NaN"), pa.scalar(None, pa.string()), text)
        whole = INTEGER.parse(finite)
        return whole if whole is not None else NUMBER.parse(finite)
    return pa.array(values)


def _text(values: list[Any]) -> pa.Array:
    """Truths as JSON writes them; NaN is missing."""
    written = {True: "true", False: "false", "NaN": None}
    return pa.array([written[value] if isinstance(value, bool | _Literal) and value in written else value for value in values], pa.string())
