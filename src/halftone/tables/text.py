"""Text files as UTF-8, each byte checked before anybody else sees it."""

from __future__ import annotations

import codecs
import contextlib
import io
from collections.abc import Iterator

from halftone.tables.compression import Opened
from halftone.tables.errors import EncodingUnknown, FileBinary, FileTooLarge
from halftone.tables.source import Source, plain

UTF_8 = "utf-8"


class CheckedText(io.RawIOBase):
    """The content of a text file, as UTF-8 whatever its encoding.

    A byte order mark and blank lines at the start are left out. ``ending`` is added at the end: a reader that does not see it as
    a line of its own was left inside a quoted field. ``failure`` keeps what went wrong, whatever a reader in between makes of it.
    """

    def __init__(self, file: Opened, *, most: int, encoding: str, ending: bytes = b"") -> None:
        super().__init__()
        self.failure: Exception | None = None
        self.bytes = 0
        """Bytes of the file read so far, in its own encoding."""
        self.blank_lines = 0
        """Lines left out at the start."""
        self._file, self._most, self._ending, self._encoding = file, most, ending, encoding
        self._utf8 = codecs.lookup(encoding).name == UTF_8
        self._decoder = codecs.getincrementaldecoder(encoding)()
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
            chunk = self._file.read(size - len(self._ready))
            if chunk:
                checked = self._checked(chunk)
                self.bytes += len(chunk)
                self._ready += checked if self._begun else self._from_first_line(checked)
            else:
                self._decode(b"", final=True)
                self._ready += self._ending
                self._ended = True
        given, self._ready = self._ready[:size], self._ready[size:]
        return given

    def _from_first_line(self, text: bytes) -> bytes:
        text = text.removeprefix(codecs.BOM_UTF8)
        begun = text.lstrip(b"\r\n")
        self.blank_lines += text[: len(text) - len(begun)].count(b"\n")
        self._begun = bool(begun)
        return begun

    def _checked(self, chunk: bytes) -> bytes:
        """The chunk in UTF-8."""
        if self.bytes + len(chunk) > self._most:
            raise FileTooLarge(f"the file holds more than {self._most:,} bytes of data: upload it in parts", limit=self._most)
        text = self._decode(chunk, final=False)
        zero = text.find(0)
        if zero >= 0:
            offset = self.bytes + zero
            raise FileBinary(f"the file is not text (a zero byte at offset {offset:,}): CSV or Parquet is needed", offset=offset)
        return text

    def _decode(self, chunk: bytes, *, final: bool) -> bytes:
        waiting = len(self._decoder.getstate()[0])
        if self._utf8 and not waiting and chunk.isascii():
            return chunk
        try:
            text = self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            offset = self.bytes - waiting + error.start
            raise EncodingUnknown(f"the file is not {self._encoding} (first at byte {offset:,})", offset=offset) from None
        # UTF-8 goes on as it came: a character cut in two by the chunk's end is completed by the next.
        return chunk if self._utf8 else text.encode(UTF_8, "surrogatepass")


@contextlib.contextmanager
def located(source: Source) -> Iterator[None]:
    """Give an EncodingUnknown from the block the line, from 1, that its byte is on."""
    try:
        yield
    except EncodingUnknown as error:
        if "offset" not in error.fields:
            raise
        offset = int(str(error.fields["offset"]))
        line = _line_at(source, offset)
        name = source.encoding.upper() if source.encoding == UTF_8 else source.encoding
        raise EncodingUnknown(
            f"the file is not {name} (first at byte {offset:,}, line {line:,}): name its encoding, or save it as UTF-8",
            offset=offset,
            line=line,
        ) from None


def _line_at(source: Source, offset: int) -> int:
    line = 1
    with plain(source) as file:
        while offset > 0 and (chunk := file.read(min(offset, 1 << 20))):
            line += chunk.count(b"\n")
            offset -= len(chunk)
    return line
