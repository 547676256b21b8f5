"""An Excel workbook before it is opened: what it would take in memory, asked of the file itself.

The reader keeps a sheet as the whole rectangle between its first and its last cell. A few bytes can name a cell a million rows and 16,384
columns away, or unpack to gigabytes, so both are measured first, in bounded memory.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from halftone.tables.compression import archived
from halftone.tables.errors import FileDamaged, FileTooLarge
from halftone.tables.limits import Limits

_CELL = re.compile(rb"""<(?:\w+:)?c\s[^>]*?\br\s*=\s*["']([A-Za-z]{1,3})([0-9]{1,7})["']""")
_CELLS = re.compile(rb"<(?:\w+:)?c[\s/>]")
_READ = 1 << 18
_KEPT = 512
"""Bytes of one piece that are looked at again with the next, for a cell that is cut in two."""
_LOCAL_HEADER = struct.Struct("<26xHH")


def check_size(path: Path, limits: Limits) -> int:
    """Measure a workbook: its bytes when unpacked. Raises FileTooLarge, FileDamaged or FileTruncated."""
    total = 0
    with path.open("rb") as raw, archived(raw) as archive:
        for info in archive.infolist():
            sheet = _Rectangle(limits) if info.filename.startswith("xl/worksheets/") else None
            for piece in _unpacked(raw, info):
                total += len(piece)
                if total > limits.data_bytes:
                    raise FileTooLarge(f"the workbook unpacks to more than {limits.data_bytes:,} bytes", limit=limits.data_bytes)
                if sheet is not None:
                    sheet.see(piece)
    return total


class _Rectangle:
    """How far a sheet's cells reach."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rest = b""
        self._rows = self._columns = self._cells = 0

    def see(self, piece: bytes) -> None:
        data = self._rest + piece
        self._rest = data[-_KEPT:]
        self._cells += len(_CELLS.findall(piece))
        for column, row in _CELL.findall(data):
            self._rows = max(self._rows, int(row))
            self._columns = max(self._columns, _number(column))
        cells, most = max(self._rows * self._columns, self._cells), self._limits.sheet_cells
        if cells > most:
            raise FileTooLarge(
                f"a sheet reaches over {self._rows:,} rows and {self._columns:,} columns; {most:,} cells is the most: use CSV or Parquet",
                limit=most,
            )


def _number(column: bytes) -> int:
    """A column's number from its letters: A is 1, AA is 27."""
    number = 0
    for letter in column.upper():
        number = number * 26 + letter - ord("A") + 1
    return number


def _unpacked(raw: BinaryIO, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """A member's content in pieces, as far as its compressed data goes: the size that an archive declares may be a lie."""
    if info.flag_bits & 1 or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise FileDamaged("the workbook is encrypted, or packed in a way that Excel does not use: save it again")
    raw.seek(info.header_offset)
    header = raw.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size:
        raise FileDamaged("the workbook cannot be unpacked: write and upload it again")
    raw.seek(sum(_LOCAL_HEADER.unpack(header)), 1)
    left, inflater = info.compress_size, zlib.decompressobj(-zlib.MAX_WBITS)
    while left > 0 and (packed := raw.read(min(left, _READ))):
        left -= len(packed)
        if info.compress_type == zipfile.ZIP_STORED:
            yield packed
            continue
        while packed and not inflater.eof:
            try:
                yield inflater.decompress(packed, _READ)
            except zlib.error:
                raise FileDamaged("the workbook cannot be unpacked: write and upload it again") from None
            packed = inflater.unconsumed_tail
