"""Uploads: multipart bodies, streamed to an object as they come in; the table itself is never in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import TracebackType
from typing import Any, BinaryIO

from litestar import Request
from litestar.exceptions import InternalServerException
from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from api.bodies import require_plain
from api.holding import held
from api.problems import ClientGone, ContentTypeWrong, RequestInvalid, TooLarge
from api.reading import OPTIONS
from contracts.ids import ObjectId, new_id
from contracts.jobs import Fetch
from contracts.problems import ProblemError
from infra.objects import Draft, ObjectInfo, Objects

FILE = "file"
OTHER_PARTS = frozenset({"name", "schema", *OPTIONS})
MOST_PARTS = 1 + len(OTHER_PARTS)
OTHER_PART_BYTES = 4 << 20
"""Most bytes of a part other than the file: the schema of a thousand columns with their categories fits."""
WRITE_BYTES = 1 << 20
NAME_LENGTH = 256


class FileEmpty(ProblemError):
    """The file is empty: upload a CSV file with a header line and rows, or a Parquet file."""

    status, code = 422, "file-empty"


class FileMissing(ProblemError):
    """The upload has no part named 'file' with a file name: send the table as multipart/form-data in a part of that name."""

    status, code = 422, "file-missing"


@dataclass
class Upload:
    """What came in."""

    info: ObjectInfo
    filename: str
    parts: dict[str, bytes] = field(default_factory=dict)
    """The parts beside the file, by name."""
    fetch: Fetch | None = None
    """What the object holds is where the rows are to be fetched from; None: it is the file."""


async def receive(request: Request[Any, Any, Any], objects: Objects, most_bytes: int) -> Upload:
    """Store the file of a multipart request as an object. Nothing is left behind when it cannot be used.

    Raises ContentTypeWrong, RequestInvalid, TooLarge, FileMissing or FileEmpty.
    """
    require_plain(request.headers.get("content-encoding"))
    boundary = _boundary(request)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most_bytes + 2 * OTHER_PART_BYTES:
        raise too_large(most_bytes)
    object_id = new_id("obj")
    async with _Drafting(objects, object_id) as draft:
        form = _Form(draft.path, most_bytes)
        try:
            await form.read(request, boundary)
        finally:
            await form.close()
        if form.filename is None:
            raise FileMissing
        if not form.size:
            raise FileEmpty(file=form.filename)
    info = await asyncio.to_thread(objects.info, object_id)
    return Upload(info, form.filename, form.parts)


class _Drafting:
    """An object's draft, measured and kept off the event loop."""

    def __init__(self, objects: Objects, object_id: ObjectId) -> None:
        self._manager = objects.write(object_id, "application/octet-stream", "")

    async def __aenter__(self) -> Draft:
        return self._manager.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # A request that is cancelled now must not leave the draft behind.
        await asyncio.shield(asyncio.to_thread(self._manager.__exit__, kind, error, trace))


class _Form:
    """A multipart body while it is read."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path, self._most = path, most_bytes
        self._file: BinaryIO | None = None
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._current: str | None = None
        self.filename: str | None = None
        self.size = 0
        self.parts: dict[str, bytes] = {}

    async def read(self, request: Request[Any, Any, Any], boundary: str) -> None:
        """Read the whole body."""
        parser = PushMultipartParser(boundary, max_segment_count=MOST_PARTS)
        try:
            async with contextlib.aclosing(request.stream()) as chunks:
                await self._parse(parser, chunks)
        except InternalServerException:
            # Nothing more comes in: the client went away, or its token was revoked.
            raise held().over or ClientGone() from None
        except ParserLimitReached:
            raise RequestInvalid(f"The upload has more than {MOST_PARTS} parts, or a part with too long headers.") from None
        except MultipartError as error:
            raise RequestInvalid(f"The multipart body cannot be read: {error}.") from None

    async def _parse(self, parser: PushMultipartParser, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            if not chunk:
                continue
            for event in parser.parse(chunk):
                await self._take(event)
        parser.close()

    async def _take(self, event: Any) -> None:
        if isinstance(event, MultipartSegment):
            self._begin(event)
        elif event is None:
            self._current = None
        elif self._current == FILE:
            await self._keep(bytes(event))
        elif self._current is not None:
            self._add(self._current, bytes(event))

    def _begin(self, segment: MultipartSegment) -> None:
        name = segment.name
        if name == FILE and segment.filename is not None:
            if self.filename is not None:
                raise RequestInvalid("The upload has two files: send one.", parameter=FILE)
            self.filename = plain_name(segment.filename)
        elif name not in OTHER_PARTS:
            known = ", ".join(sorted({FILE, *OTHER_PARTS}))
            raise RequestInvalid(f"The part {name[:80]!r} is not known here, or has no file name; parts are {known}.", parameter=name[:80])
        elif name in self.parts:
            raise RequestInvalid(f"The part {name!r} is there twice.", parameter=name)
        else:
            self.parts[name] = b""
        self._current = name

    def _add(self, name: str, data: bytes) -> None:
        self.parts[name] += data
        if len(self.parts[name]) > OTHER_PART_BYTES:
            raise TooLarge(f"The part {name!r} is larger than {OTHER_PART_BYTES:,} bytes.", limit=OTHER_PART_BYTES)

    async def _keep(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._most:
            raise too_large(self._most)
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= WRITE_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        data, self._buffer, self._buffered = self._buffer, [], 0
        await asyncio.to_thread(self._write, data)

    def _write(self, data: list[bytes]) -> None:
        if self._file is None:
            self._file = self._path.open("wb")
        self._file.writelines(data)

    async def close(self) -> None:
        """Write out what is left."""
        await self._flush()
        if self._file is not None:
            await asyncio.to_thread(self._file.close)


def plain_name(filename: str) -> str:
    """The last part of a file name, as text to show: it is never a path here."""
    last = PureWindowsPath(PurePosixPath(filename).name).name
    return "".join(c for c in last if c.isprintable())[:NAME_LENGTH] or "upload"


def _boundary(request: Request[Any, Any, Any]) -> str:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get("boundary")
    if kind != "multipart/form-data" or not boundary:
        raise ContentTypeWrong("The body must be multipart/form-data with the table in a part named 'file'.")
    return str(boundary)


def too_large(most: int) -> TooLarge:
    """The refusal of a file."""
    return TooLarge(f"The file is larger than {most:,} bytes: upload it in parts, compressed, or raise the limit on uploads.", limit=most)
