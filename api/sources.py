"""Files that the server reads itself: below directories that a setting opens, and nowhere else."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO

from litestar import Request
from pydantic import Field, TypeAdapter

from api.bodies import parse
from api.problems import Forbidden, NotFound, TooLarge
from api.uploads import OTHER_PART_BYTES, FileEmpty, Upload, plain_name, too_large
from api.v1.bodies import Body
from contracts.ids import new_id
from contracts.problems import ProblemError
from infra.objects import CHUNK, Objects
from infra.settings import Settings


class SourceNotAllowed(Forbidden):
    """The server may not read this: an administrator opens directories with HALFTONE_READ_PATHS."""

    code = "source-not-allowed"


class SourceNotFile(ProblemError):
    """The path names no file: give that of one table."""

    status, code = 422, "source-not-file"


class PathSource(Body):
    """A file that the server can see."""

    path: str = Field(min_length=1, max_length=4096, description="absolute, below one of the directories of HALFTONE_READ_PATHS")


class Reading(Body):
    """How the file is to be read, where that is not to be detected."""

    format: str | None = Field(default=None, description="csv, jsonl, parquet or xlsx")
    delimiter: str | None = Field(default=None, description="between the fields of a CSV: one character, or tab")
    quote: str | None = Field(default=None, description="around fields of a CSV: one character; empty: none")
    encoding: str | None = Field(default=None, description="of text, such as utf-8 or cp1252")
    sheet: str | None = Field(default=None, description="of a workbook, by name")
    header: bool | None = Field(default=None, strict=True, description="whether the first row names the columns")


class SourceBody(Body):
    """A dataset whose rows the server fetches."""

    source: PathSource
    name: str | None = Field(default=None, min_length=1, max_length=256, description="what it is called; absent: as the file")
    declared: dict[str, Any] | None = Field(default=None, alias="schema", description="its schema; attested in the caller's name")
    read: Reading = Field(default=Reading(), description="how it is to be read, where that is not to be detected")


_BODY: TypeAdapter[SourceBody] = TypeAdapter(SourceBody)


async def fetch(request: Request[Any, Any, Any], objects: Objects, settings: Settings) -> Upload:
    """Store the file that a JSON body names as an object, as if it had been uploaded.

    Raises BodyNotJson, RequestInvalid, SourceNotAllowed, NotFound, SourceNotFile, TooLarge or FileEmpty; nothing is left behind then.
    """
    body: SourceBody = parse(_BODY, await _content(request.stream()), {"source": 'such as {"path": "/data/people.csv"}'})
    path = await asyncio.to_thread(_permitted, body.source.path, settings)
    said = body.read.model_dump(exclude_none=True)
    parts = {name: (str(value).lower() if name == "header" else value).encode() for name, value in said.items()}
    if body.name is not None:
        parts["name"] = body.name.encode()
    if body.declared is not None:
        parts["schema"] = json.dumps(body.declared).encode()
    abandoned = threading.Event()
    try:
        return await asyncio.to_thread(_copied, path, objects, settings.max_upload_bytes, parts, abandoned)
    except asyncio.CancelledError:
        abandoned.set()
        raise


async def _content(chunks: AsyncGenerator[bytes, None]) -> bytes:
    content = b""
    async with aclosing(chunks) as stream:
        async for chunk in stream:
            content += chunk
            if len(content) > OTHER_PART_BYTES:
                raise TooLarge(f"The body is larger than {OTHER_PART_BYTES:,} bytes.", limit=OTHER_PART_BYTES)
    return content


def _permitted(given: str, settings: Settings) -> Path:
    """The path itself, symbolic links followed. Raises SourceNotAllowed, whether or not there is something outside."""
    if not given.isprintable() or not Path(given).is_absolute():
        raise SourceNotAllowed("The path must be absolute, and below a directory that HALFTONE_READ_PATHS names.", parameter="source.path")
    path = Path(given).resolve()
    if not any(path.is_relative_to(opened) for opened in settings.opened()) or path.is_relative_to(settings.home.resolve()):
        raise SourceNotAllowed(parameter="source.path")
    return path


def _copied(path: Path, objects: Objects, most: int, parts: dict[str, bytes], abandoned: threading.Event) -> Upload:
    name, object_id = plain_name(path.name), new_id("obj")
    with _opened(path, name) as file:
        if not os.fstat(file.fileno()).st_size:
            raise FileEmpty(file=name)
        with objects.write(object_id, "application/octet-stream", "") as draft, draft.path.open("wb") as out:
            _copy(file, out, most, abandoned)
    return Upload(objects.info(object_id), name, parts)


def _opened(path: Path, name: str) -> BinaryIO:
    try:
        # A link put in the place of what was looked at is not followed, and a pipe keeps nobody waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"There is no file {name!r} there.", parameter="source.path") from None
    except OSError:
        raise SourceNotFile(f"{name!r} cannot be opened as a file.", parameter="source.path") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceNotFile(parameter="source.path")
    return os.fdopen(descriptor, "rb")


def _copy(file: BinaryIO, out: BinaryIO, most: int, abandoned: threading.Event) -> None:
    size = 0
    while chunk := file.read(CHUNK):
        size += len(chunk)
        if size > most:
            raise too_large(most)
        if abandoned.is_set():
            raise InterruptedError
        out.write(chunk)
