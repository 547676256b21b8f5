"""Compressed files, opened as the bytes that they hold, in bounded memory."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import pyarrow as pa

from halftone.tables.errors import ArchiveMembers, FileDamaged, FileTruncated

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip"}
_XZ_MEMORY = 256 * 2**20
_READ = 1 << 18


def compression_of(head: bytes) -> str | None:
    """What a file that begins like this is compressed with."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


class _Decompressor(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


def _xz() -> _Decompressor:
    # An xz file says how much memory it wants; one made for the purpose asks for gigabytes.
    return lzma.LZMADecompressor(memlimit=_XZ_MEMORY)


class _Members(io.RawIOBase):
    """The content of one or more compressed streams, one after the other."""

    def __init__(self, raw: BinaryIO, begin: Callable[[], _Decompressor]) -> None:
        super().__init__()
        self._raw, self._begin = raw, begin
        self._current = begin()

    def read(self, size: int = -1) -> bytes:
        """Read at most ``size`` bytes. Raises EOFError if a stream is cut off."""
        while True:
            data = b""
            if self._current.eof:
                data = self._current.unused_data or self._raw.read(_READ)
                if not data:
                    return b""
                self._current = self._begin()
            elif self._current.needs_input:
                data = self._raw.read(_READ)
                if not data:
                    raise EOFError
            if found := self._current.decompress(data, size):
                return found


class Opened(io.RawIOBase):
    """A file's content, decompressed while it is read."""

    def __init__(self, stream: BinaryIO, raw: BinaryIO, compression: str | None) -> None:
        super().__init__()
        self._stream, self._raw, self._compression = stream, raw, compression

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Read at most ``size`` bytes; nothing at the end. Raises FileTruncated or FileDamaged."""
        try:
            return self._stream.read(size)
        except EOFError:
            raise self._truncated() from None
        except pa.ArrowException:
            raise self._damaged() from None
        except OSError as error:
            if error.errno is not None:
                raise
            if "runcated" in str(error):
                raise self._truncated() from None
            raise self._damaged() from None
        except (gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, lzma.LZMAError, RuntimeError, NotImplementedError):
            raise self._damaged() from None

    def _truncated(self) -> FileTruncated:
        return FileTruncated(f"the {self._compression} file ends too early: upload it again")

    def _damaged(self) -> FileDamaged:
        return FileDamaged(f"the {self._compression} file cannot be decompressed: write and upload it again")

    @property
    def position(self) -> int:
        """How far the file on disk was read, in bytes."""
        return self._raw.tell()


@contextlib.contextmanager
def opened(path: Path, compression: str | None) -> Iterator[Opened]:
    """Open a file of that compression. Raises FileTruncated, FileDamaged or, for a ZIP without exactly one file, ArchiveMembers."""
    with path.open("rb") as raw, contextlib.ExitStack() as stack:
        yield Opened(_stream(raw, compression, stack), raw, compression)


def _stream(raw: BinaryIO, compression: str | None, stack: contextlib.ExitStack) -> BinaryIO:
    match compression:
        case "gzip":
            return cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=raw, mode="rb")))
        case "bz2":
            return cast("BinaryIO", _Members(raw, bz2.BZ2Decompressor))
        case "xz":
            return cast("BinaryIO", _Members(raw, _xz))
        case "zstd":
            return cast("BinaryIO", pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"))
        case "zip":
            archive = stack.enter_context(archived(raw))
            return cast("BinaryIO", stack.enter_context(archive.open(_only_member(archive))))
        case _:
            return raw


def archived(raw: BinaryIO) -> zipfile.ZipFile:
    """A ZIP archive's table of contents. Raises FileTruncated, since it is at the end."""
    try:
        return zipfile.ZipFile(raw)
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise FileTruncated("the ZIP archive has no table of contents at its end, so it was cut off: upload it again") from None


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one file of an archive; the shadow files that macOS adds do not count."""
    members = [info for info in archive.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        raise ArchiveMembers(f"the ZIP archive holds {len(members):,} files: put the table in it and nothing else", files=len(members))
    if members[0].flag_bits & 1:
        raise FileDamaged("the ZIP archive is encrypted: upload it without a password")
    return members[0]
