"""A file as it came: what it is, told from its content, or as it was said to be."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from halftone.tables.compression import Opened, archived, compression_of, opened
from halftone.tables.errors import FileBinary, FileDamaged, FileEmpty, FileTruncated, FormatMismatch
from halftone.tables.options import FileFormat, ReadOptions
from halftone.tables.unicode import wide_encoding

_PARQUET = b"PAR1"
_PARQUET_ENCRYPTED = b"PARE"
_OTHERS = {
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old or an encrypted Office document: save it as .xlsx, without a password",
    b"SQLite format 3": "a SQLite database",
    b"ARROW1": "an Arrow file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
}
_HEAD = 4096
_OBJECT = re.compile(rb'\s*\{\s*("|\}\s*(\n|$))')
_ARRAY = re.compile(rb"\s*\[\s*[\[{]")
_DEFAULT = ReadOptions()


@dataclass(frozen=True, slots=True)
class Source:
    """A file whose kind is known."""

    path: Path
    size: int
    """Bytes on disk."""
    format: FileFormat
    """Never AUTO."""
    compression: str | None = None
    encoding: str = "utf-8"
    """Of a text file; UTF-8 until a byte shows otherwise."""


def examine(path: Path, options: ReadOptions = _DEFAULT) -> Source:
    """Tell what a file is by its first bytes; names and extensions are not looked at.

    Raises FileEmpty, FileTruncated, FileBinary, FileDamaged, ArchiveMembers, EncodingUnknown or FormatMismatch.
    """
    size = path.stat().st_size
    if size == 0:
        raise FileEmpty("the file is empty: a header line and at least one row are needed")
    source = _told(path, size, options)
    if options.format not in {FileFormat.AUTO, source.format}:
        raise FormatMismatch(
            f"the file was said to be {options.format} and is {source.format}: leave the format out, or name the right one",
            given=str(options.format),
            found=str(source.format),
        )
    return source


def _told(path: Path, size: int, options: ReadOptions) -> Source:
    with path.open("rb") as file:
        head = file.read(16)
        if head.startswith((_PARQUET, _PARQUET_ENCRYPTED)):
            _check_parquet_ends(file, size, head)
            return Source(path, size, FileFormat.PARQUET)
        compression = compression_of(head)
        if compression == "zip" and _is_workbook(file):
            return Source(path, size, FileFormat.XLSX)
    with opened(path, compression) as unpacked:
        head = _filled(unpacked, _HEAD)
    if compression and head.startswith((_PARQUET, b"PK\x03\x04")):
        raise FileBinary(f"the file is Parquet or an archive inside {compression}: upload that itself")
    return _text(Source(path, size, FileFormat.CSV, compression), head, options)


def _filled(file: Opened, count: int) -> bytes:
    head = b""
    while len(head) < count and (chunk := file.read(count - len(head))):
        head += chunk
    return head


def _is_workbook(file: BinaryIO) -> bool:
    with archived(file) as archive:
        names = set(archive.namelist())
    if "xl/workbook.xml" in names:
        return True
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise FileBinary("the file is an office document and no .xlsx workbook: save the table as .xlsx or CSV")
    return False


def _check_parquet_ends(file: BinaryIO, size: int, head: bytes) -> None:
    file.seek(max(0, size - 4))
    tail = file.read(4)
    if _PARQUET_ENCRYPTED in (head[:4], tail):
        raise FileDamaged("the Parquet file is encrypted: upload it without encryption")
    if size < 12 or tail != _PARQUET:
        raise FileTruncated("the Parquet file has no footer, so it was cut off: upload it again", bytes=size)


def _text(source: Source, head: bytes, options: ReadOptions) -> Source:
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            raise FileBinary(f"the file is {what}: CSV, JSON lines, Parquet or an Excel workbook (.xlsx) is needed")
    encoding = options.encoding or wide_encoding(head) or source.encoding
    plain_head = head.decode(encoding, "ignore").lstrip("\ufeff").encode()
    format_ = options.format
    if format_ not in {FileFormat.CSV, FileFormat.JSONL}:
        if _ARRAY.match(plain_head):
            raise FileBinary("the file is a JSON array: write one object per line (JSON lines), without brackets around them")
        format_ = FileFormat.JSONL if _OBJECT.match(plain_head) else FileFormat.CSV
    return Source(source.path, source.size, format_, source.compression, encoding)


@contextlib.contextmanager
def plain(source: Source) -> Iterator[Opened]:
    """Open a text file, decompressed, in its own encoding."""
    with opened(source.path, source.compression) as file:
        yield file
