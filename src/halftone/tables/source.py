"""A file as it came: what it is, told from its content, and its bytes, checked while they are read."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from halftone.tables.errors import EncodingUnknown, FileBinary, FileDamaged, FileEmpty, FileTooLarge, FileTruncated

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_PARQUET_ENCRYPTED = b"PARE"
_OTHERS = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"BZh": "a bzip2 file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"\xfd7zXZ": "an xz file",
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"SQLite format 3": "a SQLite database",
}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Source:
    """A file whose kind is known."""

    path: Path
    size: int
    """Bytes on disk."""
    parquet: bool
    compressed: bool
    """In gzip."""


def examine(path: Path) -> Source:
    """Tell Parquet, gzip and text apart by their first bytes; names and extensions are not looked at.

    Raises FileEmpty, FileTruncated, FileBinary, FileDamaged or EncodingUnknown.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        if head.startswith((_PARQUET, _PARQUET_ENCRYPTED)):
            _check_parquet_ends(file, size, head)
            return Source(path, size, parquet=True, compressed=False)
    if size == 0:
        raise FileEmpty("the file is empty: a header line and at least one row are needed")
    compressed = head.startswith(_GZIP)
    source = Source(path, size, parquet=False, compressed=compressed)
    if compressed:
        with plain(source) as file:
            head = _inflate(file, 16)
        if head.startswith(_PARQUET):
            raise FileBinary("the file is Parquet inside gzip: upload the Parquet file itself")
    _check_text_begins(head)
    return source


def _check_parquet_ends(file: BinaryIO, size: int, head: bytes) -> None:
    file.seek(max(0, size - 4))
    tail = file.read(4)
    if _PARQUET_ENCRYPTED in (head[:4], tail):
        raise FileDamaged("the Parquet file is encrypted: upload it without encryption")
    if size < 12 or tail != _PARQUET:
        raise FileTruncated("the Parquet file has no footer, so it was cut off: upload it again", bytes=size)


def _check_text_begins(head: bytes) -> None:
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            raise FileBinary(f"the file is {what}: CSV (plain or gzip) or Parquet is needed")
    if head.startswith(_UTF16):
        raise EncodingUnknown("the file is UTF-16: save it as UTF-8", offset=0, line=1)


@contextlib.contextmanager
def plain(source: Source) -> Iterator[BinaryIO]:
    """Open a text file, decompressed."""
    with source.path.open("rb") as raw:
        if not source.compressed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
            yield cast("BinaryIO", unpacked)


def _inflate(file: BinaryIO, count: int) -> bytes:
    try:
        return file.read(count)
    except EOFError:
        raise FileTruncated("the gzip file ends too early: upload it again") from None
    except (gzip.BadGzipFile, zlib.error):
        raise FileDamaged("the gzip file cannot be decompressed: write and upload it again") from None


class CheckedText(io.RawIOBase):
    """The bytes of a UTF-8 text file, each of them checked before anybody else sees it.

    A byte order mark and blank lines at the start are left out. ``ending`` is added at the end: a reader that does not see it as
    a line of its own was left inside a quoted field. ``failure`` keeps what went wrong, whatever a reader in between makes of it.
    """

    def __init__(self, file: BinaryIO, *, most: int, ending: bytes = b"") -> None:
        super().__init__()
        self.failure: Exception | None = None
        self.bytes = 0
        self._file, self._most, self._ending = file, most, ending
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._ready = b""
        self._begun = self._ended = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes, fewer at the end. Raises a TableError."""
        try:
            return self._read(size if size > 0 else 1 << 20)
        except Exception as error:
            self.failure = error
            raise

    def _read(self, size: int) -> bytes:
        # Never short before the end: a CSV parser that is handed half a line as a block takes the line for too long.
        while len(self._ready) < size and not self._ended:
            chunk = _inflate(self._file, size - len(self._ready))
            if chunk:
                self._check(chunk)
                self.bytes += len(chunk)
                self._ready += chunk if self._begun else self._from_first_line(chunk)
            else:
                self._decode(b"", final=True)
                self._ready += self._ending
                self._ended = True
        given, self._ready = self._ready[:size], self._ready[size:]
        return given

    def _from_first_line(self, chunk: bytes) -> bytes:
        if self.bytes == len(chunk):
            chunk = chunk.removeprefix(codecs.BOM_UTF8)
        chunk = chunk.lstrip(b"\r\n")
        self._begun = bool(chunk)
        return chunk

    def _check(self, chunk: bytes) -> None:
        if self.bytes + len(chunk) > self._most:
            raise FileTooLarge(f"the file holds more than {self._most:,} bytes of data: upload it in parts", limit=self._most)
        zero = chunk.find(0)
        if zero >= 0:
            offset = self.bytes + zero
            raise FileBinary(f"the file is not text (a zero byte at offset {offset:,}): CSV or Parquet is needed", offset=offset)
        self._decode(chunk, final=False)

    def _decode(self, chunk: bytes, *, final: bool) -> None:
        waiting = len(self._decoder.getstate()[0])
        if chunk.isascii() and not waiting:
            return
        try:
            self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            offset = self.bytes - waiting + error.start
            raise EncodingUnknown(f"the file is not UTF-8 (first at byte {offset:,})", offset=offset) from None


@contextlib.contextmanager
def located(source: Source) -> Iterator[None]:
    """Give an EncodingUnknown from the block the line, from 1, that its byte is on."""
    try:
        yield
    except EncodingUnknown as error:
        offset = int(str(error.fields["offset"]))
        line = _line_at(source, offset)
        raise EncodingUnknown(
            f"the file is not UTF-8 (first at byte {offset:,}, line {line:,}): save it as UTF-8", offset=offset, line=line
        ) from None


def _line_at(source: Source, offset: int) -> int:
    line = 1
    with plain(source) as file:
        while offset > 0 and (chunk := file.read(min(offset, 1 << 20))):
            line += chunk.count(b"\n")
            offset -= len(chunk)
    return line
